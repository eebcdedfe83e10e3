import { type Html, html } from './html.ts';
import type { PolicyText } from './terms.ts';

/** The policies with their languages, and the box by which they are accepted; nothing where there are none. */
export function termsList(terms: readonly PolicyText[]): Html {
  if (terms.length === 0) return html``;
  const items = terms.map(
    ({ name, url, language }) =>
      html`<li><a href="${url}" hreflang="${language}" target="_blank" rel="noreferrer">${name}</a> (${language})</li>`,
  );
  return html`<ul>${{ html: items.map((item) => item.html).join('') }}</ul>
<label><input type="checkbox" name="accepts" value="yes" required> I have read these policies and accept them</label>`;
}

import type { Texts } from '../languages/texts.ts';
import { checkbox } from '../pages/fields.ts';
import { type Html, html } from '../pages/html.ts';
import type { PolicyText } from './terms.ts';

/** The policies with their languages, and the box by which they are accepted; nothing where there are none. */
export function termsList(terms: readonly PolicyText[], texts: Texts): Html {
  if (terms.length === 0) return html``;
  const items = terms.map(
    ({ name, url, language }) =>
      html`<li><a href="${url}" hreflang="${language}" target="_blank" rel="noreferrer">${name}</a> (${language})</li>`,
  );
  return html`<ul>
${items}
</ul>
${checkbox({ name: 'accepts', label: texts.terms.accept, isRequired: true })}`;
}

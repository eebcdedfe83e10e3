import { encode } from 'uqr';
import { type Html, html } from '../pages/html.ts';

/** A QR code as a picture within the page, which loads nothing. */
export function qrCode(text: string, label: string): Html {
  const { size, data } = encode(text, { ecc: 'M', border: 4 });
  const dots = data.flatMap((row, y) => row.flatMap((isDark, x) => (isDark ? [`M${x} ${y}h1v1h-1z`] : [])));
  return html`<svg class="qr" role="img" aria-label="${label}" viewBox="0 0 ${String(size)} ${String(size)}"
 shape-rendering="crispEdges"><path fill="#000" d="${dots.join('')}"/></svg>`;
}

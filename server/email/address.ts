/** https://spec.matrix.org/v1.19/appendices/#e-mail */

/** As long as an address may be to be delivered (RFC 5321, errata 1690). */
const MAX_CHARACTERS = 254;
/** An unquoted local part, and a host name. What else RFC 5322 allows (quotes, comments, routes) is nobody's address. */
const ADDRESS =
  /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * An e-mail address in canonical form; undefined for what is none. Letters always go to this form, so that two
 * spellings that count as one also lead to one mailbox.
 */
export function canonicalEmail(text: string): string | undefined {
  if (text.length > MAX_CHARACTERS) return undefined;
  const folded = foldCase(text);
  return folded.length <= MAX_CHARACTERS && ADDRESS.test(folded) ? folded : undefined;
}

/** The domain of an address in canonical form. */
export function domainOf(address: string): string {
  return address.slice(address.indexOf('@') + 1);
}

/** "For example, `Strauß@Example.com` must be considered to be `strauss@example.com`". */
function foldCase(text: string): string {
  return Array.from(text, (letter) => {
    const upper = letter.toUpperCase();
    return (upper.length > letter.length ? upper : letter).toLowerCase();
  }).join('');
}

/**
 * Unpadded Base64, standard and URL-safe: https://spec.matrix.org/v1.19/appendices/#unpadded-base64
 *
 * Node's own decoder skips characters it does not know (`AA!!AA==zz` decodes), so what others sent is checked
 * before it is decoded.
 */

const STANDARD = /^[A-Za-z0-9+/]*$/;
const URL_SAFE = /^[A-Za-z0-9_-]*$/;

/** Standard Base64 without padding. */
export function encodeBase64(bytes: Uint8Array): string {
  return withoutPadding(bufferOf(bytes).toString('base64'));
}

/** URL-safe Base64 without padding. */
export function encodeBase64Url(bytes: Uint8Array): string {
  return bufferOf(bytes).toString('base64url');
}

/**
 * The bytes of standard Base64, padded or not; undefined for anything else.
 * "Implementations SHOULD accept input with or without padding characters wherever possible."
 */
export function decodeBase64(text: string): Uint8Array | undefined {
  return decode(text, STANDARD, 'base64');
}

/** The bytes of URL-safe Base64, padded or not; undefined for anything else. */
export function decodeBase64Url(text: string): Uint8Array | undefined {
  return decode(text, URL_SAFE, 'base64url');
}

/** Cuts off up to two `=` signs. */
export function withoutPadding(text: string): string {
  if (text.endsWith('==')) return text.slice(0, -2);
  return text.endsWith('=') ? text.slice(0, -1) : text;
}

function decode(text: string, alphabet: RegExp, encoding: 'base64' | 'base64url'): Uint8Array | undefined {
  const digits = withoutPadding(text);
  // Padding, where there is any, fills the last group of four; a lone last digit holds no whole byte.
  if (digits.length !== text.length && text.length % 4 !== 0) return undefined;
  if (digits.length % 4 === 1 || !alphabet.test(digits)) return undefined;
  return Buffer.from(digits, encoding);
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

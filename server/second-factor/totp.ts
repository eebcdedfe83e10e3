/** Codes that change every 30 seconds: https://www.rfc-editor.org/rfc/rfc6238 */

import { createHmac, randomBytes } from 'node:crypto';
import { equalSecrets } from '#keys/tokens.ts';

const STEP_MS = 30_000;
const DIGITS = 6;
const SECRET_BYTES = 20;
/** "We RECOMMEND that at most one time step is allowed as the network delay"; a clock may be ahead, too. */
const STEPS_APART = [0, -1, 1];
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The code of a time step. "Basically, we define TOTP as TOTP = HOTP(K, T)": RFC 4226, 5.3 */
export function codeAt(secret: Buffer, step: number, digits = DIGITS): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  // SHA-1 is what the apps know; it is safe in an HMAC.
  const mac = createHmac('sha1', secret).update(counter).digest();
  const offset = mac.readUInt8(mac.length - 1) & 0xf;
  const number = (mac.readUInt32BE(offset) & 0x7f_ff_ff_ff) % 10 ** digits;
  return String(number).padStart(digits, '0');
}

/** The time step whose code this is, if it is one of now. */
export function stepOfCode(secret: Buffer, code: string, now: number): number | undefined {
  const written = code.replaceAll(/\s/g, '');
  const current = Math.floor(now / STEP_MS);
  return STEPS_APART.map((apart) => current + apart).find((step) =>
    equalSecrets(codeAt(secret, step), written),
  );
}

/** A new secret, in Base32 as apps take it. */
export function newSecret(): string {
  return toBase32(randomBytes(SECRET_BYTES));
}

/** What a QR code for apps says: https://github.com/google/google-authenticator/wiki/Key-Uri-Format */
export function appAddress(secret: string, { issuer, account }: { issuer: string; account: string }): string {
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(account)}`;
  return `otpauth://totp/${label}?secret=${secret}&issuer=${encodeURIComponent(issuer)}`;
}

/** RFC 4648, without padding. */
export function toBase32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  const groups = bits.match(/.{1,5}/g) ?? [];
  return groups.map((group) => BASE32[Number.parseInt(group.padEnd(5, '0'), 2)]).join('');
}

/** The bytes of what `toBase32` has made. */
export function fromBase32(text: string): Buffer {
  const bits = Array.from(text, (letter) => BASE32.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const octets = bits.match(/.{8}/g) ?? [];
  return Buffer.from(octets.map((octet) => Number.parseInt(octet, 2)));
}

/**
 * What a push service carries and cannot read: https://www.rfc-editor.org/rfc/rfc8291, in the coding `aes128gcm` of
 * https://www.rfc-editor.org/rfc/rfc8188
 */

import { createCipheriv, createECDH, hkdfSync, randomBytes } from 'node:crypto';

/** What an app gives to be sent to. */
export interface Recipient {
  /** Its public key, a point of P-256, uncompressed. */
  readonly publicKey: Buffer;
  /** The "authentication secret". */
  readonly auth: Buffer;
}

const CURVE = 'prime256v1';
const KEY_BYTES = 65;
const AUTH_BYTES = 16;
const SALT_BYTES = 16;
const TAG_BYTES = 16;
const RECORD_BYTES = 4_096;
const HEADER_BYTES = SALT_BYTES + 4 + 1 + KEY_BYTES;
const LAST_RECORD = 0x02;

/** "A push service is not required to support more than 4096 octets of payload body". */
export const MOST_PLAINTEXT = RECORD_BYTES - HEADER_BYTES - TAG_BYTES - 1;

/** The recipient by its key and secret in URL-safe Base64; undefined for what is no key of P-256, or no secret. */
export function recipientOf(pushkey: string, secret: string): Recipient | undefined {
  const publicKey = fromBase64Url(pushkey);
  const auth = fromBase64Url(secret);
  if (publicKey?.length !== KEY_BYTES || auth?.length !== AUTH_BYTES) return undefined;
  const own = createECDH(CURVE);
  own.generateKeys();
  try {
    own.computeSecret(publicKey);
  } catch {
    return undefined;
  }
  return { publicKey, auth };
}

/** What only the test of the RFC's own example chooses. */
interface Chosen {
  readonly salt: Buffer;
  readonly privateKey: Buffer;
}

/** The body that is posted. `padTo`: short messages are made so long, so that their length tells nothing. */
export function encryptFor(
  { publicKey, auth }: Recipient,
  plaintext: Buffer,
  { padTo = 0, chosen }: { readonly padTo?: number; readonly chosen?: Chosen } = {},
): Buffer {
  if (plaintext.length > MOST_PLAINTEXT) throw new Error('too long for a push service');
  const salt = chosen?.salt ?? randomBytes(SALT_BYTES);
  const own = createECDH(CURVE);
  if (chosen === undefined) own.generateKeys();
  else own.setPrivateKey(chosen.privateKey);
  const ownKey = own.getPublicKey();
  const keyInfo = Buffer.concat([Buffer.from('WebPush: info\0'), publicKey, ownKey]);
  const ikm = hkdf(own.computeSecret(publicKey), auth, keyInfo, 32);
  const key = hkdf(ikm, salt, Buffer.from('Content-Encoding: aes128gcm\0'), 16);
  const nonce = hkdf(ikm, salt, Buffer.from('Content-Encoding: nonce\0'), 12);
  const padding = Buffer.alloc(Math.max(0, Math.min(padTo, MOST_PLAINTEXT) - plaintext.length));
  const cipher = createCipheriv('aes-128-gcm', key, nonce);
  const record = [cipher.update(Buffer.concat([plaintext, Buffer.of(LAST_RECORD), padding])), cipher.final()];
  const recordSize = Buffer.alloc(4);
  recordSize.writeUInt32BE(RECORD_BYTES);
  return Buffer.concat([salt, recordSize, Buffer.of(KEY_BYTES), ownKey, ...record, cipher.getAuthTag()]);
}

function hkdf(secret: Buffer, salt: Buffer, info: Buffer, bytes: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, info, bytes));
}

/** Undefined for what is no Base64 in the alphabet for URLs; with or without its padding. */
function fromBase64Url(text: string): Buffer | undefined {
  return /^[A-Za-z0-9_-]+={0,2}$/.test(text) ? Buffer.from(text, 'base64url') : undefined;
}

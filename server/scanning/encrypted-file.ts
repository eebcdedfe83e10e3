/** Encrypted attachments: https://spec.matrix.org/v1.19/client-server-api/#sending-encrypted-attachments */

import { createDecipheriv } from 'node:crypto';
import type { Readable } from 'node:stream';
import { decodeBase64, decodeBase64Url } from '#keys/base64.ts';
import { isObject, isStringArray, type JsonObject, own, stringAt } from '#keys/json.ts';
import { type Mxc, parseMxc } from '#keys/mxc.ts';
import type { ScanSource } from './scan-queue.ts';

/** Where a file is, and how it is decrypted. */
export interface EncryptedFile {
  readonly mxc: Mxc;
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** 16 bytes: where the counter begins. */
  readonly iv: Uint8Array;
  /** Of the encrypted bytes, in lower-case hex. */
  readonly sha256: string;
}

const KEY_BYTES = 32;
const IV_BYTES = 16;
const HASH_BYTES = 32;

/** An `EncryptedFile` as events have it; else what is wrong with it. */
export function encryptedFileOf(value: unknown): EncryptedFile | string {
  if (!isObject(value)) return 'file must be an object';
  if (own(value, 'v') !== 'v2') return 'file.v must be v2';
  const mxc = parseMxc(stringAt(value, 'url') ?? '');
  if (mxc === undefined) return 'file.url must be a content URI';
  const iv = decodeBase64(stringAt(value, 'iv') ?? '');
  if (iv?.length !== IV_BYTES) return 'file.iv must be 16 bytes in Base64';
  const hashes = own(value, 'hashes');
  const sha256 = decodeBase64((isObject(hashes) ? stringAt(hashes, 'sha256') : undefined) ?? '');
  if (sha256?.length !== HASH_BYTES) return 'file.hashes.sha256 must be 32 bytes in Base64';
  const jwk = own(value, 'key');
  const key = isObject(jwk) ? keyOf(jwk) : undefined;
  if (key === undefined) return 'file.key must be a JSON Web Key of 32 bytes for A256CTR';
  return { mxc, key, iv, sha256: Buffer.from(sha256).toString('hex') };
}

/** "`key_ops`: Must at least contain `encrypt` and `decrypt`", "`ext`: Must be `true`". */
function keyOf(jwk: JsonObject): Uint8Array | undefined {
  const operations = own(jwk, 'key_ops');
  if (own(jwk, 'kty') !== 'oct' || own(jwk, 'alg') !== 'A256CTR' || own(jwk, 'ext') !== true)
    return undefined;
  if (!isStringArray(operations) || !['encrypt', 'decrypt'].every((name) => operations.includes(name)))
    return undefined;
  const key = decodeBase64Url(stringAt(jwk, 'k') ?? '');
  return key?.length === KEY_BYTES ? key : undefined;
}

/** The decrypted bytes of a file, piece by piece: each takes as long as reading it. */
export function decryptedSource({ key, iv }: Pick<EncryptedFile, 'key' | 'iv'>, bytes: Readable): ScanSource {
  // Whoever reads it is told; nobody may have begun to.
  bytes.on('error', () => undefined);
  const decipher = createDecipheriv('aes-256-ctr', key, iv);
  async function* pieces(): AsyncGenerator<Buffer> {
    for await (const piece of bytes) yield decipher.update(piece);
  }
  return { pieces: pieces(), close: () => bytes.destroy() };
}

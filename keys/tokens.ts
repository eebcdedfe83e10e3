/** Opaque tokens and secrets: made at random, stored as hashes, compared in constant time. */

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { sha256, sha256Base64Url } from './hash.ts';

const TOKEN_BYTES = 24;

/** A new token of 192 random bits, URL-safe: `kat_<32 characters>` for the prefix `kat`. */
export function newToken(prefix: string): string {
  return `${prefix}_${randomBytes(TOKEN_BYTES).toString('base64url')}`;
}

/** What is stored in place of a token: its SHA-256 in URL-safe Base64. Tokens are random, so no salt is needed. */
export function hashToken(token: string): string {
  return sha256Base64Url(token);
}

/** Compares two secrets; neither their content nor their lengths show in the time it takes. */
export function equalSecrets(a: string, b: string): boolean {
  return timingSafeEqual(sha256(a), sha256(b));
}

/** HMAC-SHA1 in lower-case hex, as registration by a shared secret uses it. */
export function hmacSha1Hex(secret: string, text: string): string {
  return createHmac('sha1', secret).update(text).digest('hex');
}

/** HMAC-SHA1 in standard Base64, as TURN servers use it. */
export function hmacSha1Base64(secret: string, text: string): string {
  return createHmac('sha1', secret).update(text).digest('base64');
}

/** SHA-256 of text (as UTF-8) and of bytes. */

import { hash } from 'node:crypto';
import { withoutPadding } from './base64.ts';

/** The 32 bytes of the digest. */
export function sha256(input: string | Uint8Array): Buffer {
  return hash('sha256', input, 'buffer');
}

/** The digest in standard Base64 without padding, as in `hashes.sha256` of an event. */
export function sha256Base64(input: string | Uint8Array): string {
  return withoutPadding(hash('sha256', input, 'base64'));
}

/** The digest in URL-safe Base64 without padding, as in an event id. */
export function sha256Base64Url(input: string | Uint8Array): string {
  return hash('sha256', input, 'base64url');
}

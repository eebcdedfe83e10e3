/**
 * When a published key may be used, and what a new document changes.
 * https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period
 */

import type { KeyId } from './ids.ts';
import { MAX_KEYS, type ServerKey, type ServerKeys } from './server-key-document.ts';

/** What is held of a server's keys. */
export interface KnownKeys {
  readonly validUntilTs: number;
  readonly keys: ReadonlyMap<KeyId, ServerKey>;
  readonly fetchedTs?: number | undefined;
}

/** A key that must have been valid at `atTs`, or, without `strictValidity`, at any time. */
export interface Wanted {
  readonly keyId: KeyId;
  readonly atTs: number;
  readonly strictValidity: boolean;
}

/** "Servers MUST use the lesser of this field and 7 days into the future when determining if a key is valid." */
export const LONGEST_VALIDITY = 7 * 24 * 60 * 60 * 1_000;

/** True where the key is known, and valid at the time if that matters. */
export function isUsable(known: KnownKeys, { keyId, atTs, strictValidity }: Wanted): boolean {
  const key = known.keys.get(keyId);
  if (key === undefined) return false;
  return !strictValidity || atTs <= (key.expiredTs ?? known.validUntilTs);
}

/** "Notary servers should cache a response for half of its lifetime": from when on it is fetched anew. */
export function refreshTsOf({ fetchedTs, validUntilTs }: KnownKeys): number {
  return fetchedTs === undefined ? 0 : fetchedTs + (validUntilTs - fetchedTs) / 2;
}

/** The document as fetched at `now`, with its validity cut to seven days. */
export function capped(fetched: ServerKeys, now: number): ServerKeys {
  return { ...fetched, validUntilTs: Math.min(fetched.validUntilTs, now + LONGEST_VALIDITY), fetchedTs: now };
}

/**
 * What is known after a new document. Undefined where the document is not to be believed: it gives a key that is
 * still valid other bytes under the same id, or is itself out of date while the known one is not. A key that it
 * no longer names is kept for the events of its time, and has expired.
 */
export function merge(
  known: KnownKeys | undefined,
  fetched: ServerKeys,
  now: number,
): ServerKeys | undefined {
  if (known === undefined) return fetched;
  if (known.validUntilTs >= now && (fetched.validUntilTs < now || contradicts(known, fetched)))
    return undefined;
  const keys = new Map(fetched.keys);
  for (const [keyId, key] of known.keys) {
    if (keys.size >= 2 * MAX_KEYS) break;
    if (!keys.has(keyId)) keys.set(keyId, { expiredTs: Math.min(known.validUntilTs, now), ...key });
  }
  return { ...fetched, keys };
}

/** True where a document gives a key that is known, and not an old one, other bytes under the same id. */
export function contradicts(known: KnownKeys, fetched: ServerKeys): boolean {
  for (const [keyId, { publicKey, expiredTs }] of known.keys) {
    const other = fetched.keys.get(keyId);
    if (expiredTs === undefined && other !== undefined && other.publicKey !== publicKey) return true;
  }
  return false;
}

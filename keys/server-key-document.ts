/**
 * The keys that a server publishes: https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
 */

import { isEd25519KeyId, publicKeyFrom, type SigningKeyPair } from './ed25519.ts';
import type { KeyId, ServerName } from './ids.ts';
import { integerAt, isObject, type JsonObject, objectAt, own, stringAt } from './json.ts';
import { signJson, verifyJson } from './sign-json.ts';
import type { SigningKey } from './signing-key.ts';

/** A public key of another server. `expiredTs` (milliseconds) is set for one that it no longer signs with. */
export interface ServerKey {
  /** Unpadded Base64. */
  readonly publicKey: string;
  readonly expiredTs?: number;
}

/** What a server has published about its keys. Times are in milliseconds. */
export interface ServerKeys {
  readonly serverName: ServerName;
  /** Until when the keys without `expiredTs` are valid. */
  readonly validUntilTs: number;
  readonly keys: ReadonlyMap<KeyId, ServerKey>;
  /** The document as the server signed it, for a notary to pass on. */
  readonly document: JsonObject;
  /** When we fetched it. Where it is unknown, the document is fetched anew when it is next used. */
  readonly fetchedTs?: number;
}

/** More than any honest server has; bounds what one document may make us hold. */
export const MAX_KEYS = 64;

/** Our own document, signed: the answer to `GET /_matrix/key/v2/server`. */
export function buildServerKeyDocument(options: {
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  /** Milliseconds. */
  readonly validUntilTs: number;
}): JsonObject {
  const { serverName, signingKey, validUntilTs } = options;
  const { keyPair, oldKeys } = signingKey;
  const old = oldKeys.map((key) => [key.keyId, { expired_ts: key.expiredTs, key: key.publicKey }] as const);
  // In the order of canonical JSON: some verify the text as it comes.
  const document = {
    old_verify_keys: Object.fromEntries(old.sort(([a], [b]) => (a < b ? -1 : 1))),
    server_name: serverName,
    valid_until_ts: validUntilTs,
    verify_keys: { [keyPair.keyId]: { key: keyPair.publicKey } },
  };
  return signJson(document, serverName, keyPair);
}

/**
 * Reads and checks a document that `expectedServer` is said to have published. Undefined where it is about
 * another server, is malformed, or is not signed by at least one of its own `verify_keys`. Keys of algorithms
 * that we do not understand are left out. Whether it is still valid is for the caller to judge.
 */
export async function verifyServerKeyDocument(
  document: JsonObject,
  expectedServer: ServerName,
): Promise<ServerKeys | undefined> {
  const validUntilTs = integerAt(document, 'valid_until_ts');
  if (stringAt(document, 'server_name') !== expectedServer) return undefined;
  if (validUntilTs === undefined || validUntilTs < 0) return undefined;
  const current = currentKeys(document);
  const old = oldKeys(document);
  if (current === undefined || old === undefined || current.size + old.size > MAX_KEYS) return undefined;
  if (!(await isSelfSigned(document, expectedServer, current))) return undefined;
  // A key that is listed as both is one that the server says it still signs with.
  return { serverName: expectedServer, validUntilTs, keys: new Map([...old, ...current]), document };
}

/** A notary's answer: the document with our signature beside the server's own. */
export function countersign(
  document: JsonObject,
  serverName: ServerName,
  keyPair: SigningKeyPair,
): JsonObject {
  return signJson(document, serverName, keyPair);
}

async function isSelfSigned(
  document: JsonObject,
  serverName: ServerName,
  keys: ReadonlyMap<KeyId, ServerKey>,
): Promise<boolean> {
  for (const [keyId, { publicKey }] of keys) {
    const key = publicKeyFrom(publicKey);
    // One after another: the first that holds is enough, and there is seldom a second.
    if (key !== undefined && (await verifyJson(document, serverName, keyId, key))) return true;
  }
  return false;
}

/** Undefined where `verify_keys` is missing or an Ed25519 key in it is malformed. */
function currentKeys(document: JsonObject): Map<KeyId, ServerKey> | undefined {
  const listed = objectAt(document, 'verify_keys');
  if (listed === undefined) return undefined;
  const keys = new Map<KeyId, ServerKey>();
  for (const [keyId, entry] of Object.entries(listed)) {
    if (!isEd25519KeyId(keyId)) continue;
    const key = isObject(entry) ? publicKeyFrom(stringAt(entry, 'key') ?? '') : undefined;
    if (key === undefined) return undefined;
    keys.set(keyId, { publicKey: key.base64 });
  }
  return keys;
}

/** Old keys are optional; undefined where `old_verify_keys`, or an Ed25519 key in it, is malformed. */
function oldKeys(document: JsonObject): Map<KeyId, ServerKey> | undefined {
  const listed = own(document, 'old_verify_keys') ?? {};
  if (!isObject(listed)) return undefined;
  const keys = new Map<KeyId, ServerKey>();
  for (const [keyId, entry] of Object.entries(listed)) {
    if (!isEd25519KeyId(keyId)) continue;
    const key = isObject(entry) ? publicKeyFrom(stringAt(entry, 'key') ?? '') : undefined;
    const expiredTs = isObject(entry) ? integerAt(entry, 'expired_ts') : undefined;
    if (key === undefined || expiredTs === undefined) return undefined;
    keys.set(keyId, { publicKey: key.base64, expiredTs });
  }
  return keys;
}

/** The `signatures` object: https://spec.matrix.org/v1.19/appendices/#signing-json */

import { encodeCanonical } from './canonical-json.ts';
import { type PublicKey, type SigningKeyPair, verify } from './ed25519.ts';
import type { KeyId, ServerName } from './ids.ts';
import { type JsonObject, objectAt } from './json.ts';

/** Signatures in unpadded Base64, by entity (a server name or a user id) and key id. */
export type Signatures = JsonObject;

/**
 * The object with our signature added to those it has. `unsigned` stays and is not covered. The caller's object
 * is not changed.
 */
export function signJson<T extends JsonObject>(
  object: T,
  serverName: ServerName,
  keyPair: SigningKeyPair,
): T & { readonly signatures: Signatures } {
  const signatures = objectAt(object, 'signatures') ?? {};
  const ours = objectAt(signatures, serverName) ?? {};
  const signature = keyPair.sign(signableBytes(object));
  return {
    ...object,
    signatures: { ...signatures, [serverName]: { ...ours, [keyPair.keyId]: signature } },
  };
}

/** What is signed: the canonical JSON without `signatures` and `unsigned`. Signed as UTF-8. */
export function signableBytes(object: JsonObject): string {
  const { signatures, unsigned, ...signed } = object;
  return encodeCanonical(signed);
}

/** The signatures of one entity by key id, without those of algorithms that we do not understand. */
export function signaturesOf(object: JsonObject, entity: string): Map<KeyId, string> {
  const all = objectAt(object, 'signatures') ?? {};
  const found = new Map<KeyId, string>();
  for (const [keyId, signature] of Object.entries(objectAt(all, entity) ?? {})) {
    if (isUnderstood(keyId) && typeof signature === 'string') found.set(keyId, signature);
  }
  return found;
}

/** Whoever has an entry in `signatures`, whether it is valid or not. */
export function signersOf(object: JsonObject): string[] {
  return Object.keys(objectAt(object, 'signatures') ?? {});
}

/**
 * True where `entity` signed the object with this key. False where there is no such signature.
 * https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature
 */
export async function verifyJson(
  object: JsonObject,
  entity: string,
  keyId: KeyId,
  publicKey: PublicKey,
): Promise<boolean> {
  const signature = signaturesOf(object, entity).get(keyId);
  return signature !== undefined && verify(publicKey, signableBytes(object), signature);
}

/** Users sign with device keys too, whose ids hold more characters than a server's. */
function isUnderstood(keyId: string): keyId is KeyId {
  return keyId.startsWith('ed25519:');
}

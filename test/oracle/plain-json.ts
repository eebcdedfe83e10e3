/**
 * The plain implementation: the specification's text, line by line, with no thought for speed. It is the second
 * opinion on `rooms/`, and so takes nothing from there; nothing of Kurir but the types and grammars of ids.
 *
 * Here: canonical JSON, hashes, ids and signatures.
 * https://spec.matrix.org/v1.19/appendices/#canonical-json
 * https://spec.matrix.org/v1.19/server-server-api/#signing-events
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import { isObject, type Json, type JsonObject } from '#keys/json.ts';
import { plainRedact } from './plain-redact.ts';

/** "Shortest UTF-8 JSON encoding with dictionary keys lexicographically sorted by Unicode codepoint." */
export function plainCanonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map((item: Json) => plainCanonical(item)).join(',')}]`;
  if (isObject(value)) {
    const keys = Object.keys(value).sort(byCodePoint);
    const members = keys.map((key) => `${JSON.stringify(key)}:${plainCanonical(value[key] as Json)}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value);
}

function byCodePoint(a: string, b: string): number {
  const [pointsOfA, pointsOfB] = [[...a], [...b]];
  for (const [index, point] of pointsOfA.entries()) {
    const other = pointsOfB[index];
    if (other === undefined) return 1;
    if (point !== other) return (point.codePointAt(0) ?? 0) - (other.codePointAt(0) ?? 0);
  }
  return pointsOfA.length - pointsOfB.length;
}

/** "Any existing `unsigned`, `signatures`, and `hashes` properties are removed. The resulting object is then encoded as Canonical JSON, and the JSON is hashed using SHA-256." */
export function plainContentHash(pdu: JsonObject): string {
  return sha256Base64(plainCanonical(without(pdu, ['unsigned', 'signatures', 'hashes'])));
}

/** The reference hash, in unpadded base64 of the standard alphabet. */
export function plainReferenceHash(version: number, pdu: JsonObject): string {
  // "1. The event is put through the redaction algorithm."
  const redacted = plainRedact(version, pdu);
  // "2. The `signatures` and `unsigned` properties are removed from the event, if present."
  const bare = without(redacted, ['signatures', 'unsigned']);
  // "3. The event is converted into Canonical JSON. 4. A sha256 hash is calculated on the resulting JSON object."
  return sha256Base64(plainCanonical(bare));
}

/** The event's id, by its room version. */
export function plainEventId(version: number, pdu: JsonObject): string {
  // v1, v2: "the event ID is a distinct field".
  if (version <= 2) return String(pdu.event_id);
  // v3: "The event ID is the reference hash of the event encoded using Unpadded Base64, prefixed with `$`."
  const hash = plainReferenceHash(version, pdu);
  if (version === 3) return `$${hash}`;
  // v4: "[...] encoded using a variation of Unpadded Base64 which replaces the 62nd and 63rd characters with - and _"
  return `$${hash.replaceAll('+', '-').replaceAll('/', '_')}`;
}

/** What a server signs of an event: "The event object is then redacted. Finally it is signed". */
export function plainSignedBytes(version: number, pdu: JsonObject): string {
  return plainCanonical(without(plainRedact(version, pdu), ['signatures', 'unsigned']));
}

/** Whether one of an entity's signatures on an object is by this key, given in base64 of either alphabet. */
export function plainIsSigned(signed: JsonObject, entity: string, publicKey: string, bytes: string): boolean {
  const all = signed.signatures;
  const theirs = isObject(all) && Object.hasOwn(all, entity) ? all[entity] : undefined;
  if (!isObject(theirs)) return false;
  return Object.entries(theirs).some(
    ([keyId, signature]) =>
      keyId.startsWith('ed25519:') &&
      typeof signature === 'string' &&
      isSignature(publicKey, bytes, signature),
  );
}

export function without(object: JsonObject, keys: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));
}

function sha256Base64(text: string): string {
  return createHash('sha256').update(text).digest('base64').replaceAll('=', '');
}

function isSignature(publicKey: string, bytes: string, signature: string): boolean {
  const x = Buffer.from(publicKey, 'base64').toString('base64url');
  if (Buffer.from(x, 'base64url').length !== 32) return false;
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  return verify(null, Buffer.from(bytes), key, Buffer.from(signature, 'base64'));
}

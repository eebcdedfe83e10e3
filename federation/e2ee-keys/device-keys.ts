/**
 * Keys of devices and users as they are uploaded here and told by other servers. Clients and servers read them as they
 * are: what they cannot read must not get that far.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#device-keys and #cross-signing
 */

import { decodeBase64, encodeBase64 } from '#keys/base64.ts';
import { encodeCanonical, parseStrict } from '#keys/canonical-json.ts';
import type { UserId } from '#keys/ids.ts';
import { isObject, isStringArray, type Json, type JsonObject, own } from '#keys/json.ts';
import type { Usage } from '#storage/cross-signing-keys.ts';

/** They go to other servers in EDUs, next to others. Those of real clients are under 1 KiB. */
const MOST_BYTES = 32 * 1024;
/** Of a one-time or fallback key. Those of real clients are about 200 bytes. */
const MOST_KEY_BYTES = 4 * 1024;
const MAX_DEVICE_ID_BYTES = 255;
const PUBLIC_KEY_BYTES = 32;

/** True for an id that a device may have. */
export function isDeviceId(value: unknown): value is string {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) return false;
  return value.isWellFormed() && Buffer.byteLength(value) <= MAX_DEVICE_ID_BYTES;
}

/**
 * Why an object is not the keys of a device, or nothing. Parts that older clients leave out may be missing. Whether
 * the device has signed it is for other devices to check.
 */
export function faultOfDeviceKeys(
  keys: JsonObject,
  { userId, deviceId }: { readonly userId: UserId; readonly deviceId: string },
): string | undefined {
  if (own(keys, 'user_id') !== userId) return 'wrong user_id';
  if (own(keys, 'device_id') !== deviceId) return 'wrong device_id';
  for (const [part, isSound] of PARTS) {
    const value = own(keys, part);
    if (value !== undefined && !isSound(value)) return `malformed ${part}`;
  }
  return faultOfWriting(keys);
}

/** Why an object is not a user's cross-signing key of a usage, or nothing. */
export function faultOfSigningKey(key: JsonObject, userId: UserId, usage: Usage): string | undefined {
  if (own(key, 'user_id') !== userId) return 'wrong user_id';
  const usages = own(key, 'usage');
  if (!isStringArray(usages) || !usages.includes(usage)) return `its usage is not ${usage}`;
  if (publicKeyOf(key) === undefined) return 'its keys are not one key named after itself';
  const signatures = own(key, 'signatures');
  if (signatures !== undefined && !areSignatures(signatures)) return 'malformed signatures';
  return faultOfWriting(key);
}

/**
 * The public key of a cross-signing key, in Base64: "The object has one property, whose name is in the form
 * `<algorithm>:<unpadded_base64_public_key>`". Undefined where it is not so.
 */
export function publicKeyOf(key: JsonObject): string | undefined {
  const keys = own(key, 'keys');
  const entries = isObject(keys) ? Object.entries(keys) : [];
  const [entry] = entries;
  if (entries.length !== 1 || entry === undefined) return undefined;
  const [keyId, publicKey] = entry;
  if (typeof publicKey !== 'string' || keyId !== `ed25519:${publicKey}`) return undefined;
  const bytes = decodeBase64(publicKey);
  return bytes?.length === PUBLIC_KEY_BYTES && encodeBase64(bytes) === publicKey ? publicKey : undefined;
}

/**
 * True for a one-time or fallback key: a string, or "key" and its "signatures". It is one that other servers can be told,
 * and no larger than one need be.
 */
export function isOneTimeKey(key: Json): key is string | JsonObject {
  const isSigned =
    isObject(key) && typeof own(key, 'key') === 'string' && areSignatures(own(key, 'signatures'));
  return (typeof key === 'string' || isSigned) && isRelayable(key);
}

function isRelayable(key: Json): boolean {
  const canonical = encodeCanonical([key]);
  return Buffer.byteLength(canonical) <= MOST_KEY_BYTES && parseStrict(canonical).kind === 'ok';
}

/** True for `{user_id: {key_id: signature}}`. */
function areSignatures(value: Json | undefined): boolean {
  return value !== undefined && isObject(value) && Object.values(value).every(isObjectOfStrings);
}

/** Other servers must be able to sign what it is part of. */
function faultOfWriting(keys: JsonObject): string | undefined {
  const canonical = encodeCanonical(keys);
  if (Buffer.byteLength(canonical) > MOST_BYTES) return 'too large';
  return parseStrict(canonical).kind === 'ok' ? undefined : 'not canonical JSON';
}

const PARTS: readonly (readonly [name: string, isSound: (value: Json) => boolean])[] = [
  ['algorithms', isStringArray],
  ['keys', isObjectOfStrings],
  ['signatures', areSignatures],
];

function isObjectOfStrings(value: Json): boolean {
  return isObject(value) && Object.values(value).every((entry) => typeof entry === 'string');
}

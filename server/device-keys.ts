/** https://spec.matrix.org/v1.19/client-server-api/#device-keys */

import { invalidParam } from '#federation/errors.ts';
import { isObject, isStringArray, type Json, type JsonObject, own } from '#keys/json.ts';
import type { DeviceRef } from '#storage/e2ee-keys.ts';

/** They go to other servers in EDUs, next to others. Those of real clients are under 1 KiB. */
const MOST_CHARACTERS = 32 * 1024;

/**
 * Throws `M_INVALID_PARAM` unless these are device keys of `device`. Other clients and servers read them as they are:
 * what they cannot read must not get that far. Parts that older clients leave out may be missing.
 */
export function checkDeviceKeys(keys: JsonObject, { userId, deviceId }: DeviceRef): void {
  if (own(keys, 'user_id') !== userId) throw invalidParam('device_keys: wrong user_id');
  if (own(keys, 'device_id') !== deviceId) throw invalidParam('device_keys: wrong device_id');
  for (const [part, isSound] of PARTS) {
    const value = own(keys, part);
    if (value !== undefined && !isSound(value)) throw invalidParam(`device_keys: malformed ${part}`);
  }
  if (JSON.stringify(keys).length > MOST_CHARACTERS) throw invalidParam('device_keys: too large');
}

const PARTS: readonly (readonly [name: string, isSound: (value: Json) => boolean])[] = [
  ['algorithms', isStringArray],
  ['keys', isObjectOfStrings],
  ['signatures', (value) => isObject(value) && Object.values(value).every(isObjectOfStrings)],
];

function isObjectOfStrings(value: Json | undefined): boolean {
  return isObject(value) && Object.values(value).every((entry) => typeof entry === 'string');
}

/** Keys that a device uploads: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload */

import { faultOfDeviceKeys, isOneTimeKey } from '#federation/e2ee-keys/device-keys.ts';
import { badJson, invalidParam } from '#federation/errors.ts';
import { isObject, type Json, type JsonObject, own } from '#keys/json.ts';
import { signableBytes } from '#keys/sign-json.ts';
import type { Tx } from '#storage/database.ts';
import * as deviceLists from '#storage/device-lists.ts';
import type { DeviceRef, UploadedKey } from '#storage/e2ee-keys.ts';
import * as e2eeKeys from '#storage/e2ee-keys.ts';
import * as keySignatures from '#storage/key-signatures.ts';
import { optionalObject } from '../body.ts';
import type { ServerContext } from '../context.ts';

/** What an upload holds. */
export interface KeyUpload {
  readonly deviceKeys: JsonObject | undefined;
  readonly oneTimeKeys: readonly UploadedKey[];
  readonly fallbackKeys: readonly UploadedKey[];
}

/** Of the keys of a device. */
const REQUIRED = ['user_id', 'device_id', 'algorithms', 'keys', 'signatures'];
/** Far more than clients upload: they keep about 50 on the server. */
const MOST_ONE_TIME_KEYS = 200;
const MOST_WAITING_KEYS = 1_000;
/** One for each algorithm, of which clients know two. */
const MOST_FALLBACK_KEYS = 10;
const MAX_NAME_BYTES = 255;

/** The keys in a body; throws where they are not such as other clients and servers can use. */
export function parseUpload(body: JsonObject, device: DeviceRef): KeyUpload {
  const deviceKeys = optionalObject(body, 'device_keys');
  const missing = REQUIRED.find((part) => deviceKeys !== undefined && !Object.hasOwn(deviceKeys, part));
  if (missing !== undefined) throw badJson(`device_keys: no ${missing}`);
  const fault = deviceKeys && faultOfDeviceKeys(deviceKeys, device);
  if (fault !== undefined) throw invalidParam(`device_keys: ${fault}`);
  const oneTimeKeys = parseKeys(own(body, 'one_time_keys'), 'one_time_keys');
  if (oneTimeKeys.length > MOST_ONE_TIME_KEYS) throw invalidParam('one_time_keys: too many');
  const fallbackKeys = parseKeys(own(body, 'fallback_keys'), 'fallback_keys');
  if (fallbackKeys.length > MOST_FALLBACK_KEYS) throw invalidParam('fallback_keys: too many');
  return { deviceKeys, oneTimeKeys, fallbackKeys };
}

/** Keys are named `algorithm:key_id`; their values are strings or signed objects. */
function parseKeys(keys: Json | undefined, field: string): UploadedKey[] {
  if (keys === undefined || keys === null) return [];
  if (!isObject(keys)) throw badJson(`${field} is not an object`);
  return Object.entries(keys).map(([name, key]) => {
    const colon = name.indexOf(':');
    const isName = Buffer.byteLength(name) <= MAX_NAME_BYTES && !name.includes('\0');
    if (!isName || colon < 1 || colon === name.length - 1) {
      throw invalidParam(`${field}: ${name} is not <algorithm>:<key_id>`);
    }
    if (!isOneTimeKey(key))
      throw invalidParam(`${field}: ${name} is no key, too large, or not canonical JSON`);
    return { algorithm: name.slice(0, colon), keyId: name.slice(colon + 1), key };
  });
}

/** Stores keys of a device; throws, so that nothing is stored, where they are in conflict with those there are. */
export async function storeUpload(
  ctx: Pick<ServerContext, 'streams'>,
  tx: Tx,
  device: DeviceRef,
  upload: KeyUpload,
): Promise<void> {
  const { deviceKeys, oneTimeKeys, fallbackKeys } = upload;
  if (deviceKeys !== undefined) await storeDeviceKeys(ctx, tx, device, deviceKeys);
  const conflict = await e2eeKeys.addOneTimeKeys(tx, device, oneTimeKeys);
  if (conflict !== undefined)
    throw invalidParam(`One-time key ${conflict} already exists with another value`);
  if (await e2eeKeys.hasOneTimeKeys(tx, device, MOST_WAITING_KEYS + 1)) {
    throw invalidParam('one_time_keys: too many are waiting to be claimed');
  }
  await e2eeKeys.setFallbackKeys(tx, device, fallbackKeys);
  if (await e2eeKeys.hasFallbackKeys(tx, device, MOST_FALLBACK_KEYS + 1)) {
    throw invalidParam('fallback_keys: of too many algorithms');
  }
  // The device hears of its new counts by its next sync.
  ctx.streams.allocate(tx, [`user:${device.userId}`]);
}

async function storeDeviceKeys(
  ctx: Pick<ServerContext, 'streams'>,
  tx: Tx,
  device: DeviceRef,
  keys: JsonObject,
): Promise<void> {
  const { userId, deviceId } = device;
  const known = (await e2eeKeys.deviceKeys(tx, [userId])).get(userId)?.get(deviceId);
  if (known !== undefined && JSON.stringify(known) === JSON.stringify(keys)) return;
  await e2eeKeys.setDeviceKeys(tx, device, keys);
  // What was signed is no more.
  const isOther = known !== undefined && signableBytes(known) !== signableBytes(keys);
  if (isOther) await keySignatures.removeOn(tx, { userId, id: deviceId });
  await deviceLists.devicesChanged(tx, ctx.streams, userId, [deviceId]);
}

import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** A user's device. */
export interface DeviceRef {
  readonly userId: UserId;
  readonly deviceId: string;
}

/** A one-time or fallback key as it is uploaded: `algorithm:key_id` and its value. */
export interface UploadedKey {
  readonly algorithm: string;
  readonly keyId: string;
  readonly key: JsonObject | string;
}

interface KeyRow {
  key_id: string;
  key_json: string;
}

const SET_DEVICE_KEYS = sql<[string, string, string]>(
  'e2eeKeys.setDeviceKeys',
  `INSERT INTO device_keys (user_id, device_id, keys_json) VALUES (?, ?, ?)
   ON CONFLICT (user_id, device_id) DO UPDATE SET keys_json = excluded.keys_json`,
);

const DEVICE_KEYS = sql<[string], { user_id: UserId; device_id: string; keys_json: string }>(
  'e2eeKeys.deviceKeys',
  `SELECT user_id, device_id, keys_json FROM device_keys
   WHERE user_id {anyOf} ORDER BY user_id, device_id`,
);

const INSERT_ONE_TIME_KEY = sql<[string, string, string, string, string]>(
  'e2eeKeys.insertOneTimeKey',
  `INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, key_json) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (user_id, device_id, algorithm, key_id) DO NOTHING`,
);

const ONE_TIME_KEY = sql<[string, string, string, string], KeyRow>(
  'e2eeKeys.oneTimeKey',
  `SELECT key_id, key_json FROM one_time_keys
   WHERE user_id = ? AND device_id = ? AND algorithm = ? AND key_id = ?`,
);

const OLDEST_ONE_TIME_KEY = sql<[string, string, string], KeyRow & { key_nid: number }>(
  'e2eeKeys.oldestOneTimeKey',
  `SELECT key_nid, key_id, key_json FROM one_time_keys
   WHERE user_id = ? AND device_id = ? AND algorithm = ? ORDER BY key_nid LIMIT 1 {forUpdate}`,
);

const DELETE_ONE_TIME_KEY = sql<[number]>(
  'e2eeKeys.deleteOneTimeKey',
  'DELETE FROM one_time_keys WHERE key_nid = ?',
);

const ONE_TIME_KEY_COUNTS = sql<[string, string], { algorithm: string; total: number }>(
  'e2eeKeys.oneTimeKeyCounts',
  `SELECT algorithm, count(*) AS total FROM one_time_keys
   WHERE user_id = ? AND device_id = ? GROUP BY algorithm ORDER BY algorithm`,
);

const NTH_ONE_TIME_KEY = sql<[string, string, number], { key_id: string }>(
  'e2eeKeys.nthOneTimeKey',
  `SELECT key_id FROM one_time_keys WHERE user_id = ? AND device_id = ?
   ORDER BY algorithm, key_id LIMIT 1 OFFSET ?`,
);

const SET_FALLBACK_KEY = sql<[string, string, string, string, string]>(
  'e2eeKeys.setFallbackKey',
  `INSERT INTO fallback_keys (user_id, device_id, algorithm, key_id, key_json, used)
   VALUES (?, ?, ?, ?, ?, 0)
   ON CONFLICT (user_id, device_id, algorithm)
   DO UPDATE SET key_id = excluded.key_id, key_json = excluded.key_json,
     used = CASE WHEN fallback_keys.key_id = excluded.key_id AND fallback_keys.key_json = excluded.key_json
                 THEN fallback_keys.used ELSE 0 END`,
);

const NTH_FALLBACK_KEY = sql<[string, string, number], { key_id: string }>(
  'e2eeKeys.nthFallbackKey',
  `SELECT key_id FROM fallback_keys WHERE user_id = ? AND device_id = ? ORDER BY algorithm LIMIT 1 OFFSET ?`,
);

const FALLBACK_KEY = sql<[string, string, string], KeyRow>(
  'e2eeKeys.fallbackKey',
  `SELECT key_id, key_json FROM fallback_keys WHERE user_id = ? AND device_id = ? AND algorithm = ?`,
);

const USE_FALLBACK_KEY = sql<[string, string, string]>(
  'e2eeKeys.useFallbackKey',
  `UPDATE fallback_keys SET used = 1 WHERE user_id = ? AND device_id = ? AND algorithm = ?`,
);

const UNUSED_FALLBACK_TYPES = sql<[string, string], { algorithm: string }>(
  'e2eeKeys.unusedFallbackTypes',
  `SELECT algorithm FROM fallback_keys WHERE user_id = ? AND device_id = ? AND used = 0 ORDER BY algorithm`,
);

const DELETE_DEVICE = [
  sql<[string, string]>(
    'e2eeKeys.deleteDeviceKeys',
    'DELETE FROM device_keys WHERE user_id = ? AND device_id = ?',
  ),
  sql<[string, string]>(
    'e2eeKeys.deleteOneTimeKeys',
    'DELETE FROM one_time_keys WHERE user_id = ? AND device_id = ?',
  ),
  sql<[string, string]>(
    'e2eeKeys.deleteFallbackKeys',
    'DELETE FROM fallback_keys WHERE user_id = ? AND device_id = ?',
  ),
] as const;

/** Stores a device's identity keys in place of earlier ones. */
export async function setDeviceKeys(tx: Tx, device: DeviceRef, keys: JsonObject): Promise<void> {
  await tx.run(SET_DEVICE_KEYS, device.userId, device.deviceId, JSON.stringify(keys));
}

/** The identity keys of all devices of the users, by user and device id. */
export async function deviceKeys(
  reader: Reader,
  userIds: readonly UserId[],
): Promise<ReadonlyMap<UserId, ReadonlyMap<string, JsonObject>>> {
  const found = new Map<UserId, Map<string, JsonObject>>();
  for (const row of await reader.all(DEVICE_KEYS, anyOf(userIds))) {
    const devices = found.get(row.user_id) ?? new Map<string, JsonObject>();
    devices.set(row.device_id, JSON.parse(row.keys_json) as JsonObject);
    found.set(row.user_id, devices);
  }
  return found;
}

/**
 * Stores one-time keys in the order given. Answers the id of the first one that is already there with another
 * value, in which case the caller undoes the write; a key uploaded again unchanged is no error.
 */
export async function addOneTimeKeys(
  tx: Tx,
  device: DeviceRef,
  keys: readonly UploadedKey[],
): Promise<string | undefined> {
  const { userId, deviceId } = device;
  for (const { algorithm, keyId, key } of keys) {
    const text = JSON.stringify(key);
    const inserted = await tx.run(INSERT_ONE_TIME_KEY, userId, deviceId, algorithm, keyId, text);
    if (inserted === 1) continue;
    const stored = await tx.get(ONE_TIME_KEY, userId, deviceId, algorithm, keyId);
    if (stored?.key_json !== text) return `${algorithm}:${keyId}`;
  }
  return undefined;
}

/** True where at least `most` one-time keys of a device wait to be claimed. */
export async function hasOneTimeKeys(reader: Reader, device: DeviceRef, most: number): Promise<boolean> {
  return (await reader.get(NTH_ONE_TIME_KEY, device.userId, device.deviceId, most - 1)) !== undefined;
}

/** True where a device has fallback keys of at least `most` algorithms. */
export async function hasFallbackKeys(reader: Reader, device: DeviceRef, most: number): Promise<boolean> {
  return (await reader.get(NTH_FALLBACK_KEY, device.userId, device.deviceId, most - 1)) !== undefined;
}

/**
 * Stores fallback keys, one for each algorithm, in place of earlier ones, as unused. The very same key that is uploaded
 * again is no other one: it stays used.
 */
export async function setFallbackKeys(
  tx: Tx,
  device: DeviceRef,
  keys: readonly UploadedKey[],
): Promise<void> {
  for (const { algorithm, keyId, key } of keys) {
    await tx.run(SET_FALLBACK_KEY, device.userId, device.deviceId, algorithm, keyId, JSON.stringify(key));
  }
}

/** A key that is given out. */
export interface TakenKey {
  readonly keyId: string;
  readonly key: JsonObject | string;
}

/** A one-time key; where none is left, the fallback key. Undefined where there is neither. */
export async function claim(tx: Tx, device: DeviceRef, algorithm: string): Promise<TakenKey | undefined> {
  return (await takeOneTimeKey(tx, device, algorithm)) ?? takeFallbackKey(tx, device, algorithm);
}

/** Takes a one-time key away for good, in the order of upload. */
export async function takeOneTimeKey(
  tx: Tx,
  { userId, deviceId }: DeviceRef,
  algorithm: string,
): Promise<TakenKey | undefined> {
  const oldest = await tx.get(OLDEST_ONE_TIME_KEY, userId, deviceId, algorithm);
  if (oldest === undefined) return undefined;
  await tx.run(DELETE_ONE_TIME_KEY, oldest.key_nid);
  return takenKey(oldest);
}

/** The fallback key, which stays and is marked as used. */
export async function takeFallbackKey(
  tx: Tx,
  { userId, deviceId }: DeviceRef,
  algorithm: string,
): Promise<TakenKey | undefined> {
  const fallback = await tx.get(FALLBACK_KEY, userId, deviceId, algorithm);
  if (fallback === undefined) return undefined;
  await tx.run(USE_FALLBACK_KEY, userId, deviceId, algorithm);
  return takenKey(fallback);
}

/** How many one-time keys of each algorithm a device has left. */
export async function oneTimeKeyCounts(
  reader: Reader,
  userId: UserId,
  deviceId: string,
): Promise<ReadonlyMap<string, number>> {
  const rows = await reader.all(ONE_TIME_KEY_COUNTS, userId, deviceId);
  return new Map(rows.map((row) => [row.algorithm, row.total]));
}

/** The algorithms of which a device has a fallback key that nobody was given yet. */
export async function unusedFallbackTypes(
  reader: Reader,
  userId: UserId,
  deviceId: string,
): Promise<string[]> {
  return (await reader.all(UNUSED_FALLBACK_TYPES, userId, deviceId)).map((row) => row.algorithm);
}

/** Deletes all keys of a device, when it is logged out. */
export async function deleteDevice(tx: Tx, device: DeviceRef): Promise<void> {
  for (const statement of DELETE_DEVICE) await tx.run(statement, device.userId, device.deviceId);
}

function takenKey(row: KeyRow): TakenKey {
  return { keyId: row.key_id, key: JSON.parse(row.key_json) as JsonObject | string };
}

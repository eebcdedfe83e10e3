import type { ServerName, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** The devices and signing keys of a user of another server, as that server told them. */
export interface RemoteKeys {
  /** By device id: those that have keys. */
  readonly devices: ReadonlyMap<string, JsonObject>;
  readonly masterKey: JsonObject | undefined;
  readonly selfSigningKey: JsonObject | undefined;
}

/** How far what is known of a user goes. */
export interface RemoteListState {
  readonly userId: UserId;
  /** Of the last update that is in it; undefined where that is not known. */
  readonly streamId: number | undefined;
  /** An update was missed: it is not to be used. */
  readonly isStale: boolean;
  /** Ever since the user's server was asked, one of our users has shared a room with the user. */
  readonly isFollowed: boolean;
}

interface Row {
  user_id: UserId;
  stream_id: number | null;
  stale: number;
  followed: number;
}

const ALL = sql<[string, number], { user_id: UserId }>(
  'remoteDeviceLists.all',
  'SELECT user_id FROM remote_device_lists WHERE user_id > ? ORDER BY user_id LIMIT ?',
);
const STATES = sql<[string, string], Row>(
  'remoteDeviceLists.states',
  `SELECT l.user_id, l.stream_id, l.stale, CASE WHEN EXISTS (
     SELECT 1 FROM memberships theirs JOIN memberships ours ON ours.room_nid = theirs.room_nid
     WHERE theirs.user_id = l.user_id AND theirs.membership = 'join' AND theirs.joined_position <= l.position
       AND ours.membership = 'join' AND ours.server_name = ? AND ours.joined_position <= l.position
   ) THEN 1 ELSE 0 END AS followed
   FROM remote_device_lists l WHERE l.user_id {anyOf} ORDER BY l.user_id`,
);
const KEYS = sql<
  [string],
  { user_id: UserId; master_key_json: string | null; self_signing_key_json: string | null }
>(
  'remoteDeviceLists.keys',
  `SELECT user_id, master_key_json, self_signing_key_json FROM remote_device_lists
   WHERE user_id {anyOf} ORDER BY user_id`,
);
const DEVICES = sql<[string], { user_id: UserId; device_id: string; keys_json: string }>(
  'remoteDeviceLists.devices',
  `SELECT user_id, device_id, keys_json FROM remote_devices
   WHERE user_id {anyOf} ORDER BY user_id, device_id`,
);
const DEVICE = sql<[string, string], { keys_json: string }>(
  'remoteDeviceLists.device',
  'SELECT keys_json FROM remote_devices WHERE user_id = ? AND device_id = ?',
);
const NTH_DEVICE = sql<[string, number], { device_id: string }>(
  'remoteDeviceLists.nthDevice',
  'SELECT device_id FROM remote_devices WHERE user_id = ? ORDER BY device_id LIMIT 1 OFFSET ?',
);
const SET = sql<[string, string, number | null, number, string | null, string | null]>(
  'remoteDeviceLists.set',
  `INSERT INTO remote_device_lists
     (user_id, server_name, stream_id, position, stale, master_key_json, self_signing_key_json)
   VALUES (?, ?, ?, ?, 0, ?, ?)
   ON CONFLICT (user_id) DO UPDATE SET stream_id = excluded.stream_id, position = excluded.position, stale = 0,
     master_key_json = excluded.master_key_json, self_signing_key_json = excluded.self_signing_key_json`,
);
const SET_SIGNING_KEYS = sql<[string | null, string | null, string]>(
  'remoteDeviceLists.setSigningKeys',
  'UPDATE remote_device_lists SET master_key_json = ?, self_signing_key_json = ? WHERE user_id = ?',
);
const SET_STREAM_ID = sql<[number, string]>(
  'remoteDeviceLists.setStreamId',
  'UPDATE remote_device_lists SET stream_id = ? WHERE user_id = ?',
);
const SET_STALE = sql<[string]>(
  'remoteDeviceLists.setStale',
  'UPDATE remote_device_lists SET stale = 1 WHERE user_id = ?',
);
const SET_DEVICE = sql<[string, string, string]>(
  'remoteDeviceLists.setDevice',
  `INSERT INTO remote_devices (user_id, device_id, keys_json) VALUES (?, ?, ?)
   ON CONFLICT (user_id, device_id) DO UPDATE SET keys_json = excluded.keys_json`,
);
const REMOVE_DEVICE = sql<[string, string]>(
  'remoteDeviceLists.removeDevice',
  'DELETE FROM remote_devices WHERE user_id = ? AND device_id = ?',
);
const REMOVE_DEVICES = sql<[string]>(
  'remoteDeviceLists.removeDevices',
  'DELETE FROM remote_devices WHERE user_id = ?',
);
const REMOVE = sql<[string]>('remoteDeviceLists.remove', 'DELETE FROM remote_device_lists WHERE user_id = ?');
const REMOVE_STALE = sql<[string]>(
  'remoteDeviceLists.removeStale',
  'DELETE FROM remote_device_lists WHERE user_id = ? AND stale = 1',
);
const STALE_SERVERS = sql<[string, number], { server_name: ServerName }>(
  'remoteDeviceLists.staleServers',
  `SELECT DISTINCT server_name FROM remote_device_lists WHERE stale = 1 AND server_name > ?
   ORDER BY server_name LIMIT ?`,
);
const STALE_OF = sql<[string, string, number], { user_id: UserId }>(
  'remoteDeviceLists.staleOf',
  `SELECT user_id FROM remote_device_lists WHERE stale = 1 AND server_name = ? AND user_id > ?
   ORDER BY user_id LIMIT ?`,
);

/** The users of whom something is known, in pages: the first `limit` after a user. */
export async function allOf(
  reader: Reader,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<UserId[]> {
  return (await reader.all(ALL, after, limit)).map((row) => row.user_id);
}

/** What is known of users; those of whom nothing is are absent. `ours` is our own name. */
export async function statesOf(
  reader: Reader,
  ours: ServerName,
  userIds: readonly UserId[],
): Promise<ReadonlyMap<UserId, RemoteListState>> {
  const rows = await reader.all(STATES, ours, anyOf(userIds));
  return new Map(
    rows.map((row) => [
      row.user_id,
      {
        userId: row.user_id,
        streamId: row.stream_id ?? undefined,
        isStale: row.stale === 1,
        isFollowed: row.followed === 1,
      },
    ]),
  );
}

/** The devices and keys that are known of users, whether they may be used or not. */
export async function keysOf(
  reader: Reader,
  userIds: readonly UserId[],
): Promise<ReadonlyMap<UserId, RemoteKeys>> {
  const devices = new Map<UserId, Map<string, JsonObject>>();
  for (const row of await reader.all(DEVICES, anyOf(userIds))) {
    const ofUser = devices.get(row.user_id) ?? new Map<string, JsonObject>();
    ofUser.set(row.device_id, JSON.parse(row.keys_json) as JsonObject);
    devices.set(row.user_id, ofUser);
  }
  const rows = await reader.all(KEYS, anyOf(userIds));
  return new Map(
    rows.map((row) => [
      row.user_id,
      {
        devices: devices.get(row.user_id) ?? new Map<string, JsonObject>(),
        masterKey: parsed(row.master_key_json),
        selfSigningKey: parsed(row.self_signing_key_json),
      },
    ]),
  );
}

/** The keys that are known of one device. */
export async function deviceOf(
  reader: Reader,
  userId: UserId,
  deviceId: string,
): Promise<JsonObject | undefined> {
  return parsed((await reader.get(DEVICE, userId, deviceId))?.keys_json ?? null);
}

/** True where at least `most` devices of a user are known. */
export async function hasDevices(reader: Reader, userId: UserId, most: number): Promise<boolean> {
  return (await reader.get(NTH_DEVICE, userId, most - 1)) !== undefined;
}

/** Stores what a server has told of a user in place of what was known, as asked for at `position`. */
export async function set(
  tx: Tx,
  list: {
    readonly userId: UserId;
    readonly server: ServerName;
    readonly position: number;
    readonly streamId: number | undefined;
    readonly keys: RemoteKeys;
  },
): Promise<void> {
  const { userId, server, position, streamId = null, keys } = list;
  await tx.run(SET, userId, server, streamId, position, text(keys.masterKey), text(keys.selfSigningKey));
  await tx.run(REMOVE_DEVICES, userId);
  // One statement for each device: a user has few.
  for (const [deviceId, device] of keys.devices) await setDevice(tx, userId, deviceId, device);
}

/** Stores the signing keys of a user of whom something is known. */
export async function setSigningKeys(
  tx: Tx,
  userId: UserId,
  keys: Pick<RemoteKeys, 'masterKey' | 'selfSigningKey'>,
): Promise<void> {
  await tx.run(SET_SIGNING_KEYS, text(keys.masterKey), text(keys.selfSigningKey), userId);
}

/** Stores the keys of one device in place of those that it had. */
export async function setDevice(tx: Tx, userId: UserId, deviceId: string, keys: JsonObject): Promise<void> {
  await tx.run(SET_DEVICE, userId, deviceId, JSON.stringify(keys));
}

/** Removes one device. */
export async function removeDevice(tx: Tx, userId: UserId, deviceId: string): Promise<void> {
  await tx.run(REMOVE_DEVICE, userId, deviceId);
}

/** Notes up to which update what is known of a user goes. */
export async function setStreamId(tx: Tx, userId: UserId, streamId: number): Promise<void> {
  await tx.run(SET_STREAM_ID, streamId, userId);
}

/** Notes that an update was missed. */
export async function setStale(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(SET_STALE, userId);
}

/** Forgets what is known of a user. */
export async function remove(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE_DEVICES, userId);
  await tx.run(REMOVE, userId);
}

/** Forgets what is known of a user, unless it is up to date. */
export async function removeStale(tx: Tx, userId: UserId): Promise<void> {
  if ((await tx.run(REMOVE_STALE, userId)) > 0) await tx.run(REMOVE_DEVICES, userId);
}

/** The servers of whose users updates were missed, in pages: the first `limit` after a name. */
export async function staleServers(reader: Reader, after: ServerName, limit: number): Promise<ServerName[]> {
  return (await reader.all(STALE_SERVERS, after, limit)).map((row) => row.server_name);
}

/** The users of a server of whom updates were missed, in pages: the first `limit` after a user. */
export async function staleOf(
  reader: Reader,
  server: ServerName,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<UserId[]> {
  return (await reader.all(STALE_OF, server, after, limit)).map((row) => row.user_id);
}

function text(key: JsonObject | undefined): string | null {
  return key === undefined ? null : JSON.stringify(key);
}

function parsed(json: string | null): JsonObject | undefined {
  return json === null ? undefined : (JSON.parse(json) as JsonObject);
}

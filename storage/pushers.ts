/** Where users want to be notified: https://spec.matrix.org/v1.19/client-server-api/#push-notifications */

import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';
import { fromTextColumn, textColumn } from './text-column.ts';

export interface PusherKey {
  readonly userId: UserId;
  readonly appId: string;
  readonly pushkey: string;
}

export interface Pusher extends PusherKey {
  /** The device that set it, with whose sign-out it ends. */
  readonly deviceId: string;
  readonly kind: string;
  readonly appDisplayName: string;
  readonly deviceDisplayName: string;
  readonly profileTag: string | undefined;
  readonly lang: string;
  readonly data: JsonObject;
  readonly createdTs: number;
  /** The position up to which the user's events were sent there, or passed over. */
  readonly delivered: number;
}

interface Row {
  app_id: string;
  pushkey: string;
  user_id: UserId;
  device_id: string;
  kind: string;
  app_display_name: string;
  device_display_name: string;
  profile_tag: string | null;
  lang: string;
  data_json: string;
  created_ts: number;
  delivered: number;
}

const OF_USER = sql<[string], Row>(
  'pushers.ofUser',
  `SELECT app_id, pushkey, user_id, device_id, kind, app_display_name, device_display_name, profile_tag, lang,
     data_json, created_ts, delivered
   FROM pushers WHERE user_id = ? ORDER BY created_ts, app_id, pushkey`,
);

type SetParams = [
  appId: string,
  pushkey: string,
  userId: string,
  deviceId: string,
  kind: string,
  appDisplayName: string,
  deviceDisplayName: string,
  profileTag: string | null,
  lang: string,
  dataJson: string,
  createdTs: number,
  delivered: number,
];
const SET = sql<SetParams>(
  'pushers.set',
  `INSERT INTO pushers (app_id, pushkey, user_id, device_id, kind, app_display_name, device_display_name, profile_tag,
     lang, data_json, created_ts, delivered)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
   ON CONFLICT (app_id, pushkey, user_id) DO UPDATE SET device_id = excluded.device_id, kind = excluded.kind,
     app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
     profile_tag = excluded.profile_tag, lang = excluded.lang, data_json = excluded.data_json`,
);

const REMOVE = sql<[string, string, string]>(
  'pushers.remove',
  'DELETE FROM pushers WHERE app_id = ? AND pushkey = ? AND user_id = ?',
);

const REMOVE_OF_OTHERS = sql<[string, string, string]>(
  'pushers.removeOfOthers',
  'DELETE FROM pushers WHERE app_id = ? AND pushkey = ? AND user_id <> ?',
);

const REMOVE_OF_DEVICE = sql<[string, string]>(
  'pushers.removeOfDevice',
  'DELETE FROM pushers WHERE user_id = ? AND device_id = ?',
);

const USERS = sql<[], { user_id: UserId }>(
  'pushers.users',
  'SELECT DISTINCT user_id FROM pushers ORDER BY user_id',
);

const SET_DELIVERED = sql<[number, string, string, string]>(
  'pushers.setDelivered',
  'UPDATE pushers SET delivered = ? WHERE app_id = ? AND pushkey = ? AND user_id = ?',
);

/** All pushers of a user, the oldest first. */
export async function ofUser(reader: Reader, userId: UserId): Promise<Pusher[]> {
  return (await reader.all(OF_USER, userId)).map(pusherOf);
}

/** Who has pushers. */
export async function users(reader: Reader): Promise<UserId[]> {
  return (await reader.all(USERS)).map((row) => row.user_id);
}

/** Notes up to where a pusher was told. */
export async function setDelivered(tx: Tx, key: PusherKey, position: number): Promise<void> {
  await tx.run(SET_DELIVERED, position, ...keyColumns(key));
}

/** Adds a pusher, or changes that with its key, which goes on where it was. */
export async function set(tx: Tx, pusher: Pusher): Promise<void> {
  const { profileTag } = pusher;
  await tx.run(
    SET,
    ...keyColumns(pusher),
    textColumn(pusher.deviceId),
    textColumn(pusher.kind),
    textColumn(pusher.appDisplayName),
    textColumn(pusher.deviceDisplayName),
    profileTag === undefined ? null : textColumn(profileTag),
    textColumn(pusher.lang),
    JSON.stringify(pusher.data),
    pusher.createdTs,
    pusher.delivered,
  );
}

/** Removes a pusher, where there is one. */
export async function remove(tx: Tx, key: PusherKey): Promise<void> {
  await tx.run(REMOVE, ...keyColumns(key));
}

/** Removes what other users have under the same app and key. */
export async function removeOfOthers(tx: Tx, key: PusherKey): Promise<void> {
  await tx.run(REMOVE_OF_OTHERS, ...keyColumns(key));
}

/** Removes the pushers that a device has set. */
export async function removeOfDevice(tx: Tx, userId: UserId, deviceId: string): Promise<void> {
  await tx.run(REMOVE_OF_DEVICE, userId, textColumn(deviceId));
}

function keyColumns({ appId, pushkey, userId }: PusherKey): [string, string, string] {
  return [textColumn(appId), textColumn(pushkey), userId];
}

function pusherOf(row: Row): Pusher {
  return {
    appId: fromTextColumn(row.app_id),
    pushkey: fromTextColumn(row.pushkey),
    userId: row.user_id,
    deviceId: fromTextColumn(row.device_id),
    kind: fromTextColumn(row.kind),
    appDisplayName: fromTextColumn(row.app_display_name),
    deviceDisplayName: fromTextColumn(row.device_display_name),
    profileTag: row.profile_tag === null ? undefined : fromTextColumn(row.profile_tag),
    lang: fromTextColumn(row.lang),
    data: JSON.parse(row.data_json) as JsonObject,
    createdTs: row.created_ts,
    delivered: row.delivered,
  };
}

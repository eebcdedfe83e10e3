/** Where users want to be notified: https://spec.matrix.org/v1.19/client-server-api/#push-notifications */

import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';
import { fromTextColumn, textColumn } from './text-column.ts';

export interface PusherKey {
  readonly userId: UserId;
  readonly appId: string;
  readonly pushkey: string;
}

export interface Pusher extends PusherKey {
  /** The device that set it, with whose sign-out it ends; empty for one of the kind email, which is the account's. */
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
  /** False while its user has switched it off. */
  readonly enabled: boolean;
  /** False until the app has shown that it is reached (MSC4174). */
  readonly activated: boolean;
  /** What the app shows that by. */
  readonly ack: { readonly hash: string; readonly expiresTs: number } | undefined;
}

/** A pusher of the kind email, and when it is next looked at. */
export interface MailPusher extends Pusher {
  /** When a letter is due; undefined while nothing is new. */
  readonly dueTs: number | undefined;
  /** How long the next news wait. */
  readonly waitMs: number;
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
  enabled: number;
  activated: number;
  ack_hash: string | null;
  ack_expires_ts: number | null;
  mail_due_ts: number | null;
  mail_wait_ms: number;
}

const COLUMNS = `app_id, pushkey, user_id, device_id, kind, app_display_name, device_display_name, profile_tag, lang,
  data_json, created_ts, delivered, enabled, activated, ack_hash, ack_expires_ts, mail_due_ts, mail_wait_ms`;

const OF_USER = sql<[string], Row>(
  'pushers.ofUser',
  `SELECT ${COLUMNS} FROM pushers WHERE user_id = ? ORDER BY created_ts, app_id, pushkey`,
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
  enabled: number,
  activated: number,
  ackHash: string | null,
  ackExpiresTs: number | null,
];
const SET = sql<SetParams>(
  'pushers.set',
  `INSERT INTO pushers (app_id, pushkey, user_id, device_id, kind, app_display_name, device_display_name, profile_tag,
     lang, data_json, created_ts, delivered, enabled, activated, ack_hash, ack_expires_ts)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
   ON CONFLICT (app_id, pushkey, user_id) DO UPDATE SET device_id = excluded.device_id, kind = excluded.kind,
     app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
     profile_tag = excluded.profile_tag, lang = excluded.lang, data_json = excluded.data_json,
     created_ts = excluded.created_ts, enabled = excluded.enabled, activated = excluded.activated, ack_hash = excluded.ack_hash,
     ack_expires_ts = excluded.ack_expires_ts`,
);

const REMOVE = sql<[string, string, string]>(
  'pushers.remove',
  'DELETE FROM pushers WHERE app_id = ? AND pushkey = ? AND user_id = ?',
);

const REMOVE_REJECTED = sql<[string, string, string, number, string]>(
  'pushers.removeRejected',
  `DELETE FROM pushers
   WHERE app_id = ? AND pushkey = ? AND user_id = ? AND created_ts = ? AND data_json = ?`,
);

const REMOVE_OF_OTHERS = sql<[string, string, string]>(
  'pushers.removeOfOthers',
  'DELETE FROM pushers WHERE app_id = ? AND pushkey = ? AND user_id <> ?',
);

const REMOVE_OF_DEVICE = sql<[string, string]>(
  'pushers.removeOfDevice',
  'DELETE FROM pushers WHERE user_id = ? AND device_id = ?',
);

const REMOVE_OF_ADDRESS = sql<[string, string]>(
  'pushers.removeOfAddress',
  "DELETE FROM pushers WHERE user_id = ? AND pushkey = ? AND kind = 'email'",
);

const REMOVE_MAIL = sql<[string]>(
  'pushers.removeMail',
  "DELETE FROM pushers WHERE user_id = ? AND kind = 'email'",
);

const ACTIVATE = sql<[number, string, string, string]>(
  'pushers.activate',
  'UPDATE pushers SET activated = 1, delivered = ? WHERE app_id = ? AND pushkey = ? AND user_id = ?',
);

const MAIL_OF_USERS = sql<[string], Row>(
  'pushers.mailOfUsers',
  `SELECT ${COLUMNS} FROM pushers WHERE user_id {anyOf} AND kind = 'email' ORDER BY user_id, app_id, pushkey`,
);

const MAIL_DUE = sql<[number, number], Row>(
  'pushers.mailDue',
  `SELECT ${COLUMNS} FROM pushers WHERE mail_due_ts <= ? ORDER BY mail_due_ts, user_id, app_id, pushkey LIMIT ?`,
);

const NEXT_MAIL_DUE = sql<[], { due: number }>(
  'pushers.nextMailDue',
  'SELECT mail_due_ts AS due FROM pushers WHERE mail_due_ts IS NOT NULL ORDER BY mail_due_ts LIMIT 1',
);

const SET_MAIL = sql<[number | null, number, number, string, string, string]>(
  'pushers.setMail',
  `UPDATE pushers SET mail_due_ts = ?, mail_wait_ms = ?, delivered = ?
   WHERE app_id = ? AND pushkey = ? AND user_id = ?`,
);

const USERS_WITH_MAIL = sql<[], { user_id: UserId }>(
  'pushers.usersWithMail',
  "SELECT DISTINCT user_id FROM pushers WHERE kind = 'email' ORDER BY user_id",
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
    pusher.enabled ? 1 : 0,
    pusher.activated ? 1 : 0,
    pusher.ack?.hash ?? null,
    pusher.ack?.expiresTs ?? null,
  );
}

/** The app has shown that it is reached: it is told what comes from now on. */
export async function activate(tx: Tx, key: PusherKey, position: number): Promise<void> {
  await tx.run(ACTIVATE, position, ...keyColumns(key));
}

/** Who has pushers of the kind email. */
export async function usersWithMail(reader: Reader): Promise<UserId[]> {
  return (await reader.all(USERS_WITH_MAIL)).map((row) => row.user_id);
}

/** The pushers of the kind email that some users have. */
export async function mailOf(reader: Reader, userIds: Iterable<UserId>): Promise<MailPusher[]> {
  return (await reader.all(MAIL_OF_USERS, anyOf(userIds))).map(mailPusherOf);
}

/** Those of which a letter is due, the earliest first. */
export async function mailDue(reader: Reader, now: number, limit: number): Promise<MailPusher[]> {
  return (await reader.all(MAIL_DUE, now, limit)).map(mailPusherOf);
}

/** When the next letter is due. */
export async function nextMailDue(reader: Reader): Promise<number | undefined> {
  return (await reader.get(NEXT_MAIL_DUE))?.due;
}

/** Notes when a letter is due next, how long what comes after it waits, and of what the user was told. */
export async function setMail(
  tx: Tx,
  key: PusherKey,
  {
    dueTs,
    waitMs,
    delivered,
  }: { readonly dueTs: number | undefined; readonly waitMs: number; readonly delivered: number },
): Promise<void> {
  await tx.run(SET_MAIL, dueTs ?? null, waitMs, delivered, ...keyColumns(key));
}

/** Ends the letters to an address that is a user's no more. */
export async function removeOfAddress(tx: Tx, userId: UserId, address: string): Promise<void> {
  await tx.run(REMOVE_OF_ADDRESS, userId, textColumn(address));
}

/** Ends all letters to a user. */
export async function removeMail(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE_MAIL, userId);
}

/** Removes a pusher, where there is one. */
export async function remove(tx: Tx, key: PusherKey): Promise<void> {
  await tx.run(REMOVE, ...keyColumns(key));
}

/** Removes a pusher that was rejected; false where it has been set anew since it was read. */
export async function removeRejected(tx: Tx, pusher: Pusher): Promise<boolean> {
  const { createdTs, data } = pusher;
  return (await tx.run(REMOVE_REJECTED, ...keyColumns(pusher), createdTs, JSON.stringify(data))) === 1;
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
    enabled: row.enabled === 1,
    activated: row.activated === 1,
    ack: row.ack_hash === null ? undefined : { hash: row.ack_hash, expiresTs: row.ack_expires_ts ?? 0 },
  };
}

function mailPusherOf(row: Row): MailPusher {
  return { ...pusherOf(row), dueTs: row.mail_due_ts ?? undefined, waitMs: row.mail_wait_ms };
}

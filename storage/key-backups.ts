import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A version of a user's backup of room keys. */
export interface KeyBackup {
  readonly backupNid: number;
  readonly version: number;
  readonly algorithm: string;
  readonly authData: JsonObject;
  /** Another one after each change of the keys. */
  readonly etag: number;
  /** Of the keys in it. */
  readonly count: number;
}

interface Row {
  backup_nid: number;
  version: number;
  algorithm: string;
  auth_data_json: string;
  etag: number;
  key_count: number;
}

const COLUMNS = 'backup_nid, version, algorithm, auth_data_json, etag, key_count';

const NEWEST = sql<[string], Row>(
  'keyBackups.newest',
  `SELECT ${COLUMNS} FROM key_backups WHERE user_id = ? AND deleted = 0 ORDER BY version DESC LIMIT 1`,
);
const OF = sql<[string, number], Row>(
  'keyBackups.of',
  `SELECT ${COLUMNS} FROM key_backups WHERE user_id = ? AND version = ? AND deleted = 0`,
);
const TOTALS = sql<[string], { backups: number; keys: number | null }>(
  'keyBackups.totals',
  `SELECT count(*) AS backups, CAST(sum(key_count) AS {int}) AS keys FROM key_backups
   WHERE user_id = ? AND deleted = 0`,
);
const LAST_VERSION = sql<[string], { last_version: number }>(
  'keyBackups.lastVersion',
  'SELECT last_version FROM key_backup_versions WHERE user_id = ?',
);
const SET_LAST_VERSION = sql<[string, number]>(
  'keyBackups.setLastVersion',
  `INSERT INTO key_backup_versions (user_id, last_version) VALUES (?, ?)
   ON CONFLICT (user_id) DO UPDATE SET last_version = excluded.last_version`,
);
const INSERT = sql<[string, number, string, string]>(
  'keyBackups.insert',
  `INSERT INTO key_backups (user_id, version, algorithm, auth_data_json, etag, key_count, deleted)
   VALUES (?, ?, ?, ?, 0, 0, 0)`,
);
const SET_AUTH_DATA = sql<[string, number]>(
  'keyBackups.setAuthData',
  'UPDATE key_backups SET auth_data_json = ? WHERE backup_nid = ? AND deleted = 0',
);
const KEYS_CHANGED = sql<[number, number]>(
  'keyBackups.keysChanged',
  'UPDATE key_backups SET etag = etag + 1, key_count = key_count + ? WHERE backup_nid = ?',
);
const MARK_DELETED = sql<[string, number]>(
  'keyBackups.markDeleted',
  'UPDATE key_backups SET deleted = 1 WHERE user_id = ? AND version = ? AND deleted = 0',
);
const MARK_ALL_DELETED = sql<[string]>(
  'keyBackups.markAllDeleted',
  'UPDATE key_backups SET deleted = 1 WHERE user_id = ?',
);
const DELETED = sql<[], { backup_nid: number }>(
  'keyBackups.deleted',
  'SELECT backup_nid FROM key_backups WHERE deleted = 1 ORDER BY backup_nid LIMIT 1',
);
const REMOVE = sql<[number]>('keyBackups.remove', 'DELETE FROM key_backups WHERE backup_nid = ?');

/** The newest backup of a user: the one that keys are added to. */
export async function newest(reader: Reader, userId: UserId): Promise<KeyBackup | undefined> {
  const row = await reader.get(NEWEST, userId);
  return row && backupOf(row);
}

/** A backup by its version. */
export async function of(reader: Reader, userId: UserId, version: number): Promise<KeyBackup | undefined> {
  const row = await reader.get(OF, userId, version);
  return row && backupOf(row);
}

/** True for a version that the user was given once, though it may be deleted since. */
export async function wasGiven(reader: Reader, userId: UserId, version: number): Promise<boolean> {
  return version >= 1 && version <= ((await reader.get(LAST_VERSION, userId))?.last_version ?? 0);
}

/** How many backups a user has, and keys in all of them. */
export async function totals(reader: Reader, userId: UserId): Promise<{ backups: number; keys: number }> {
  const row = await reader.get(TOTALS, userId);
  return { backups: row?.backups ?? 0, keys: row?.keys ?? 0 };
}

/** Makes a backup without keys; answers its version. */
export async function create(
  tx: Tx,
  userId: UserId,
  { algorithm, authData }: Pick<KeyBackup, 'algorithm' | 'authData'>,
): Promise<number> {
  const version = ((await tx.get(LAST_VERSION, userId))?.last_version ?? 0) + 1;
  await tx.run(SET_LAST_VERSION, userId, version);
  await tx.run(INSERT, userId, version, algorithm, JSON.stringify(authData));
  return version;
}

/** Replaces what is said of a backup; false where it is deleted. */
export async function setAuthData(tx: Tx, backupNid: number, authData: JsonObject): Promise<boolean> {
  return (await tx.run(SET_AUTH_DATA, JSON.stringify(authData), backupNid)) === 1;
}

/** Notes that keys of a backup have changed, and how many more there are. */
export async function keysChanged(tx: Tx, backupNid: number, more: number): Promise<void> {
  await tx.run(KEYS_CHANGED, more, backupNid);
}

/** Deletes a backup, false where there is none. Its keys are removed afterwards: see `firstDeleted`. */
export async function markDeleted(tx: Tx, userId: UserId, version: number): Promise<boolean> {
  return (await tx.run(MARK_DELETED, userId, version)) === 1;
}

/** As `markDeleted`, of all backups of a user. */
export async function markAllDeleted(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(MARK_ALL_DELETED, userId);
}

/** A deleted backup of which something is left. */
export async function firstDeleted(reader: Reader): Promise<number | undefined> {
  return (await reader.get(DELETED))?.backup_nid;
}

/** Removes a backup without keys. */
export async function remove(tx: Tx, backupNid: number): Promise<void> {
  await tx.run(REMOVE, backupNid);
}

function backupOf(row: Row): KeyBackup {
  return {
    backupNid: row.backup_nid,
    version: row.version,
    algorithm: row.algorithm,
    authData: JSON.parse(row.auth_data_json) as JsonObject,
    etag: row.etag,
    count: row.key_count,
  };
}

/** Users that a provider of identities keeps by SCIM (RFC 7643). Each is an account of this server. */

import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

export interface ScimUser {
  readonly nid: number;
  /** Of the resource, for good. */
  readonly id: string;
  readonly userId: UserId;
  readonly userName: string;
  readonly externalId: string | undefined;
  readonly active: boolean;
  /** False where the provider has taken the attribute back: the account stays as it was. */
  readonly isActiveStated: boolean;
  /** What has no column: `displayName`, `name`, `emails`, `preferredLanguage`. */
  readonly attributes: JsonObject;
  readonly version: number;
  /** In milliseconds since 1970. */
  readonly createdTs: number;
  readonly modifiedTs: number;
  /** True where the account was ended for good. */
  readonly isDeactivated: boolean;
}

/** What can be changed of a user. */
export type ScimUserFields = Pick<
  ScimUser,
  'userName' | 'externalId' | 'active' | 'isActiveStated' | 'attributes'
>;

interface Row {
  user_nid: number;
  id: string;
  user_id: UserId;
  user_name: string;
  external_id: string | null;
  active: number;
  active_stated: number;
  attributes: string;
  version: number;
  created_ts: number;
  modified_ts: number;
  deactivated_ts: number | null;
}

const SELECT = `SELECT s.user_nid, s.id, s.user_id, s.user_name, s.external_id, s.active, s.active_stated,
    s.attributes, s.version, s.created_ts, s.modified_ts, u.deactivated_ts
  FROM scim_users s LEFT JOIN users u ON u.user_id = s.user_id`;

const OF = sql<[string], Row>('scimUsers.of', `${SELECT} WHERE s.id = ?`);
const BY_USER_NAME = sql<[string], Row>('scimUsers.byUserName', `${SELECT} WHERE s.user_name_key = ?`);
const BY_EXTERNAL_ID = sql<[string], Row>('scimUsers.byExternalId', `${SELECT} WHERE s.external_id = ?`);
const BY_USER_ID = sql<[string], Row>('scimUsers.byUserId', `${SELECT} WHERE s.user_id = ?`);
const BY_IDS = sql<[string], Row>('scimUsers.byIds', `${SELECT} WHERE s.id {anyOf} ORDER BY s.user_nid`);
const PAGE = sql<[number, number], Row>(
  'scimUsers.page',
  `${SELECT} WHERE s.user_nid > 0 ORDER BY s.user_nid LIMIT ? OFFSET ?`,
);
const AFTER = sql<[number, number], Row>(
  'scimUsers.after',
  `${SELECT} WHERE s.user_nid > ? ORDER BY s.user_nid LIMIT ?`,
);
const COUNT = sql<[], { users: number }>('scimUsers.count', 'SELECT COUNT(*) AS users FROM scim_users');
const INSERT = sql<[string, string, string, string, string | null, number, number, string, number, number]>(
  'scimUsers.insert',
  `INSERT INTO scim_users
     (id, user_id, user_name, user_name_key, external_id, active, active_stated, attributes, version, created_ts,
      modified_ts)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)`,
);
const UPDATE = sql<[string, string, string | null, number, number, string, number, string, number]>(
  'scimUsers.update',
  `UPDATE scim_users SET user_name = ?, user_name_key = ?, external_id = ?, active = ?, active_stated = ?,
     attributes = ?,     version = version + 1, modified_ts = ?
   WHERE id = ? AND version = ?`,
);
const REMOVE_MEMBER = sql<[number]>('scimUsers.removeMember', 'DELETE FROM scim_members WHERE user_nid = ?');
const REMOVE = sql<[number]>('scimUsers.remove', 'DELETE FROM scim_users WHERE user_nid = ?');

/** The user of an id. */
export async function of(reader: Reader, id: string): Promise<ScimUser | undefined> {
  return fromRow(await reader.get(OF, id));
}

/** By the name that the provider gives, in any case. */
export async function byUserName(reader: Reader, userName: string): Promise<ScimUser | undefined> {
  return fromRow(await reader.get(BY_USER_NAME, keyOf(userName)));
}

/** By the id that the provider itself has for the user. */
export async function byExternalId(reader: Reader, externalId: string): Promise<ScimUser | undefined> {
  return fromRow(await reader.get(BY_EXTERNAL_ID, externalId));
}

/** The user whose account it is. */
export async function byUserId(reader: Reader, userId: UserId): Promise<ScimUser | undefined> {
  return fromRow(await reader.get(BY_USER_ID, userId));
}

/** Those of the ids that there are. */
export async function byIds(reader: Reader, ids: readonly string[]): Promise<ScimUser[]> {
  return (await reader.all(BY_IDS, anyOf(ids))).map(userOf);
}

/** In the order in which they were made. */
export async function page(
  reader: Reader,
  { limit, offset }: { readonly limit: number; readonly offset: number },
): Promise<ScimUser[]> {
  return (await reader.all(PAGE, limit, offset)).map(userOf);
}

/** The same, those after a number (`nid`). */
export async function after(reader: Reader, nid: number, limit: number): Promise<ScimUser[]> {
  return (await reader.all(AFTER, nid, limit)).map(userOf);
}

/** How many there are. */
export async function count(reader: Reader): Promise<number> {
  return (await reader.get(COUNT))?.users ?? 0;
}

/** Adds a user. Its names must be free. */
export async function insert(
  tx: Tx,
  user: ScimUserFields & { readonly id: string; readonly userId: UserId; readonly now: number },
): Promise<void> {
  const { id, userId, userName, externalId = null, active, isActiveStated, attributes, now } = user;
  await tx.run(
    INSERT,
    id,
    userId,
    userName,
    keyOf(userName),
    externalId,
    active ? 1 : 0,
    isActiveStated ? 1 : 0,
    JSON.stringify(attributes),
    now,
    now,
  );
}

/** Changes a user; false where it is not of this version any more. */
export async function update(
  tx: Tx,
  { id, version }: Pick<ScimUser, 'id' | 'version'>,
  fields: ScimUserFields & { readonly now: number },
): Promise<boolean> {
  const { userName, externalId = null, active, isActiveStated, attributes, now } = fields;
  const written = await tx.run(
    UPDATE,
    userName,
    keyOf(userName),
    externalId,
    active ? 1 : 0,
    isActiveStated ? 1 : 0,
    JSON.stringify(attributes),
    now,
    id,
    version,
  );
  return written === 1;
}

/** Forgets a user, in all groups too. */
export async function remove(tx: Tx, { nid }: Pick<ScimUser, 'nid'>): Promise<void> {
  await tx.run(REMOVE_MEMBER, nid);
  await tx.run(REMOVE, nid);
}

/** "userName ... case insensitive" */
function keyOf(userName: string): string {
  return userName.toLowerCase();
}

function fromRow(row: Row | undefined): ScimUser | undefined {
  return row && userOf(row);
}

function userOf(row: Row): ScimUser {
  const isDeactivated = row.deactivated_ts !== null;
  return {
    nid: row.user_nid,
    id: row.id,
    userId: row.user_id,
    userName: row.user_name,
    externalId: row.external_id ?? undefined,
    active: row.active === 1 && !isDeactivated,
    isActiveStated: row.active_stated === 1 || isDeactivated,
    attributes: JSON.parse(row.attributes) as JsonObject,
    version: row.version,
    createdTs: row.created_ts,
    modifiedTs: row.modified_ts,
    isDeactivated,
  };
}

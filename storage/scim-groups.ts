/** Groups that a provider of identities keeps by SCIM (RFC 7643), and who is in them. */

import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

export interface ScimGroup {
  readonly nid: number;
  /** Of the resource, for good. */
  readonly id: string;
  readonly displayName: string;
  readonly externalId: string | undefined;
  readonly version: number;
  /** In milliseconds since 1970. */
  readonly createdTs: number;
  readonly modifiedTs: number;
}

export type ScimGroupFields = Pick<ScimGroup, 'displayName' | 'externalId'>;

interface Row {
  group_nid: number;
  id: string;
  display_name: string;
  external_id: string | null;
  version: number;
  created_ts: number;
  modified_ts: number;
}

const SELECT = `SELECT g.group_nid, g.id, g.display_name, g.external_id, g.version, g.created_ts, g.modified_ts
  FROM scim_groups g`;

const OF = sql<[string], Row>('scimGroups.of', `${SELECT} WHERE g.id = ?`);
const BY_NAME = sql<[string, number], Row>(
  'scimGroups.byName',
  `${SELECT} WHERE g.display_key = ? ORDER BY g.group_nid LIMIT ?`,
);
const BY_EXTERNAL_ID = sql<[string, number], Row>(
  'scimGroups.byExternalId',
  `${SELECT} WHERE g.external_id = ? ORDER BY g.group_nid LIMIT ?`,
);
const WITH_MEMBER = sql<[string, number], Row>(
  'scimGroups.withMember',
  `${SELECT} WHERE g.group_nid IN (
     SELECT m.group_nid FROM scim_members m JOIN scim_users u ON u.user_nid = m.user_nid WHERE u.id = ?)
   ORDER BY g.group_nid LIMIT ?`,
);
const PAGE = sql<[number, number], Row>(
  'scimGroups.page',
  `${SELECT} WHERE g.group_nid > 0 ORDER BY g.group_nid LIMIT ? OFFSET ?`,
);
const AFTER = sql<[number, number], Row>(
  'scimGroups.after',
  `${SELECT} WHERE g.group_nid > ? ORDER BY g.group_nid LIMIT ?`,
);
const COUNT = sql<[], { groups: number }>('scimGroups.count', 'SELECT COUNT(*) AS groups FROM scim_groups');
const INSERT = sql<[string, string, string, string | null, number, number]>(
  'scimGroups.insert',
  `INSERT INTO scim_groups (id, display_name, display_key, external_id, version, created_ts, modified_ts)
   VALUES (?, ?, ?, ?, 1, ?, ?)`,
);
const UPDATE = sql<[string, string, string | null, number, number]>(
  'scimGroups.update',
  `UPDATE scim_groups SET display_name = ?, display_key = ?, external_id = ?, version = version + 1,
     modified_ts = ?
   WHERE group_nid = ?`,
);
const REMOVE = sql<[number]>('scimGroups.remove', 'DELETE FROM scim_groups WHERE group_nid = ?');
const MEMBERS = sql<[number, number], { id: string }>(
  'scimGroups.members',
  `SELECT u.id FROM scim_members m JOIN scim_users u ON u.user_nid = m.user_nid
   WHERE m.group_nid = ? ORDER BY m.user_nid LIMIT ?`,
);
const COUNT_MEMBERS = sql<[string], { group_nid: number; members: number }>(
  'scimGroups.countMembers',
  `SELECT group_nid, COUNT(*) AS members FROM scim_members WHERE group_nid {anyInt}
   GROUP BY group_nid ORDER BY group_nid`,
);
const ADD_MEMBERS = sql<[number, string]>(
  'scimGroups.addMembers',
  `INSERT INTO scim_members (group_nid, user_nid)
   SELECT CAST(? AS {int}), user_nid FROM scim_users WHERE id {anyOf}
   ON CONFLICT (group_nid, user_nid) DO NOTHING`,
);
const REMOVE_MEMBERS = sql<[number, string]>(
  'scimGroups.removeMembers',
  `DELETE FROM scim_members WHERE group_nid = ? AND user_nid IN (
     SELECT user_nid FROM scim_users WHERE id {anyOf})`,
);
const CLEAR_MEMBERS = sql<[number]>(
  'scimGroups.clearMembers',
  'DELETE FROM scim_members WHERE group_nid = ?',
);
const OF_USERS = sql<[string], { user_nid: number; id: string; display_name: string }>(
  'scimGroups.ofUsers',
  `SELECT m.user_nid, g.id, g.display_name FROM scim_members m
   JOIN scim_groups g ON g.group_nid = m.group_nid
   WHERE m.user_nid {anyInt} ORDER BY m.user_nid, g.group_nid`,
);

/** The group of an id. */
export async function of(reader: Reader, id: string): Promise<ScimGroup | undefined> {
  const row = await reader.get(OF, id);
  return row && groupOf(row);
}

/** Those of a name, in any case. */
export async function byDisplayName(reader: Reader, name: string, limit: number): Promise<ScimGroup[]> {
  return (await reader.all(BY_NAME, keyOf(name), limit)).map(groupOf);
}

/** Those of an id that the provider itself has. */
export async function byExternalId(reader: Reader, externalId: string, limit: number): Promise<ScimGroup[]> {
  return (await reader.all(BY_EXTERNAL_ID, externalId, limit)).map(groupOf);
}

/** Those that a user is in. */
export async function withMember(reader: Reader, userId: string, limit: number): Promise<ScimGroup[]> {
  return (await reader.all(WITH_MEMBER, userId, limit)).map(groupOf);
}

/** In the order in which they were made. */
export async function page(
  reader: Reader,
  { limit, offset }: { readonly limit: number; readonly offset: number },
): Promise<ScimGroup[]> {
  return (await reader.all(PAGE, limit, offset)).map(groupOf);
}

/** The same, those after a number (`nid`). */
export async function after(reader: Reader, nid: number, limit: number): Promise<ScimGroup[]> {
  return (await reader.all(AFTER, nid, limit)).map(groupOf);
}

/** How many there are. */
export async function count(reader: Reader): Promise<number> {
  return (await reader.get(COUNT))?.groups ?? 0;
}

/** Adds a group without members. */
export async function insert(
  tx: Tx,
  { id, displayName, externalId, now }: ScimGroupFields & { readonly id: string; readonly now: number },
): Promise<void> {
  await tx.run(INSERT, id, displayName, keyOf(displayName), externalId ?? null, now, now);
}

/** Changes a group, and notes that it has changed. */
export async function update(
  tx: Tx,
  { nid }: Pick<ScimGroup, 'nid'>,
  { displayName, externalId, now }: ScimGroupFields & { readonly now: number },
): Promise<void> {
  await tx.run(UPDATE, displayName, keyOf(displayName), externalId ?? null, now, nid);
}

/** Forgets a group, and who is in it. */
export async function remove(tx: Tx, { nid }: Pick<ScimGroup, 'nid'>): Promise<void> {
  await tx.run(CLEAR_MEMBERS, nid);
  await tx.run(REMOVE, nid);
}

/** The ids of the users in a group, in a fixed order. */
export async function members(reader: Reader, nid: number, limit: number): Promise<string[]> {
  return (await reader.all(MEMBERS, nid, limit)).map((row) => row.id);
}

/** How many are in each of these groups; one without members is not there. */
export async function countMembers(
  reader: Reader,
  nids: readonly number[],
): Promise<ReadonlyMap<number, number>> {
  const rows = await reader.all(COUNT_MEMBERS, anyOf(nids));
  return new Map(rows.map((row) => [row.group_nid, row.members]));
}

/** Takes users into a group; how many of them were not in it. */
export function addMembers(tx: Tx, nid: number, userIds: readonly string[]): Promise<number> {
  return tx.run(ADD_MEMBERS, nid, anyOf(userIds));
}

/** Takes users out of a group; how many of them were in it. */
export function removeMembers(tx: Tx, nid: number, userIds: readonly string[]): Promise<number> {
  return tx.run(REMOVE_MEMBERS, nid, anyOf(userIds));
}

/** Takes all out of a group. */
export function clearMembers(tx: Tx, nid: number): Promise<number> {
  return tx.run(CLEAR_MEMBERS, nid);
}

/** The groups of users, by the number (`nid`) of the user. */
export async function ofUsers(
  reader: Reader,
  userNids: readonly number[],
): Promise<ReadonlyMap<number, readonly Pick<ScimGroup, 'id' | 'displayName'>[]>> {
  const groups = new Map<number, Pick<ScimGroup, 'id' | 'displayName'>[]>();
  for (const row of await reader.all(OF_USERS, anyOf(userNids))) {
    const known = groups.get(row.user_nid) ?? [];
    groups.set(row.user_nid, known);
    known.push({ id: row.id, displayName: row.display_name });
  }
  return groups;
}

function keyOf(name: string): string {
  return name.toLowerCase();
}

function groupOf(row: Row): ScimGroup {
  return {
    nid: row.group_nid,
    id: row.id,
    displayName: row.display_name,
    externalId: row.external_id ?? undefined,
    version: row.version,
    createdTs: row.created_ts,
    modifiedTs: row.modified_ts,
  };
}

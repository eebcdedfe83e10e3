/** Groups of the directory, and who is in them. The rooms that are bound to a group follow: see `group-rooms/`. */

import { randomUUID } from 'node:crypto';
import { isObject, type Json, own } from '#keys/json.ts';
import type { Reader, Tx } from '#storage/database.ts';
import * as groupRooms from '#storage/group-rooms.ts';
import * as scimGroups from '#storage/scim-groups.ts';
import * as scimUsers from '#storage/scim-users.ts';
import type { ServerContext } from '../context.ts';
import { invalidPath, invalidValue, noSuchResource, otherVersion, ScimError } from './errors.ts';
import { valueMatches } from './match.ts';
import type { Attribute } from './model.ts';
import { type Attributes, type Change, changed } from './patch.ts';
import { isMembers } from './values.ts';

type ScimGroup = scimGroups.ScimGroup;

/** So many users can be in a group. */
export const MOST_MEMBERS = 50_000;
const MOST_MEMBERS_AT_ONCE = 10_000;
const MAX_EVALUATIONS = 500_000;

/** Makes a group with these members. */
export async function createGroup(
  ctx: ServerContext,
  attributes: Attributes,
  members: readonly string[],
): Promise<ScimGroup> {
  const id = randomUUID();
  const fields = fieldsOf(attributes);
  return await ctx.db.write('scim.createGroup', async (tx) => {
    await scimGroups.insert(tx, { ...fields, id, now: ctx.clock.now() });
    const group = await required(tx, id);
    await add(tx, group, members);
    return group;
  });
}

/** Gives a group other attributes and other members. */
export function replaceGroup(
  ctx: ServerContext,
  id: string,
  wanted: {
    readonly ifMatch: (group: ScimGroup) => boolean;
    readonly attributes: Attributes;
    readonly members: readonly string[];
  },
): Promise<ScimGroup> {
  const fields = fieldsOf(wanted.attributes);
  return write(ctx, id, wanted.ifMatch, async (tx, group) => {
    await scimGroups.clearMembers(tx, group.nid);
    await add(tx, group, wanted.members);
    return fields;
  });
}

/** Changes a group by the operations of a PATCH. */
export function patchGroup(
  ctx: ServerContext,
  id: string,
  wanted: { readonly ifMatch: (group: ScimGroup) => boolean; readonly changes: readonly Change[] },
): Promise<ScimGroup> {
  const memberChanges = wanted.changes.filter(({ attribute }) => isMembers(attribute));
  const others = wanted.changes.filter(({ attribute }) => !isMembers(attribute));
  if (memberChanges.flatMap(({ value }) => listOf(value)).length > MOST_MEMBERS_AT_ONCE)
    throw tooManyAtOnce();
  return write(ctx, id, wanted.ifMatch, async (tx, group) => {
    const budget = { evaluations: MAX_EVALUATIONS };
    // In their order: each begins with what the one before left.
    for (const change of memberChanges) await changeMembers(tx, group, { ...change, budget });
    return fieldsOf(changed(attributesOf(group), others));
  });
}

/** Forgets a group: its members leave the rooms that only it brought them to. */
export async function deleteGroup(
  ctx: ServerContext,
  id: string,
  ifMatch: (group: ScimGroup) => boolean,
): Promise<void> {
  await ctx.db.write('scim.deleteGroup', async (tx) => {
    const group = await required(tx, id);
    if (!ifMatch(group)) throw otherVersion();
    await groupRooms.forgetGroup(tx, id, ctx.clock.now());
    await scimGroups.remove(tx, group);
  });
  ctx.groupRooms.wake();
}

/** The group of an id; throws 404. */
export async function required(reader: Reader, id: string): Promise<ScimGroup> {
  const group = await scimGroups.of(reader, id);
  if (group === undefined) throw noSuchResource('Group', id);
  return group;
}

/** The ids of the users that `members` names. */
export function memberIdsOf(value: Json | undefined): string[] {
  const values = listOf(value);
  if (values.length > MOST_MEMBERS_AT_ONCE) throw tooManyAtOnce();
  return [...new Set(values.map(memberIdOf))];
}

async function write(
  ctx: ServerContext,
  id: string,
  ifMatch: (group: ScimGroup) => boolean,
  change: (tx: Tx, group: ScimGroup) => Promise<scimGroups.ScimGroupFields>,
): Promise<ScimGroup> {
  const after = await ctx.db.write('scim.changeGroup', async (tx) => {
    const group = await required(tx, id);
    if (!ifMatch(group)) throw otherVersion();
    const fields = await change(tx, group);
    const now = ctx.clock.now();
    await scimGroups.update(tx, group, { ...fields, now });
    await groupRooms.dueOfGroup(tx, id, now);
    return await required(tx, id);
  });
  ctx.groupRooms.wake();
  return after;
}

async function changeMembers(
  tx: Tx,
  group: ScimGroup,
  change: Change & { readonly budget: { evaluations: number } },
): Promise<void> {
  const { op, sub, filter, value } = change;
  if (sub !== undefined) throw invalidPath('A member is added or removed as a whole');
  if (op !== 'remove') {
    if (filter !== undefined) throw invalidPath('Members are added without a filter');
    if (op === 'replace') await scimGroups.clearMembers(tx, group.nid);
    return add(tx, group, memberIdsOf(value));
  }
  if (filter?.kind === 'compare' && filter.op === 'eq' && filter.path.name === 'value') {
    await scimGroups.removeMembers(tx, group.nid, [String(filter.value)]);
  } else if (filter !== undefined) {
    await scimGroups.removeMembers(tx, group.nid, await chosen(tx, group, { ...change, filter }));
  } else if (value === undefined || value === null) await scimGroups.clearMembers(tx, group.nid);
  else await scimGroups.removeMembers(tx, group.nid, memberIdsOf(value));
}

/** The members that a filter means. */
async function chosen(
  tx: Tx,
  group: ScimGroup,
  {
    attribute,
    filter,
    budget,
  }: {
    readonly attribute: Attribute;
    readonly filter: NonNullable<Change['filter']>;
    readonly budget: { evaluations: number };
  },
): Promise<string[]> {
  const members = await scimGroups.members(tx, group.nid, MOST_MEMBERS);
  budget.evaluations -= members.length;
  if (budget.evaluations < 0)
    throw new ScimError(413, 'The filters look at too many members: name them by value');
  return members.filter((value) => valueMatches(attribute, { value, type: 'User' }, filter));
}

async function add(tx: Tx, group: ScimGroup, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const known = new Set((await scimUsers.byIds(tx, ids)).map(({ id }) => id));
  const missing = ids.find((id) => !known.has(id));
  if (missing !== undefined) throw invalidValue(`There is no user ${missing.slice(0, 64)} to be a member`);
  await scimGroups.addMembers(tx, group.nid, ids);
  const count = (await scimGroups.countMembers(tx, [group.nid])).get(group.nid) ?? 0;
  if (count > MOST_MEMBERS) throw new ScimError(413, `A group has ${MOST_MEMBERS} members at most`);
}

function memberIdOf(value: Json): string {
  const id = isObject(value) ? own(value, 'value') : value;
  const type = isObject(value) ? own(value, 'type') : undefined;
  if (typeof id !== 'string' || id === '' || id.length > 64 || id.includes('\0')) {
    throw invalidValue('A member must have the id of a user as its value');
  }
  if (typeof type === 'string' && type.toLowerCase() !== 'user')
    throw invalidValue('Members of groups are users');
  return id;
}

function fieldsOf(attributes: Attributes): scimGroups.ScimGroupFields {
  const displayName = attributes.get('displayName');
  const externalId = attributes.get('externalId');
  if (typeof displayName !== 'string' || /\p{Cc}/u.test(displayName))
    throw invalidValue('displayName is no name');
  return { displayName, externalId: typeof externalId === 'string' ? externalId : undefined };
}

function attributesOf({ displayName, externalId }: ScimGroup): Attributes {
  return new Map<string, Json>([
    ['displayName', displayName],
    ...(externalId === undefined ? [] : [['externalId', externalId] as const]),
  ]);
}

function tooManyAtOnce(): ScimError {
  return new ScimError(413, `More than ${MOST_MEMBERS_AT_ONCE} members at once: send them in parts`);
}

function listOf(value: Json | undefined): readonly Json[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

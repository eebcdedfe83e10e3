/**
 * Lists of resources: https://www.rfc-editor.org/rfc/rfc7644#section-3.4.2
 *
 * 1. What a filter asks of a name or an id is found by an index.
 * 2. Another filter is tried on all, a few hundred at a time, so that nobody else waits.
 * 3. The page is cut out, and shown with the attributes that are wanted.
 */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Json, type JsonObject, own } from '#keys/json.ts';
import type { Reader } from '#storage/database.ts';
import * as scimGroups from '#storage/scim-groups.ts';
import * as scimUsers from '#storage/scim-users.ts';
import { groupResource, type Selection, selected, selectionOf, userResource, wants } from './answer.ts';
import { badRequest, invalidValue, type ScimError } from './errors.ts';
import { type Filter, parseFilter } from './filter.ts';
import { MOST_MEMBERS } from './groups.ts';
import { matches, mentions } from './match.ts';
import { GROUP, type Model, USER } from './model.ts';

/** What a client asks for. */
export interface Query {
  readonly filter: Filter | undefined;
  /** 1-based. */
  readonly startIndex: number;
  readonly count: number;
  readonly selection: Selection;
}

/** Resources of one type, whatever it is. */
interface Collection<Entry extends { readonly nid: number }> {
  readonly model: Model;
  count(): Promise<number>;
  page(range: { readonly limit: number; readonly offset: number }): Promise<readonly Entry[]>;
  after(nid: number, limit: number): Promise<readonly Entry[]>;
  /** Those that have a value, where that is found by an index. */
  having(name: string, value: string): Promise<readonly Entry[]> | undefined;
  /** With the groups or members where they are wanted, by the name in lower case; perhaps fewer than given. */
  render(entries: readonly Entry[], wanted: (name: string) => boolean): Promise<readonly JsonObject[]>;
}

interface Range {
  readonly offset: number;
  readonly limit: number;
}

interface Listed {
  readonly total: number;
  readonly resources: readonly JsonObject[];
}

const DEFAULT_COUNT = 100;
/** "maxResults" */
export const MOST_RESULTS = 200;
const AT_ONCE = 250;
/** By an index: more groups of one name, or of one user, are not looked at. */
const MOST_HAVING = 5_000;
/** Groups that a filter of members is tried on. */
const MOST_WITH_MEMBERS = 500;
/** In one answer. */
const MOST_MEMBERS_SHOWN = MOST_MEMBERS;
const INTEGER = /^-?\d{1,9}$/;

/** The query that parameters ask for, of an address or of the body of `.search`. */
export function queryOf(parameters: JsonObject): Query {
  const filter = own(parameters, 'filter');
  if (filter !== undefined && filter !== null && typeof filter !== 'string') {
    throw invalidValue('filter must be a string');
  }
  return {
    filter: typeof filter === 'string' && filter.trim() !== '' ? parseFilter(filter) : undefined,
    // "A value less than 1 SHALL be interpreted as 1", "A negative value SHALL be interpreted as 0".
    startIndex: Math.max(1, integerOf(parameters, 'startIndex') ?? 1),
    count: Math.min(MOST_RESULTS, Math.max(0, integerOf(parameters, 'count') ?? DEFAULT_COUNT)),
    selection: selectionOf(own(parameters, 'attributes'), own(parameters, 'excludedAttributes')),
  };
}

/** `ListResponse` of users, groups, or both one after the other. */
export async function list(
  reader: Reader,
  base: string,
  { models, query }: { readonly models: readonly Model[]; readonly query: Query },
): Promise<JsonObject> {
  const resources: JsonObject[] = [];
  let total = 0;
  for (const model of models) {
    const offset = Math.max(0, query.startIndex - 1 - total);
    const range = { offset, limit: query.count - resources.length };
    // One after the other: the second goes on where the first ends.
    const found =
      model === USER
        ? await find(usersOf(reader, base), query, range)
        : await find(groupsOf(reader, base), query, range);
    total += found.total;
    resources.push(...found.resources);
  }
  return {
    schemas: ['urn:ietf:params:scim:api:messages:2.0:ListResponse'],
    totalResults: total,
    startIndex: query.startIndex,
    itemsPerPage: resources.length,
    Resources: resources,
  };
}

async function find<Entry extends { readonly nid: number }>(
  collection: Collection<Entry>,
  { filter, selection }: Query,
  range: Range,
): Promise<Listed> {
  const { total, entries } = await found(collection, filter, range);
  const rendered = await collection.render(entries, (name) => wants(selection, name));
  return { total, resources: rendered.map((resource) => selected(collection.model, resource, selection)) };
}

async function found<Entry extends { readonly nid: number }>(
  collection: Collection<Entry>,
  filter: Filter | undefined,
  range: Range,
): Promise<{ total: number; entries: readonly Entry[] }> {
  if (filter === undefined) {
    return { total: await collection.count(), entries: range.limit > 0 ? await collection.page(range) : [] };
  }
  const narrowed = await narrow(collection, filter);
  if (narrowed !== undefined) {
    const entries = await matching(collection, filter, narrowed);
    return { total: entries.length, entries: entries.slice(range.offset, range.offset + range.limit) };
  }
  if (mentions(filter, 'members')) {
    throw tooMany();
  }
  return await scan(collection, filter, range);
}

async function scan<Entry extends { readonly nid: number }>(
  collection: Collection<Entry>,
  filter: Filter,
  { offset, limit }: Range,
): Promise<{ total: number; entries: readonly Entry[] }> {
  const kept: Entry[] = [];
  let total = 0;
  for (let nid: number | undefined = 0; nid !== undefined; ) {
    // Some at a time, each after the last one of those before.
    const page: readonly Entry[] = await collection.after(nid, AT_ONCE);
    for (const entry of await matching(collection, filter, page)) {
      if (total >= offset && kept.length < limit) kept.push(entry);
      total += 1;
    }
    nid = page.length < AT_ONCE ? undefined : page.at(-1)?.nid;
    await nextTurn();
  }
  return { total, entries: kept };
}

async function matching<Entry extends { readonly nid: number }>(
  { model, render }: Collection<Entry>,
  filter: Filter,
  entries: readonly Entry[],
): Promise<readonly Entry[]> {
  const kept: Entry[] = [];
  const isAsked = (name: string) => mentions(filter, name);
  // Members one group at a time: they may be many.
  const step = isAsked('members') ? 1 : AT_ONCE;
  if (step === 1 && entries.length > MOST_WITH_MEMBERS) throw tooMany();
  for (let at = 0; at < entries.length; at += step) {
    const some = entries.slice(at, at + step);
    const rendered = await render(some, isAsked);
    kept.push(...some.filter((_, index) => matches(model, rendered[index] ?? {}, filter)));
  }
  return kept;
}

/** Those that one term of the filter leaves, where an index finds them. */
async function narrow<Entry extends { readonly nid: number }>(
  collection: Collection<Entry>,
  filter: Filter,
): Promise<readonly Entry[] | undefined> {
  switch (filter.kind) {
    case 'and':
      return (await narrow(collection, filter.left)) ?? (await narrow(collection, filter.right));
    case 'values': {
      const { path, filter: inner } = filter;
      const isValue = inner.kind === 'compare' && inner.op === 'eq' && inner.path.name === 'value';
      if (!isValue || typeof inner.value !== 'string' || path.urn !== undefined) return undefined;
      return await collection.having(`${path.name}.value`, inner.value);
    }
    case 'compare': {
      const { op, path, value } = filter;
      const isOwn = path.urn === undefined || path.urn === collection.model.schema.toLowerCase();
      if (op !== 'eq' || typeof value !== 'string' || !isOwn || value.includes('\0')) return undefined;
      const { name, sub = name === 'members' ? 'value' : undefined } = path;
      return await collection.having(sub === undefined ? name : `${name}.${sub}`, value);
    }
    case 'or':
    case 'not':
    case 'present':
      return undefined;
  }
}

function usersOf(reader: Reader, base: string): Collection<scimUsers.ScimUser> {
  return {
    model: USER,
    count: () => scimUsers.count(reader),
    page: (range) => scimUsers.page(reader, range),
    after: (nid, limit) => scimUsers.after(reader, nid, limit),
    having: (name, value) => {
      if (name === 'username') return oneOf(scimUsers.byUserName(reader, value));
      if (name === 'externalid') return oneOf(scimUsers.byExternalId(reader, value));
      return name === 'id' ? oneOf(scimUsers.of(reader, value)) : undefined;
    },
    render: async (entries, wanted) => {
      const nids = entries.map(({ nid }) => nid);
      const groups = wanted('groups') ? await scimGroups.ofUsers(reader, nids) : undefined;
      return entries.map((user) => userResource(base, user, groups?.get(user.nid)));
    },
  };
}

function groupsOf(reader: Reader, base: string): Collection<scimGroups.ScimGroup> {
  return {
    model: GROUP,
    count: () => scimGroups.count(reader),
    page: (range) => scimGroups.page(reader, range),
    after: (nid, limit) => scimGroups.after(reader, nid, limit),
    having: (name, value) => {
      if (name === 'displayname') return scimGroups.byDisplayName(reader, value, MOST_HAVING);
      if (name === 'externalid') return scimGroups.byExternalId(reader, value, MOST_HAVING);
      if (name === 'members.value') return scimGroups.withMember(reader, value, MOST_HAVING);
      return name === 'id' ? oneOf(scimGroups.of(reader, value)) : undefined;
    },
    render: async (entries, wanted) => {
      if (!wanted('members')) return entries.map((group) => groupResource(base, group));
      const rendered: JsonObject[] = [];
      let left = MOST_MEMBERS_SHOWN;
      for (const group of entries) {
        // One by one: a page ends before its members are too many for one answer.
        const members = await scimGroups.members(reader, group.nid, MOST_MEMBERS);
        left -= members.length;
        if (left < 0 && rendered.length > 0) break;
        rendered.push(groupResource(base, group, members));
      }
      return rendered;
    },
  };
}

function tooMany(): ScimError {
  return badRequest('tooMany', 'A filter of members must name the group, or one member by value');
}

async function oneOf<Entry>(entry: Promise<Entry | undefined>): Promise<readonly Entry[]> {
  const found = await entry;
  return found === undefined ? [] : [found];
}

function integerOf(parameters: JsonObject, name: string): number | undefined {
  const value: Json | undefined = own(parameters, name);
  if (value === undefined || value === null || value === '') return undefined;
  if (!INTEGER.test(String(value))) throw invalidValue(`${name} must be an integer`);
  return Number(value);
}

/** Filters: https://spec.matrix.org/v1.19/client-server-api/#filtering */

import type { UserId } from '#keys/ids.ts';
import { integerAt, isObject, isStringArray, type JsonObject, objectAt, own } from '#keys/json.ts';
import type { Reader } from '#storage/database.ts';
import * as filters from '#storage/filters.ts';
import { Lru } from '#storage/lru.ts';
import { type EventShape, eventShapeOf } from './event-shape.ts';
import { faultOfEventFilter, faultOfFilter } from './filter-faults.ts';

/** What a filter looks at. */
export interface Filtered {
  readonly type: string;
  readonly sender?: string;
  readonly content?: JsonObject;
}

/** A part of a filter. Undefined members do not restrict anything. */
export interface EventFilter {
  /** 0 to 1,000; undefined unless the client has said. */
  readonly limit: number | undefined;
  readonly rooms: RoomSet;
  readonly lazyLoadMembers: boolean;
  readonly includeRedundantMembers: boolean;
  /** Threads are counted each by itself. */
  readonly unreadThreadNotifications: boolean;
  readonly types: readonly string[] | undefined;
  readonly notTypes: readonly string[];
  readonly senders: readonly string[] | undefined;
  readonly notSenders: readonly string[];
  readonly containsUrl: boolean | undefined;
  /** True where no event is left out, whatever the room. */
  readonly passesAll: boolean;
}

interface RoomSet {
  readonly only: ReadonlySet<string> | undefined;
  readonly not: ReadonlySet<string>;
}

export interface SyncFilter {
  readonly accountData: EventFilter;
  readonly presence: EventFilter;
  readonly rooms: RoomSet;
  readonly includeLeave: boolean;
  /** Undefined for events as they always are. */
  readonly shape: EventShape | undefined;
  readonly timeline: EventFilter;
  readonly state: EventFilter;
  readonly ephemeral: EventFilter;
  readonly roomAccountData: EventFilter;
}

const MAX_LIMIT = 1_000;
/** Longer filters are parsed, but not kept. */
const LONGEST_KEPT = 4_096;

/** The filter of a request that names none. */
export const NO_FILTER = syncFilterOf({});

/** True where the event passes the filter. The room is not looked at. */
export function passes(filter: EventFilter, event: Filtered): boolean {
  if (filter.passesAll) return true;
  const { types, notTypes, senders, notSenders, containsUrl } = filter;
  if (notTypes.some((pattern) => matchesType(pattern, event.type))) return false;
  if (types?.some((pattern) => matchesType(pattern, event.type)) === false) return false;
  if (event.sender !== undefined && notSenders.includes(event.sender)) return false;
  if (event.sender !== undefined && senders?.includes(event.sender) === false) return false;
  if (containsUrl === undefined || event.content === undefined) return true;
  // "Includes only events with a `url` key in their content": whatever is under it.
  return Object.hasOwn(event.content, 'url') === containsUrl;
}

/** True where the room is in the set. "A matching room will be excluded even if it is listed in the rooms filter." */
export function includesRoom({ only, not }: RoomSet, roomId: string): boolean {
  return !not.has(roomId) && only?.has(roomId) !== false;
}

/** The filters that clients name in their requests, parsed, by their text. */
export class Filters {
  readonly #known = new Lru<string, SyncFilter>({ maxEntries: 1_000 });

  /**
   * The filter of a /sync: an id, or JSON "by whether the first character is a `{`". A text says why there is none.
   */
  async find(reader: Reader, userId: UserId, text: string): Promise<SyncFilter | string> {
    const known = this.known(userId, text);
    if (known !== undefined) return known;
    const key = keyOf(userId, text);
    const isInline = text.startsWith('{');
    const json = isInline ? parseObject(text) : await filters.get(reader, userId, text);
    if (json === undefined) return 'filter is neither JSON nor the id of a filter';
    const fault = isInline ? faultOfFilter(json) : undefined;
    if (fault !== undefined) return `filter: ${fault}`;
    const filter = syncFilterOf(json);
    if (text.length <= LONGEST_KEPT) this.#known.set(key, filter);
    return filter;
  }

  /** The same, where it is in memory. */
  known(userId: UserId, text: string): SyncFilter | undefined {
    return this.#known.get(keyOf(userId, text));
  }
}

function keyOf(userId: UserId, text: string): string {
  return text.startsWith('{') ? text : `${userId} ${text}`;
}

/** The filter of a query of other pages than /sync: a JSON `RoomEventFilter`. Undefined for what is none. */
export function parseEventFilter(text: string): EventFilter | undefined {
  const json = parseObject(text);
  return json === undefined || faultOfEventFilter(json) !== undefined ? undefined : eventFilterOf(json);
}

function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    // Not JSON: the caller tells the client.
    return undefined;
  }
}

function syncFilterOf(json: JsonObject): SyncFilter {
  const room = objectAt(json, 'room') ?? {};
  const part = (key: string) => eventFilterOf(objectAt(room, key) ?? {});
  return {
    accountData: eventFilterOf(objectAt(json, 'account_data') ?? {}),
    presence: eventFilterOf(objectAt(json, 'presence') ?? {}),
    rooms: roomSetOf(room),
    includeLeave: own(room, 'include_leave') === true,
    shape: eventShapeOf(json),
    timeline: part('timeline'),
    state: part('state'),
    ephemeral: part('ephemeral'),
    roomAccountData: part('account_data'),
  };
}

/** A `RoomEventFilter`, or a part of another filter. What is of a wrong form does not restrict anything. */
export function eventFilterOf(json: JsonObject): EventFilter {
  const limit = integerAt(json, 'limit');
  const rooms = roomSetOf(json);
  const types = listAt(json, 'types');
  const notTypes = listAt(json, 'not_types') ?? [];
  const senders = listAt(json, 'senders');
  const notSenders = listAt(json, 'not_senders') ?? [];
  const url = own(json, 'contains_url');
  const containsUrl = typeof url === 'boolean' ? url : undefined;
  const restrictsEvents =
    types !== undefined || senders !== undefined || notTypes.length > 0 || notSenders.length > 0;
  const restrictsRooms = rooms.only !== undefined || rooms.not.size > 0;
  return {
    limit: limit === undefined ? undefined : Math.min(Math.max(0, limit), MAX_LIMIT),
    rooms,
    lazyLoadMembers: own(json, 'lazy_load_members') === true,
    includeRedundantMembers: own(json, 'include_redundant_members') === true,
    unreadThreadNotifications: own(json, 'unread_thread_notifications') === true,
    ...{ types, notTypes, senders, notSenders, containsUrl },
    passesAll: !restrictsEvents && !restrictsRooms && containsUrl === undefined,
  };
}

function roomSetOf(json: JsonObject): RoomSet {
  const only = listAt(json, 'rooms');
  return { only: only && new Set(only), not: new Set(listAt(json, 'not_rooms')) };
}

/** A list of strings; what is something else counts as absent. */
function listAt(json: JsonObject, key: string): readonly string[] | undefined {
  const value = own(json, key);
  return isStringArray(value) ? value : undefined;
}

/** "A `*` can be used as a wildcard to match any sequence of characters." */
function matchesType(pattern: string, type: string): boolean {
  const [first = '', ...others] = pattern.split('*');
  const last = others.pop();
  if (last === undefined) return pattern === type;
  if (!type.startsWith(first) || !type.endsWith(last) || type.length < first.length + last.length)
    return false;
  let at = first.length;
  for (const part of others) {
    const found = type.indexOf(part, at);
    if (found < 0 || found + part.length > type.length - last.length) return false;
    at = found + part.length;
  }
  return at <= type.length - last.length;
}

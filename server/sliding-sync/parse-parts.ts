/** What the requests of both faces of sliding sync have in common. What is wrong is told with where it is. */

import { invalidParam, missingParam } from '#federation/errors.ts';
import { isRoomId, type RoomId } from '#keys/ids.ts';
import { isObject, isStringArray, type Json, type JsonObject, own } from '#keys/json.ts';
import { optionalBoolean, optionalInteger, optionalObject, optionalString } from '../body.ts';
import { parseToken } from '../sync/token.ts';
import type { ExtensionScope, Range, RoomFilters, SlidingRequest } from './request.ts';

/** "Max lists: 100", "Max subscriptions: 100." */
const MOST_LISTS = 100;
const MOST_SUBSCRIPTIONS = 100;
export const MOST_STATE_ELEMENTS = 200;
/** "The server may cap this number." */
const MOST_EVENTS = 100;
const MOST_NAMES = 200;
const LONGEST_CONN_ID = 255;
const LONGEST_KEY = 255;
const MOST_MESSAGES = 100;
const MOST_THREADS = 100;
/** Greater indexes than any list has mean the same. */
const LARGEST_INDEX = Number.MAX_SAFE_INTEGER;

/** The name of a connection. */
export function connIdOf(body: JsonObject): string {
  const connId = optionalString(body, 'conn_id') ?? '';
  if (connId.length > LONGEST_CONN_ID)
    throw invalidParam(`conn_id is longer than ${LONGEST_CONN_ID} characters`);
  return connId;
}

/** The lists by their keys, each as an object. */
export function listsOf(body: JsonObject): [string, JsonObject][] {
  const lists = Object.entries(optionalObject(body, 'lists') ?? {});
  if (lists.length > MOST_LISTS) throw invalidParam(`There are more than ${MOST_LISTS} lists`);
  return lists.map(([key, list]) => {
    if (key.length > LONGEST_KEY)
      throw invalidParam(`The key of a list is longer than ${LONGEST_KEY} characters`);
    if (!isObject(list)) throw invalidParam(`lists.${key} must be an object`);
    return [key, list];
  });
}

/** The subscriptions by room. What is no room id is no room that anybody can see. */
export function subscriptionsOf(body: JsonObject): [RoomId, JsonObject][] {
  const subscriptions = Object.entries(optionalObject(body, 'room_subscriptions') ?? {});
  if (subscriptions.length > MOST_SUBSCRIPTIONS)
    throw invalidParam(`There are more than ${MOST_SUBSCRIPTIONS} room subscriptions`);
  return subscriptions.flatMap(([roomId, subscription]): [RoomId, JsonObject][] => {
    if (!isObject(subscription)) throw invalidParam(`room_subscriptions.${roomId} must be an object`);
    return isRoomId(roomId) ? [[roomId, subscription]] : [];
  });
}

/** `timeline_limit` as far as it is granted. */
export function timelineLimitOf(config: JsonObject, fallback?: number): number {
  const limit = optionalInteger(config, 'timeline_limit') ?? fallback;
  if (limit === undefined) throw missingParam('timeline_limit');
  if (limit < 0) throw invalidParam('timeline_limit must not be negative');
  return Math.min(limit, MOST_EVENTS);
}

export function rangeOf(value: Json, name: string): Range {
  const [first, last, ...rest] = Array.isArray(value) ? value : [];
  if (!isIndex(first) || !isIndex(last) || rest.length > 0) throw invalidParam(`${name} must be two indexes`);
  if (first > last) throw invalidParam(`${name} ends before it begins`);
  return [first, Math.min(last, LARGEST_INDEX)];
}

function isIndex(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}

/** The filters of a list; undefined where they leave out nothing. `isInvited` is what its member is called. */
export function filtersOf(list: JsonObject, isInvited: 'is_invite' | 'is_invited'): RoomFilters | undefined {
  const filters = optionalObject(list, 'filters') ?? {};
  const spaces = namesOf(filters, 'spaces');
  const parsed: RoomFilters = {
    isDm: optionalBoolean(filters, 'is_dm'),
    spaces: spaces?.filter(isRoomId),
    isEncrypted: optionalBoolean(filters, 'is_encrypted'),
    isInvited: optionalBoolean(filters, isInvited),
    roomTypes: typesOf(filters, 'room_types'),
    notRoomTypes: typesOf(filters, 'not_room_types') ?? [],
    tags: namesOf(filters, 'tags'),
    notTags: namesOf(filters, 'not_tags') ?? [],
    // Only the experimental one knows it.
    roomNameLike: isInvited === 'is_invite' ? nameLikeOf(filters) : undefined,
  };
  const { notRoomTypes, notTags, ...others } = parsed;
  const leavesOut = Object.values(others).some((value) => value !== undefined);
  return leavesOut || notRoomTypes.length > 0 || notTags.length > 0 ? parsed : undefined;
}

function nameLikeOf(filters: JsonObject): string | undefined {
  return optionalString(filters, 'room_name_like')?.toLowerCase();
}

function namesOf(filters: JsonObject, key: string): readonly string[] | undefined {
  const value = own(filters, key);
  if (value === undefined || value === null) return undefined;
  if (!isStringArray(value)) throw invalidParam(`${key} must be a list of strings`);
  if (value.length > MOST_NAMES) throw invalidParam(`${key} has more than ${MOST_NAMES} entries`);
  return value;
}

function typesOf(filters: JsonObject, key: string): readonly (string | null)[] | undefined {
  const value = own(filters, key);
  if (value === undefined || value === null) return undefined;
  const isType = (type: Json): type is string | null => type === null || typeof type === 'string';
  if (!Array.isArray(value) || !value.every(isType))
    throw invalidParam(`${key} must be a list of room types`);
  if (value.length > MOST_NAMES) throw invalidParam(`${key} has more than ${MOST_NAMES} entries`);
  return value;
}

/** An extension that is for the whole account; undefined where it is not enabled. */
export function extensionOf(extensions: JsonObject, key: string): JsonObject | undefined {
  const extension = optionalObject(extensions, key);
  // "The server only processes the extension if this is `true`."
  return extension !== undefined && optionalBoolean(extension, 'enabled') === true ? extension : undefined;
}

const ALL = '*';

/** An extension that is for some rooms. "*" is how it was said that it is for all. */
export function scopeOf(extensions: JsonObject, key: string): ExtensionScope | undefined {
  const extension = extensionOf(extensions, key);
  if (extension === undefined) return undefined;
  const setOf = (name: string) => {
    const names = namesOf(extension, name);
    return names === undefined || names.includes(ALL) ? undefined : new Set(names);
  };
  return { lists: setOf('lists'), rooms: setOf('rooms') };
}

/** `to_device`: where the device's inbox continues, and how many messages it takes. */
export function toDeviceOf(extensions: JsonObject): SlidingRequest['toDevice'] {
  const extension = extensionOf(extensions, 'to_device');
  if (extension === undefined) return undefined;
  const limit = optionalInteger(extension, 'limit') ?? MOST_MESSAGES;
  if (limit < 1) throw invalidParam('limit must be at least 1');
  const token = optionalString(extension, 'since');
  const since = token === undefined || token === '' ? 0 : parseToken(token);
  if (since === undefined || since < 0) throw invalidParam('since is not a token of this server');
  return { since, limit: Math.min(limit, MOST_MESSAGES) };
}

/** https://github.com/matrix-org/matrix-spec-proposals/pull/4480 */
export function stickyEventsOf(extensions: JsonObject): SlidingRequest['stickyEvents'] {
  const extension = extensionOf(extensions, 'org.matrix.msc4354.sticky_events');
  if (extension === undefined) return undefined;
  const limit = optionalInteger(extension, 'limit') ?? MOST_EVENTS;
  if (limit < 1) throw invalidParam('limit must be at least 1');
  const token = optionalString(extension, 'since');
  const since = token === undefined || token === '' ? 0 : parseToken(token);
  if (since === undefined || since < 0) throw invalidParam('since is not a token of this server');
  return { since, limit: Math.min(limit, MOST_EVENTS) };
}

/** https://github.com/matrix-org/matrix-spec-proposals/pull/4308 */
export function threadSubscriptionsOf(extensions: JsonObject): SlidingRequest['threadSubscriptions'] {
  const extension = extensionOf(extensions, 'io.element.msc4308.thread_subscriptions');
  if (extension === undefined) return undefined;
  const limit = optionalInteger(extension, 'limit') ?? MOST_THREADS;
  if (limit < 1) throw invalidParam('limit must be at least 1');
  return { limit: Math.min(limit, MOST_THREADS) };
}

/** Which rooms a request is about: those in the windows of its lists, and those that it subscribes to. */

import type { RoomId } from '#keys/ids.ts';
import type { ExtensionScope, ListConfig, RoomFilters, RoomRequest } from './request.ts';
import { type CombinedConfig, combined, type RoomConfig } from './required-state.ts';
import type { RoomFacts, RoomFactsCache } from './room-facts.ts';
import type { ListedRoom, OtherRoom, RoomOrder } from './room-order.ts';

/** A room that a request is about. */
export interface WindowRoom {
  readonly room: ListedRoom;
  readonly config: CombinedConfig;
  /** The lists in whose windows it is. */
  readonly lists: readonly string[];
  readonly isSubscribed: boolean;
}

export interface Windows {
  /** By numeric id. */
  readonly rooms: ReadonlyMap<number, WindowRoom>;
  /** How many rooms each list has. */
  readonly counts: ReadonlyMap<string, number>;
}

/** Whether rooms pass the filters of a list: prepared for one user. */
export type Passes = (room: ListedRoom, filters: RoomFilters) => boolean;

/**
 * All rooms of a request, by all lists. `left` are rooms that the user is not in any more and that no list has: the user
 * may subscribe to those where they "have historically been".
 */
export function windowsOf(
  request: RoomRequest,
  { order, left }: { readonly order: RoomOrder; readonly left: readonly OtherRoom[] },
  passes: Passes,
): Windows {
  const counts = new Map<string, number>();
  const lists = new Map<number, string[]>();
  for (const [name, { filters, ranges }] of request.lists) {
    const listed = filters === undefined ? order.rooms : order.rooms.filter((room) => passes(room, filters));
    counts.set(name, listed.length);
    for (const [first, last] of ranges ?? [[0, listed.length - 1]]) {
      for (const { roomNid } of listed.slice(first, last + 1)) {
        const names = lists.get(roomNid);
        if (names === undefined) lists.set(roomNid, [name]);
        // Ranges may overlap.
        else if (names.at(-1) !== name) names.push(name);
      }
    }
  }
  const rooms = new Map<number, WindowRoom>();
  for (const [nid, names] of lists) {
    const room = order.byNid.get(nid);
    if (room !== undefined) rooms.set(nid, windowRoom(request, room, names));
  }
  if (request.subscriptions.size > 0) {
    for (const room of order.rooms) {
      if (request.subscriptions.has(room.roomId) && !rooms.has(room.roomNid))
        rooms.set(room.roomNid, windowRoom(request, room, []));
    }
    for (const other of left) {
      if (!request.subscriptions.has(other.roomId) || rooms.has(other.roomNid)) continue;
      rooms.set(other.roomNid, windowRoom(request, listedOther(other), []));
    }
  }
  return { rooms, counts };
}

/** A room by another membership than that of one who is joined. */
export function listedOther(other: OtherRoom): ListedRoom {
  return {
    ...{ roomNid: other.roomNid, roomId: other.roomId, joined: undefined, other },
    activity: other.position,
  };
}

/** Of some rooms, those that a request is about, where all others are known to be as they were. */
export function windowsOfSome(
  request: RoomRequest,
  order: RoomOrder,
  passes: Passes,
  asked: { readonly rooms: Iterable<ListedRoom>; readonly counts: ReadonlyMap<string, number> },
): Windows {
  const rooms = new Map<number, WindowRoom>();
  for (const room of asked.rooms) {
    const names: string[] = [];
    for (const [name, list] of request.lists) {
      if (list.filters !== undefined && !passes(room, list.filters)) continue;
      if (isInRange(list, order, passes, { room, count: asked.counts.get(name) ?? 0 })) names.push(name);
    }
    if (names.length > 0 || request.subscriptions.has(room.roomId))
      rooms.set(room.roomNid, windowRoom(request, room, names));
  }
  return { rooms, counts: asked.counts };
}

function isInRange(
  { ranges, filters }: ListConfig,
  order: RoomOrder,
  passes: Passes,
  { room, count }: { readonly room: ListedRoom; readonly count: number },
): boolean {
  if (ranges === undefined || ranges.some(([first, last]) => first === 0 && last >= count - 1)) return true;
  let index = 0;
  // What has news is near the top.
  for (const before of order.rooms) {
    if (before.roomNid === room.roomNid) break;
    if (filters === undefined || passes(before, filters)) index += 1;
  }
  return ranges.some(([first, last]) => first <= index && index <= last);
}

function windowRoom(request: RoomRequest, room: ListedRoom, lists: readonly string[]): WindowRoom {
  const isSubscribed = request.subscriptions.has(room.roomId);
  return { room, config: configOf(request, room.roomId, lists), lists, isSubscribed };
}

/** What a room is told by: the same object for the same request, which is mostly the same again and again. */
function configOf(
  { lists: all, subscriptions, configs }: RoomRequest,
  roomId: RoomId,
  lists: readonly string[],
): CombinedConfig {
  const subscription = subscriptions.get(roomId);
  const key = subscription === undefined ? JSON.stringify(lists) : `${roomId} ${JSON.stringify(lists)}`;
  const known = configs.get(key);
  if (known !== undefined) return known;
  const ofRoom: RoomConfig[] = lists.flatMap((name) => all.get(name) ?? []);
  if (subscription !== undefined) ofRoom.push(subscription);
  const config = combined(ofRoom);
  configs.set(key, config);
  return config;
}

/** True where an extension is asked for a room. */
export function isInScope(
  scope: ExtensionScope | undefined,
  { room, lists, isSubscribed }: WindowRoom,
): boolean {
  if (scope === undefined) return false;
  if (isSubscribed && (scope.rooms === undefined || scope.rooms.has(room.roomId))) return true;
  return lists.some((name) => scope.lists === undefined || scope.lists.has(name));
}

/** True where a filter looks at the state of rooms, so that a change of it can put them into lists or out of them. */
export function looksAtState({ lists }: RoomRequest): boolean {
  return lists.values().some(({ filters }) => filters !== undefined && hasStateFilter(filters));
}

function hasStateFilter(filters: RoomFilters): boolean {
  const { spaces, isEncrypted, roomTypes, notRoomTypes, roomNameLike } = filters;
  const isUsed = spaces ?? isEncrypted ?? roomTypes ?? roomNameLike;
  return isUsed !== undefined || notRoomTypes.length > 0;
}

/** Looks up what the filters of a request ask, and answers what decides. */
export async function filtersFor(
  facts: RoomFactsCache,
  { userId, rooms: request }: { readonly userId: `@${string}`; readonly rooms: RoomRequest },
  order: RoomOrder,
): Promise<Passes> {
  const filters = filtersOf(request);
  if (filters.length === 0) return PASSES_ALL;
  const direct = filters.some(asksDirect) ? await facts.directOf(userId) : new Set();
  const tags = filters.some(asksTags) ? await facts.tagsOf(userId) : NOTHING_TAGGED;
  const looks = filters.some((filter) => hasStateFilter({ ...filter, spaces: undefined }));
  const ofRooms = looks ? await facts.ofRooms(order.rooms) : new Map<number, RoomFacts>();
  const children = await childrenOf(facts, order, filters);
  return (room, filter) => {
    const known = ofRooms.get(room.roomNid);
    return (
      passesAccount(room, filter, { direct, tags: tags.get(room.roomId) }) &&
      (known === undefined || passesState(known, filter)) &&
      (filter.spaces?.some((space) => children.get(space)?.has(room.roomId) === true) ?? true)
    );
  };
}

/** What `filtersFor` answers, from what is in memory. */
export interface KnownFilters {
  readonly passes: Passes;
  /** True once it was asked of a room of which not all is known. */
  lacks: boolean;
}

/** The same as `filtersFor`, where nothing is to be read. */
export function knownFilters(
  facts: RoomFactsCache,
  { userId, rooms: request }: { readonly userId: `@${string}`; readonly rooms: RoomRequest },
): KnownFilters | undefined {
  const filters = filtersOf(request);
  if (filters.length === 0) return { passes: PASSES_ALL, lacks: false };
  const direct = filters.some(asksDirect) ? facts.directKnown(userId) : new Set();
  const tags = filters.some(asksTags) ? facts.tagsKnown(userId) : NOTHING_TAGGED;
  if (direct === undefined || tags === undefined || filters.some(({ spaces }) => spaces !== undefined))
    return undefined;
  const looks = filters.some(hasStateFilter);
  const known: KnownFilters = {
    passes: (room, filter) => {
      if (!passesAccount(room, filter, { direct, tags: tags.get(room.roomId) })) return false;
      if (!looks) return true;
      const ofRoom = facts.knownOf(room);
      known.lacks ||= ofRoom === undefined;
      return ofRoom !== undefined && passesState(ofRoom, filter);
    },
    lacks: false,
  };
  return known;
}

const PASSES_ALL: Passes = () => true;
const NOTHING_TAGGED: ReadonlyMap<string, ReadonlySet<string>> = new Map();

function filtersOf({ lists }: RoomRequest): RoomFilters[] {
  return [...lists.values()].flatMap((list) => list.filters ?? []);
}

function asksDirect({ isDm }: RoomFilters): boolean {
  return isDm !== undefined;
}

function asksTags({ tags, notTags }: RoomFilters): boolean {
  return tags !== undefined || notTags.length > 0;
}

/** "The server will inspect the `m.space.child` state events for the JOINED space room IDs given." */
async function childrenOf(
  facts: RoomFactsCache,
  order: RoomOrder,
  filters: readonly RoomFilters[],
): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const wanted = new Set<RoomId>(filters.flatMap(({ spaces }) => spaces ?? []));
  const children = new Map<string, ReadonlySet<string>>();
  if (wanted.size === 0) return children;
  for (const room of [...order.rooms]) {
    if (room.joined === undefined || !wanted.has(room.roomId)) continue;
    // One query each: a client names a few.
    children.set(room.roomId, await facts.childrenOf(room));
  }
  return children;
}

function passesAccount(
  room: ListedRoom,
  { isDm, isInvited, tags: wanted, notTags }: RoomFilters,
  {
    direct,
    tags = NO_TAGS,
  }: { readonly direct: ReadonlySet<unknown>; readonly tags?: ReadonlySet<string> | undefined },
): boolean {
  if (isDm !== undefined && direct.has(room.roomId) !== isDm) return false;
  if (isInvited !== undefined && (room.other?.membership === 'invite') !== isInvited) return false;
  if (wanted?.some((tag) => tags.has(tag)) === false) return false;
  return !notTags.some((tag) => tags.has(tag));
}

const NO_TAGS: ReadonlySet<string> = new Set();

function passesState({ type, isEncrypted, name }: RoomFacts, filter: RoomFilters): boolean {
  if (filter.isEncrypted !== undefined && isEncrypted !== filter.isEncrypted) return false;
  if (filter.roomTypes?.includes(type) === false || filter.notRoomTypes.includes(type)) return false;
  return filter.roomNameLike === undefined || name.includes(filter.roomNameLike);
}

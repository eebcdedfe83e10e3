/** The published room directory: https://spec.matrix.org/v1.19/client-server-api/#published-room-directory */
import { isRoomId } from '#keys/ids.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import * as roomDirectory from '#storage/room-directory.ts';
import { isFederated } from '../auth/federate.ts';
import type { RoomsContext } from '../context.ts';
import { loadNids } from '../load.ts';
import { aliasIn, nameIn, type PublicRoom, publicRoom, STATE_TYPES, topicIn } from './room-entry.ts';

export interface PublicRoomsQuery {
  /** At most this many rooms; 100 unless given, 500 at most. */
  readonly limit?: number | undefined;
  /** A token from an earlier answer. */
  readonly since?: string | undefined;
  readonly filter?: PublicRoomsFilter | undefined;
  /** Leaves out rooms that users of other servers cannot join (`m.federate` is false). */
  readonly federatedOnly?: boolean;
  /** "The specific third-party network/protocol to request from the homeserver." */
  readonly thirdPartyInstanceId?: string | undefined;
  /** "Whether or not to include all known networks/protocols from application services on the homeserver." */
  readonly includeAllNetworks?: boolean | undefined;
}

export interface PublicRoomsFilter {
  /** Looked for in name, topic and canonical alias, without regard to case. */
  readonly genericSearchTerm?: string | undefined;
  /** Room types to list; null stands for rooms without a type. All unless given. */
  readonly roomTypes?: readonly (string | null)[] | undefined;
}

/** The body of an answer to `/publicRooms`. */
export interface PublicRooms extends JsonObject {
  readonly chunk: readonly PublicRoom[];
}

/** The most rooms of a page. */
export const MAX_PUBLIC_ROOMS = 500;

const DEFAULT_LIMIT = 100;
/** Rooms whose state is read at once. */
const BATCH = 100;
/** Rooms that one query looks at; it answers with what it has found by then, and a token to go on. */
const MOST_SEEN = 5_000;

type Direction = 'after' | 'before';

interface Token {
  readonly direction: Direction;
  readonly place: roomDirectory.DirectoryPlace;
}

interface Found {
  /** The rooms that pass the filter, in the direction of the query. */
  readonly rooms: readonly PublicRoom[];
  /** True where rooms may follow in that direction. */
  readonly more: boolean;
  /** The last room looked at. */
  readonly reached: roomDirectory.DirectoryPlace | undefined;
}

/**
 * A page of the published rooms in which this server takes part: the largest first, those of the same size by
 * their ids. `invalid` for a token that is none of ours.
 */
export async function listPublicRooms(
  ctx: RoomsContext,
  query: PublicRoomsQuery,
): Promise<{ kind: 'ok'; body: PublicRooms } | { kind: 'invalid'; reason: string }> {
  const token = query.since === undefined ? undefined : tokenFrom(query.since);
  if (token === undefined && query.since !== undefined) {
    return { kind: 'invalid', reason: 'since is not a token of this server' };
  }
  const limit = Math.min(Math.max(1, query.limit ?? DEFAULT_LIMIT), MAX_PUBLIC_ROOMS);
  const found = await find(ctx, query, token, limit);
  const backwards = token?.direction === 'before';
  const chunk = backwards ? found.rooms.toReversed() : found.rooms;
  const total =
    query.filter === undefined ? await roomDirectory.count(ctx.db, directoryOf(ctx, query)) : undefined;
  return {
    kind: 'ok',
    body: {
      chunk,
      ...neighbours(found, token, chunk),
      ...(total !== undefined && { total_room_count_estimate: total }),
    },
  };
}

/** Looks through the directory, a batch at a time, until enough rooms pass the filter. */
async function find(
  ctx: RoomsContext,
  query: PublicRoomsQuery,
  token: Token | undefined,
  limit: number,
): Promise<Found> {
  const rooms: PublicRoom[] = [];
  let reached = token?.place;
  for (let seen = 0; seen < MOST_SEEN; seen += BATCH) {
    // Where a batch begins depends on the batch before it.
    const batch = await nextBatch(ctx, directoryOf(ctx, query), {
      direction: token?.direction ?? 'after',
      place: reached,
    });
    const details = await detailsOf(ctx, batch);
    for (const room of batch) {
      if (rooms.length === limit) return { rooms, more: true, reached };
      reached = { joinedMembers: room.joinedMembers, roomId: room.roomId };
      const state = details.get(room.roomNid) ?? new Map<string, JsonObject>();
      if (isListed(state, query)) rooms.push(publicRoom(room, state));
    }
    if (batch.length < BATCH) return { rooms, more: false, reached };
  }
  return { rooms, more: true, reached };
}

function nextBatch(
  ctx: RoomsContext,
  directory: roomDirectory.Directory,
  { direction, place }: { direction: Direction; place: roomDirectory.DirectoryPlace | undefined },
): Promise<roomDirectory.PublishedRoom[]> {
  if (place === undefined) return roomDirectory.first(ctx.db, directory, BATCH);
  const page = direction === 'after' ? roomDirectory.after : roomDirectory.before;
  return page(ctx.db, directory, place, BATCH);
}

function directoryOf(
  { serverName }: RoomsContext,
  { includeAllNetworks, thirdPartyInstanceId = '' }: PublicRoomsQuery,
): roomDirectory.Directory {
  return { serverName, network: includeAllNetworks === true ? '*' : thirdPartyInstanceId };
}

/** The content of each room's state events, by type. */
async function detailsOf(
  ctx: RoomsContext,
  rooms: readonly roomDirectory.PublishedRoom[],
): Promise<Map<number, Map<string, JsonObject>>> {
  const details = new Map(rooms.map((room) => [room.roomNid, new Map<string, JsonObject>()]));
  const nids = await roomDirectory.stateOf(ctx.db, details.keys(), STATE_TYPES);
  for (const stored of (await loadNids(ctx, nids)).values()) {
    details.get(stored.roomNid)?.set(stored.event.type, stored.event.content);
  }
  return details;
}

function isListed(state: ReadonlyMap<string, JsonObject>, query: PublicRoomsQuery): boolean {
  const create = state.get('m.room.create') ?? {};
  if (query.federatedOnly === true && !isFederated(create)) return false;
  const { genericSearchTerm, roomTypes } = query.filter ?? {};
  if (roomTypes !== undefined && !roomTypes.includes(stringAt(create, 'type') ?? null)) return false;
  if (genericSearchTerm === undefined || genericSearchTerm === '') return true;
  const term = genericSearchTerm.toLowerCase();
  return [nameIn(state), topicIn(state), aliasIn(state)].some((text) => text?.toLowerCase().includes(term));
}

/** Tokens for the pages behind and before this one. */
function neighbours(found: Found, token: Token | undefined, chunk: readonly PublicRoom[]): JsonObject {
  const backwards = token?.direction === 'before';
  const firstPlace = backwards ? (found.more ? found.reached : undefined) : placeOf(chunk.at(0), token);
  const lastPlace = backwards ? placeOf(chunk.at(-1), token) : found.more ? found.reached : undefined;
  const hasPrevious = firstPlace !== undefined && token !== undefined;
  return {
    ...(lastPlace !== undefined && { next_batch: tokenOf({ direction: 'after', place: lastPlace }) }),
    ...(hasPrevious && { prev_batch: tokenOf({ direction: 'before', place: firstPlace }) }),
  };
}

function placeOf(
  room: PublicRoom | undefined,
  token: Token | undefined,
): roomDirectory.DirectoryPlace | undefined {
  if (room === undefined) return token?.place;
  return { joinedMembers: room.num_joined_members, roomId: room.room_id };
}

function tokenOf({ direction, place }: Token): string {
  const mark = direction === 'after' ? 'n' : 'p';
  return mark + Buffer.from(`${place.joinedMembers} ${place.roomId}`).toString('base64url');
}

function tokenFrom(text: string): Token | undefined {
  const match = /^([np])([A-Za-z0-9_-]{1,400})$/.exec(text);
  const [count = '', roomId] = Buffer.from(match?.[2] ?? '', 'base64url')
    .toString()
    .split(/ (.*)/s);
  if (match === null || !/^\d{1,15}$/.test(count) || !isRoomId(roomId)) return undefined;
  return {
    direction: match[1] === 'n' ? 'after' : 'before',
    place: { joinedMembers: Number(count), roomId },
  };
}

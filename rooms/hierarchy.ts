/** Rooms of a space: https://spec.matrix.org/v1.19/client-server-api/#spaces */
import { isRoomId, type RoomId, type ServerName } from '#keys/ids.ts';
import { isStringArray, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { RoomsContext } from './context.ts';
import type { Event } from './event.ts';
import { getRoom, isInRoom } from './room.ts';
import { accessOf } from './room-access.ts';
import { entryOf, type RoomEntry } from './room-entry.ts';
import { currentStateOfType } from './state.ts';
import type { Viewer } from './visibility.ts';

/** A room that a space names. */
export interface SpaceChild {
  readonly roomId: RoomId;
  /** Servers that may know of it. */
  readonly via: readonly ServerName[];
  readonly suggested: boolean;
  /** The `m.space.child` event, stripped, with its `origin_server_ts`. */
  readonly event: JsonObject;
}

/** A room as a space shows it. */
export interface HierarchyRoom {
  readonly entry: RoomEntry;
  /** In the order in which they are to be shown; none where the room is no space. */
  readonly children: readonly SpaceChild[];
}

export type LocalRoom =
  | { readonly kind: 'visible'; readonly room: HierarchyRoom }
  /** We are in the room, and the viewer has no way to come in or to read it. */
  | { readonly kind: 'inaccessible' }
  /** We are not in such a room: others may know more. */
  | { readonly kind: 'elsewhere' };

const SPACE = 'm.space';
/** Of one space, the first ones. */
const MOST_CHILDREN = 5_000;
const ORDER = /^[\x20-\x7E]{1,50}$/;

/** What this server can say of a room, for one of our users or for another server. */
export async function localRoom(ctx: RoomsContext, roomId: RoomId, viewer: Viewer): Promise<LocalRoom> {
  const room = await getRoom(ctx, roomId);
  if (room === undefined || !(await isInRoom(ctx, room))) return { kind: 'elsewhere' };
  if ((await accessOf(ctx, room, viewer)) === undefined) return { kind: 'inaccessible' };
  const entry = await entryOf(ctx, room);
  // "If the room is not a space-room, this should be empty."
  if (own(entry, 'room_type') !== SPACE) return { kind: 'visible', room: { entry, children: [] } };
  const stored = await currentStateOfType(ctx, room.roomNid, 'm.space.child');
  return { kind: 'visible', room: { entry, children: childrenOf(stored.map(({ event }) => event)) } };
}

/**
 * The rooms that `m.space.child` events name, in the order of
 * https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space
 */
export function childrenOf(events: readonly Event[]): SpaceChild[] {
  const sorted = [...events].sort(
    (a, b) =>
      // "First order the children with a valid `order` key lexicographically by Unicode code-points".
      compareOrders(orderOf(a), orderOf(b)) ||
      // "Then, take the remaining children and order them by the `origin_server_ts` of their `m.space.child` event".
      a.originServerTs - b.originServerTs ||
      // "If the timestamps are the same, the children are ordered lexicographically by their room IDs".
      compareTexts(a.stateKey ?? '', b.stateKey ?? ''),
  );
  return sorted
    .map(childOf)
    .filter((child) => child !== undefined)
    .slice(0, MOST_CHILDREN);
}

/** "When [`via` is] not present or invalid, the child room is not considered to be part of the space." */
function childOf({ type, stateKey, content, sender, originServerTs }: Event): SpaceChild | undefined {
  const via = own(content, 'via');
  if (!isRoomId(stateKey) || !isStringArray(via) || via.length === 0) return undefined;
  return {
    roomId: stateKey,
    via,
    suggested: own(content, 'suggested') === true,
    event: { type, state_key: stateKey, content, sender, origin_server_ts: originServerTs },
  };
}

/** "`order` values with the wrong type, or otherwise invalid contents, are to be treated as though [...] not provided." */
function orderOf({ content }: Event): string | undefined {
  const order = stringAt(content, 'order');
  return order !== undefined && ORDER.test(order) ? order : undefined;
}

function compareOrders(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  return compareTexts(a, b);
}

/** Room ids and orders are ASCII: the order of their UTF-16 units is that of their code points. */
function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Where the walk through a space stands. */
export interface Walk {
  readonly suggestedOnly: boolean;
  /** How many steps from the space it goes. */
  readonly maxDepth: number;
  /** The rooms to come, the next one last. */
  readonly pending: readonly Step[];
  /** The rooms that were come to: "servers should gracefully break loops". */
  readonly seen: ReadonlySet<RoomId>;
}

export interface Step {
  readonly roomId: RoomId;
  readonly depth: number;
  readonly via: readonly ServerName[];
}

/** A page of a space. */
export interface WalkedPage {
  /** `SpaceHierarchyRoomsChunk` of the specification. */
  readonly rooms: readonly JsonObject[];
  /** Where the next page begins; undefined where there is none. */
  readonly rest: Walk | undefined;
}

/** Of one walk, pages and all. */
const MOST_ROOMS = 10_000;
/** Rooms looked at for one page, whether they are shown or not. */
const MOST_LOOKED_AT = 500;

/** The beginning of a walk. */
export function walkFrom(roomId: RoomId, how: Pick<Walk, 'suggestedOnly' | 'maxDepth'>): Walk {
  return { ...how, pending: [{ roomId, depth: 0, via: [] }], seen: new Set([roomId]) };
}

/**
 * The next rooms of a walk, depth first, at most `limit`; may be fewer although more follow. `find` answers for
 * each room what may be shown of it, from wherever it is known.
 */
export async function nextRooms(
  walk: Walk,
  limit: number,
  find: (step: Step) => Promise<HierarchyRoom | undefined>,
): Promise<WalkedPage> {
  const pending = [...walk.pending];
  const seen = new Set(walk.seen);
  const rooms: JsonObject[] = [];
  for (let looked = 0; rooms.length < limit && looked < MOST_LOOKED_AT; looked++) {
    const step = pending.pop();
    if (step === undefined) break;
    // One after the other: each says which ones come next.
    const found = await find(step);
    if (found === undefined) continue;
    const children = found.children.filter(({ suggested }) => suggested || !walk.suggestedOnly);
    rooms.push({ ...found.entry, children_state: children.map(({ event }) => event) });
    // "When reached, no further child rooms will be returned."
    if (step.depth >= walk.maxDepth) continue;
    const fresh = children.filter(({ roomId }) => !seen.has(roomId)).slice(0, MOST_ROOMS - seen.size);
    for (const { roomId } of fresh) seen.add(roomId);
    pending.push(...fresh.reverse().map(({ roomId, via }) => ({ roomId, via, depth: step.depth + 1 })));
  }
  return { rooms, rest: pending.length === 0 ? undefined : { ...walk, pending, seen } };
}

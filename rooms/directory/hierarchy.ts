/** Rooms of a space: https://spec.matrix.org/v1.19/client-server-api/#spaces */
import { isRoomId, type RoomId, type ServerName } from '#keys/ids.ts';
import { isStringArray, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { RoomsContext } from '../context.ts';
import type { Event } from '../event.ts';
import { getRoom, isInRoom } from '../room.ts';
import { currentStateOfType } from '../state.ts';
import type { Viewer } from '../visibility.ts';
import { accessOf, accessOfServer } from './room-access.ts';
import { entryOf, type PublicRoom, type RoomEntry } from './room-entry.ts';

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
  readonly entry: PublicRoom;
  /** In the order in which they are to be shown; none where the room is no space. */
  readonly children: readonly SpaceChild[];
  /** The server that told of it; undefined for a room that this server is in. */
  readonly toldBy?: ServerName;
}

/** What of an `m.space.child` event says which room is a child, and where it stands. */
export type ChildEvent = Pick<Event, 'type' | 'stateKey' | 'content' | 'sender' | 'originServerTs'>;

/** What this server can say of a room. */
export type Local<T> =
  | { readonly kind: 'visible'; readonly room: T }
  /** We are in the room, and the viewer has no way to come in or to read it. */
  | { readonly kind: 'inaccessible' }
  /** We are not in such a room, or cannot tell whether the viewer has a way to come in: others may know more. */
  | { readonly kind: 'elsewhere' };

/** The `type` of rooms that have children. */
export const SPACE = 'm.space';
/** Of one space, the first ones. */
export const MOST_CHILDREN = 5_000;
/** Of the events that name the children of one space, in bytes of their contents. */
const MOST_CHILDREN_BYTES = 2 * 1024 * 1024;
const ORDER = /^[\x20-\x7E]{1,50}$/;

/** What this server can say of a room and those below it, for one of our users or for another server. */
export async function localRoom(
  ctx: RoomsContext,
  roomId: RoomId,
  viewer: Viewer,
): Promise<Local<HierarchyRoom>> {
  const found = await localEntry(ctx, roomId, viewer);
  if (found.kind !== 'visible') return found;
  const { entry, roomNid } = found.room;
  // "If the room is not a space-room, this should be empty."
  if (own(entry, 'room_type') !== SPACE) return { kind: 'visible', room: { entry, children: [] } };
  const stored = await currentStateOfType(ctx, roomNid, 'm.space.child');
  return { kind: 'visible', room: { entry, children: childrenOf(stored.map(({ event }) => event)) } };
}

/** What this server can say of a room by itself. */
export async function localEntry(
  ctx: RoomsContext,
  roomId: RoomId,
  viewer: Viewer,
): Promise<Local<{ readonly roomNid: number; readonly entry: RoomEntry }>> {
  const room = await getRoom(ctx, roomId);
  if (room === undefined || !(await isInRoom(ctx, room))) return { kind: 'elsewhere' };
  const access =
    'server' in viewer ? await accessOfServer(ctx, room, viewer.server) : await accessOf(ctx, room, viewer);
  if (access === undefined) return { kind: 'inaccessible' };
  if (access === 'unknown') return { kind: 'elsewhere' };
  return { kind: 'visible', room: { roomNid: room.roomNid, entry: await entryOf(ctx, room) } };
}

/**
 * The rooms that `m.space.child` events name, in the order of
 * https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space
 */
export function childrenOf(events: readonly ChildEvent[]): SpaceChild[] {
  const sorted = [...events].sort(
    (a, b) =>
      // "First order the children with a valid `order` key lexicographically by Unicode code-points".
      compareOrders(orderOf(a), orderOf(b)) ||
      // "Then, take the remaining children and order them by the `origin_server_ts` of their `m.space.child` event".
      a.originServerTs - b.originServerTs ||
      // "If the timestamps are the same, the children are ordered lexicographically by their room IDs".
      compareTexts(a.stateKey ?? '', b.stateKey ?? ''),
  );
  const children: SpaceChild[] = [];
  let bytes = 0;
  for (const event of sorted) {
    const child = childOf(event);
    if (child === undefined) continue;
    bytes += JSON.stringify(event.content).length;
    if (children.length === MOST_CHILDREN || bytes > MOST_CHILDREN_BYTES) break;
    children.push(child);
  }
  return children;
}

/** "When [`via` is] not present or invalid, the child room is not considered to be part of the space." */
function childOf({ type, stateKey, content, sender, originServerTs }: ChildEvent): SpaceChild | undefined {
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
function orderOf({ content }: ChildEvent): string | undefined {
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
  /** The space that led here, and the server that told of it, which may have told of this room too. */
  readonly parent?: RoomId;
  readonly toldBy?: ServerName;
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
/** Rooms that are looked for at the same time. */
const AT_ONCE = 8;
/** Servers that are remembered for a room. */
const MOST_VIA = 10;

/** The beginning of a walk; `via`: servers that may know of the room. */
export function walkFrom(
  roomId: RoomId,
  how: Pick<Walk, 'suggestedOnly' | 'maxDepth'> & Pick<Step, 'via'>,
): Walk {
  const { via, ...rest } = how;
  return { ...rest, pending: [{ roomId, depth: 0, via }], seen: new Set([roomId]) };
}

/**
 * The next rooms of a walk, depth first, at most `limit`; may be fewer although more follow, as where the time is over
 * that `signal` tells. `find` answers for each room what may be shown of it, from wherever it is known; it is asked for
 * several rooms at once.
 */
export async function nextRooms(
  walk: Walk,
  { limit, signal }: { readonly limit: number; readonly signal: AbortSignal },
  find: (step: Step) => Promise<HierarchyRoom | undefined>,
): Promise<WalkedPage> {
  const pending = [...walk.pending];
  const seen = new Set(walk.seen);
  const found = new Map<Step, HierarchyRoom | undefined>();
  const rooms: JsonObject[] = [];
  for (let looked = 0; rooms.length < limit && looked < MOST_LOOKED_AT; looked++) {
    const step = pending.at(-1);
    if (step === undefined) break;
    // Each room says which ones come next: what is known to come is looked for together.
    if (!found.has(step)) await findAhead(pending, found, find);
    // What was not found in time is looked for by the next page. The first room is passed, or there were no end.
    if (signal.aborted && looked > 0) break;
    pending.pop();
    const room = found.get(step);
    if (room === undefined) continue;
    const children = room.children.filter(({ suggested }) => suggested || !walk.suggestedOnly);
    rooms.push({ ...room.entry, children_state: children.map(({ event }) => event) });
    // "When reached, no further child rooms will be returned."
    if (step.depth >= walk.maxDepth) continue;
    const fresh = children.filter(({ roomId }) => !seen.has(roomId)).slice(0, MOST_ROOMS - seen.size);
    for (const { roomId } of fresh) seen.add(roomId);
    pending.push(...fresh.reverse().map((child) => stepTo(child, step, room)));
  }
  return { rooms, rest: pending.length === 0 ? undefined : { ...walk, pending, seen } };
}

async function findAhead(
  pending: readonly Step[],
  found: Map<Step, HierarchyRoom | undefined>,
  find: (step: Step) => Promise<HierarchyRoom | undefined>,
): Promise<void> {
  const ahead = pending.slice(-AT_ONCE).filter((step) => !found.has(step));
  const rooms = await Promise.all(ahead.map(find));
  ahead.forEach((step, index) => {
    found.set(step, rooms[index]);
  });
}

function stepTo({ roomId, via }: SpaceChild, from: Step, { toldBy }: HierarchyRoom): Step {
  const step = { roomId, via: via.slice(0, MOST_VIA), depth: from.depth + 1, parent: from.roomId };
  return toldBy === undefined ? step : { ...step, toldBy };
}

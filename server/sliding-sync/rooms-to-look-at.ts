/** Which rooms an answer has to look at: all that the request is about, or those where something is new. */

import { changedAfter, type JoinedRoom } from '../sync/sync-users.ts';
import type { SlidingAnswer, SlidingContext } from './context.ts';
import { combined, configOfKey } from './required-state.ts';
import type { ListedRoom, OtherRoom } from './room-order.ts';
import { Flag, LIVE, type SentRoom } from './sent-rooms.ts';
import {
  filtersFor,
  isInScope,
  listedOther,
  looksAtState,
  type WindowRoom,
  type Windows,
  windowsOf,
  windowsOfSome,
} from './windows.ts';

/** What has happened since the last answer. */
export interface Happened {
  readonly news: ReadonlySet<JoinedRoom>;
  /** Rooms of which the user's account data has changed. */
  readonly accountRooms: ReadonlyMap<string, unknown>;
  readonly hasAccountChange: boolean;
  /** The rooms that the user has in `m.direct`. */
  readonly direct: ReadonlySet<string>;
}

export interface Look {
  /** The rooms to tell what is new of, and how many rooms each list has. */
  readonly windows: Windows;
  /** Rooms in which something happened and that the request is not about. */
  readonly others: readonly ListedRoom[];
}

export async function lookAt(
  sliding: SlidingContext,
  answer: SlidingAnswer,
  happened: Happened,
): Promise<Look> {
  const { request, order, user, state } = answer;
  const { rooms: asked } = request;
  if (asked.lists.size === 0 && asked.subscriptions.size === 0 && state.rooms.size === 0)
    return { windows: { rooms: new Map(), counts: new Map() }, others: [] };
  const passes = await filtersFor(sliding.facts, { userId: user.userId, rooms: asked }, order);
  const changed = await changedRooms(sliding, answer, happened);
  const { settled } = state;
  if (settled !== undefined && isSettled(sliding, answer, { changed, happened })) {
    const some = { rooms: changed.values(), counts: settled.counts };
    const windows = windowsOfSome(asked, order, passes, some);
    return { windows, others: [...changed.values()].filter(({ roomNid }) => !windows.rooms.has(roomNid)) };
  }
  const left = leftRooms(answer);
  const all = windowsOf(asked, { order, left }, passes);
  const rooms = new Map<number, WindowRoom>();
  for (const [nid, window] of all.rooms) {
    if (changed.has(nid) || isOwed(answer, window, happened)) rooms.set(nid, window);
  }
  for (const other of left) {
    const sent = state.rooms.get(other.roomNid);
    if (sent !== undefined && !all.rooms.has(other.roomNid) && !isTold(answer, other, sent))
      rooms.set(other.roomNid, leftWindow(answer, other, sent));
  }
  const others = [...changed.values()].filter(
    ({ roomNid }) => !all.rooms.has(roomNid) && !rooms.has(roomNid),
  );
  return { windows: { rooms, counts: all.counts }, others };
}

/** The rooms in which something happened since the last answer. */
async function changedRooms(
  { sync }: SlidingContext,
  { request, user, order, since }: SlidingAnswer,
  { news, accountRooms }: Happened,
): Promise<Map<number, ListedRoom>> {
  const changed = new Map<number, ListedRoom>();
  if (since === undefined) return changed;
  const add = (room: ListedRoom | undefined) => {
    if (room !== undefined) changed.set(room.roomNid, room);
  };
  for (const { roomNid } of news) add(order.byNid.get(roomNid));
  for (const other of changedAfter(user.others, since))
    add(order.byNid.get(other.roomNid) ?? listedOther(other));
  for (const roomId of accountRooms.keys()) {
    const room = user.joinedByKey.get(`room:${roomId}`);
    if (room !== undefined) add(order.byNid.get(room.roomNid));
  }
  const { unread } = sync.server;
  // With other push rules there may be other counts in any room.
  if (request.face === 'experimental' && (await unread.rules.find(user.userId)).changedAt > since) {
    for (const room of user.joined)
      if (unread.isCounted(user.userId, room)) add(order.byNid.get(room.roomNid));
  }
  return changed;
}

/** True where all that the client looks at was told, and nothing but news of rooms can have changed what that is. */
function isSettled(
  { sync }: SlidingContext,
  { request, order, state, since }: SlidingAnswer,
  { changed, happened }: { readonly changed: ReadonlyMap<number, ListedRoom>; readonly happened: Happened },
): boolean {
  const { settled } = state;
  if (settled?.signature !== request.rooms.signature || settled.order !== order) return false;
  if (happened.hasAccountChange || since === undefined) return false;
  const { streams } = sync.server;
  const hasNewState = ({ roomId }: ListedRoom) => streams.mayConcern(`state:${roomId}`, since);
  return !(looksAtState(request.rooms) && changed.values().some(hasNewState));
}

/** True where the client lacks something of a room although nothing happened there. */
function isOwed({ request, state }: SlidingAnswer, window: WindowRoom, { direct }: Happened): boolean {
  const { room, config } = window;
  const sent = state.rooms.get(room.roomNid);
  if (sent === undefined || sent.since !== LIVE) return true;
  if (config.key !== sent.stateKey || config.timelineLimit > sent.timelineLimit) return true;
  if (direct.has(room.roomId) !== ((sent.flags & Flag.dm) !== 0)) return true;
  if (room.joined === undefined) return false;
  const { accountData, receipts, typing } = request.rooms;
  const lacks = (flag: number) => (sent.flags & flag) === 0;
  return (
    (lacks(Flag.accountData) && isInScope(accountData, window)) ||
    (lacks(Flag.receipts) && isInScope(receipts, window)) ||
    (lacks(Flag.typing) && isInScope(typing, window))
  );
}

/** Rooms that the user is not in any more and that are not in their list. */
function leftRooms({ user, order }: SlidingAnswer): OtherRoom[] {
  return user.others.filter(({ membership, roomNid }) => {
    const isLeft = membership === 'leave' || membership === 'ban';
    return isLeft && !order.byNid.has(roomNid);
  });
}

/** Of a room that the client knows it is not in, there is nothing more to say. */
function isTold({ since = 0 }: SlidingAnswer, other: OtherRoom, sent: SentRoom): boolean {
  return other.position <= (sent.since === LIVE ? since : sent.since);
}

/** "Rooms that the user has been in but left are only included if the room was previously sent": by what it was sent by. */
function leftWindow({ request }: SlidingAnswer, other: OtherRoom, sent: SentRoom): WindowRoom {
  const { lists } = request.rooms;
  const config = lists.size === 0 ? configOfKey(sent.stateKey) : combined([...lists.values()]);
  const timelineLimit = Math.max(1, sent.timelineLimit);
  const names = [...lists].filter(([, { filters }]) => filters === undefined).map(([name]) => name);
  return {
    ...{ room: listedOther(other), lists: names, isSubscribed: false },
    config: { ...config, timelineLimit },
  };
}

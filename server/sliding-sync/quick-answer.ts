/**
 * The answer to a client that waits, asks as it did last, and is told of messages in a room or two, which is what ends
 * most waits: put together from what is in memory, without waiting for anything. It is word for word what `answer.ts`
 * would answer.
 *
 * 1. The client was told all that it asks for, and nothing concerns the user since but what rooms hold.
 * 2. The rooms are in the order that they were told by, but for those with news, in each of which nothing but the
 *    timeline has changed, and all of what is new is shown to every member.
 * 3. The client has these rooms, by what it asks for now, and the member events of all who sent what is new.
 * 4. So nothing changes of what the client has, but up to where it has it.
 */

import { knownKeyCounts } from '../sync/device.ts';
import { roomsOfNews } from '../sync/quick-answer.ts';
import type { RecentPart } from '../sync/recent-timelines.ts';
import { changedAfter, type JoinedRoom, type SyncUser } from '../sync/sync-users.ts';
import { recentJson } from '../sync/timeline-part.ts';
import { formatToken } from '../sync/token.ts';
import type { Answer } from './answer.ts';
import type { AnswerChanges, ConnectionPoint, SentState, Settled } from './connections.ts';
import { deviceOf, type SlidingContext } from './context.ts';
import { roomJson, stableMembers, timelineMembers, unreadTexts } from './joined-room.ts';
import type { RoomRequest, SlidingRequest } from './request.ts';
import type { CombinedConfig } from './required-state.ts';
import { Flag, LIVE, type SentChanges } from './sent-rooms.ts';
import { isInScope, knownFilters, type WindowRoom, windowsOfSome } from './windows.ts';

const MEMBER = 'm.room.member';
const NO_CHANGES: SentChanges = new Map();

interface QuickAnswer {
  readonly request: SlidingRequest;
  readonly user: SyncUser;
  readonly upto: number;
  readonly since: number;
  readonly state: SentState;
}

/** Undefined where it takes more than this. */
export function quickAnswer(
  sliding: SlidingContext,
  request: SlidingRequest,
  point: ConnectionPoint,
): Answer | undefined {
  const { sync, facts } = sliding;
  const { since, state } = point;
  const { settled } = state;
  const { rooms: asked, requester } = request;
  if (since === undefined || settled?.signature !== asked.signature) return undefined;
  const found = sync.users.known(requester.userId);
  if (found === undefined || found.user.ignored.size > 0) return undefined;
  const answer: QuickAnswer = { request, ...found, since, state };
  const extensions = knownExtensions(sliding, answer);
  const news = extensions === undefined ? undefined : roomsOfNews(sync, found.user, since);
  if (news === undefined || changedAfter(found.user.others, since).length > 0) return undefined;
  const direct = facts.directKnown(requester.userId);
  const windows = windowsOfNews(sliding, answer, { news, settled });
  if (direct === undefined || windows === undefined) return undefined;
  const sections: string[] = [];
  for (const room of news) {
    const window = windows.get(room.roomNid);
    // What is missing from now on is to be noted.
    if (window === undefined && state.rooms.get(room.roomNid)?.since === LIVE) return undefined;
    if (window === undefined) continue;
    const section = roomSection(sliding, answer, room, { window, isDirect: direct.has(room.roomId) });
    if (section === undefined) return undefined;
    sections.push(`${JSON.stringify(room.roomId)}:${section}`);
  }
  if (sections.length === 0) return undefined;
  const { upto } = found;
  const lists = [...settled.counts].map(([name, count]) => `${JSON.stringify(name)}:{"count":${count}}`);
  const changes: AnswerChanges = { rooms: NO_CHANGES, whole: state.whole, settled };
  return {
    hasNews: true,
    upto,
    follower: found.user.follower,
    send: () => {
      const pos = sliding.connections.offer(point, upto, changes);
      return `{"pos":"${pos}","lists":{${lists.join(',')}},"rooms":{${sections.join(',')}},"extensions":{${extensions}}}`;
    },
  };
}

/** The members of `extensions` where nothing has concerned the user since; undefined where there may be more to say. */
function knownExtensions({ sync }: SlidingContext, answer: QuickAnswer): string | undefined {
  const { request, user, upto, since, state } = answer;
  const { rooms, toDevice, e2ee, stickyEvents, threadSubscriptions } = request;
  if (stickyEvents !== undefined || sync.server.streams.mayConcern(user.key, since)) return undefined;
  if (state.whole.accountData !== (rooms.accountData !== undefined)) return undefined;
  if (state.whole.threadSubscriptions !== (threadSubscriptions !== undefined)) return undefined;
  const texts: string[] = [];
  if (toDevice !== undefined) {
    if (toDevice.since < since || toDevice.since > upto || since === 0) return undefined;
    texts.push(`"to_device":{"next_batch":"${formatToken(upto)}","events":[]}`);
  }
  if (e2ee) {
    const counts = knownKeyCounts(sync, request.requester, user.key);
    if (counts === undefined) return undefined;
    texts.push(`"e2ee":{${counts}}`);
  }
  return texts.join(',');
}

function windowsOfNews(
  { facts, orders }: SlidingContext,
  { request, user }: QuickAnswer,
  { news, settled }: { readonly news: readonly JoinedRoom[]; readonly settled: Settled },
): ReadonlyMap<number, WindowRoom> | undefined {
  const { rooms: asked } = request;
  const order = orders.known(user);
  // Only news has changed it since.
  if (order === undefined || order !== settled.order) return undefined;
  const filters = knownFilters(facts, { userId: user.userId, rooms: asked });
  if (filters === undefined) return undefined;
  const rooms = news.map(({ roomNid }) => order.byNid.get(roomNid)).filter((room) => room !== undefined);
  const { rooms: found } = windowsOfSome(asked, order, filters.passes, { rooms, counts: settled.counts });
  return filters.lacks || rooms.length < news.length ? undefined : found;
}

function roomSection(
  sliding: SlidingContext,
  answer: QuickAnswer,
  room: JoinedRoom,
  { window, isDirect }: { readonly window: WindowRoom; readonly isDirect: boolean },
): string | undefined {
  const { request, since, upto, state } = answer;
  const { config } = window;
  const sent = state.rooms.get(room.roomNid);
  if (sent === undefined || sent.since !== LIVE || sent.stateKey !== config.key) return undefined;
  if (config.timelineLimit > sent.timelineLimit) return undefined;
  if (sent.flags !== (flagsFor(request.rooms, window) | (isDirect ? Flag.dm : 0))) return undefined;

  const part = sliding.sync.timelines.known(room, { after: since, upto, limit: config.timelineLimit });
  if (part === undefined || !part.isOpen || part.limited || part.events.length === 0) return undefined;
  if (room.joinedAt > part.start + 1 || lacksMembers(sliding, answer, room, { config, part }))
    return undefined;
  const bump = sliding.bumps.known(room, part.events);
  const unread = unreadMembers(sliding, answer, room);
  if (bump === undefined || unread === undefined) return undefined;
  const json = recentJson(sliding.sync, request, part);
  return roomJson([
    `"bump_stamp":${Math.max(0, bump.stamp ?? room.joinedAt)}`,
    ...stableMembers(request, 'join', window.lists),
    ...timelineMembers({ request, since }, { ...part, json }, { isExpanded: false, isTold: true }),
    ...unread,
  ]);
}

/** What the client is told all of, of a room that it looks at. */
function flagsFor({ accountData, receipts, typing }: RoomRequest, window: WindowRoom): number {
  return (
    (isInScope(accountData, window) ? Flag.accountData : 0) |
    (isInScope(receipts, window) ? Flag.receipts : 0) |
    (isInScope(typing, window) ? Flag.typing : 0)
  );
}

/** True where the client may lack the member event of somebody who sent an event, or whom it speaks of. */
function lacksMembers(
  { sync }: SlidingContext,
  { request, since }: QuickAnswer,
  { roomNid }: JoinedRoom,
  { config, part }: { readonly config: CombinedConfig; readonly part: RecentPart },
): boolean {
  if (!config.lazyMembers) return false;
  if (part.events.some(({ event }) => event.type === MEMBER)) return true;
  const users = part.events.map(({ event }) => event.sender);
  return sync.sentMembers.missing(deviceOf(request), roomNid, { users, since }).length > 0;
}

/** Undefined where it is not known how much is unread. */
function unreadMembers(
  { sync }: SlidingContext,
  { request, user, upto }: QuickAnswer,
  room: JoinedRoom,
): readonly string[] | undefined {
  if (request.face === 'stable') return [];
  const unread = sync.server.unread.ofNow(user.userId, room, upto);
  return unread && unreadTexts(unread);
}

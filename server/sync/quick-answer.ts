/**
 * The answer to who waits for news and is told of messages in a room or two, or that there is none, which is what ends
 * most waits: put together from what is in memory, without waiting for anything. It is word for word what `v3.ts` would answer.
 *
 * 1. What has happened since? Undefined where that is more than a few positions, or concerns the user otherwise than by
 *    what rooms hold: the account, devices, memberships, presence.
 * 2. In each of the rooms nothing but the timeline has changed, and all of what is new is shown to every member.
 * 3. The client has the member events of all who sent it, and what it counts as unread is known.
 */

import { unreadJson } from '../push/unread-json.ts';
import type { SyncContext, SyncRequest } from './context.ts';
import { knownKeyCounts } from './device.ts';
import { includesRoom } from './filter.ts';
import type { JoinedRoom, SyncUser } from './sync-users.ts';
import { recentTimeline, timelineLimit } from './timeline-part.ts';
import { formatSyncToken } from './token.ts';
import type { Answer } from './v3.ts';

const MOST_POSITIONS = 20;
const MOST_ROOMS = 5;
const NO_EVENTS = '{"events":[]}';

interface QuickAnswer {
  readonly request: SyncRequest;
  readonly since: number;
  readonly user: SyncUser;
  readonly upto: number;
}

/** Undefined where it takes more than this. */
export function quickAnswer(sync: SyncContext, request: SyncRequest): Answer | undefined {
  const { since, filter, requester } = request;
  const { timeline, state } = filter;
  const isPlain = timeline.passesAll && filter.shape === undefined && state.rooms.only === undefined;
  if (since === undefined || request.fullState || request.inbox !== since || !isPlain) return undefined;
  const found = sync.users.known(requester.userId);
  if (found === undefined || found.user.ignored.size > 0) return undefined;
  const { user, upto } = found;
  const counts = knownKeyCounts(sync, requester, user.key);
  const rooms = counts === undefined ? undefined : roomsOfNews(sync, user, since);
  if (rooms === undefined) return undefined;
  const sections: string[] = [];
  for (const room of rooms) {
    if (!includesRoom(filter.rooms, room.roomId)) continue;
    const section = roomSection(sync, { request, since, user, upto }, room);
    if (section === undefined) return undefined;
    sections.push(section);
  }
  const nextBatch = formatSyncToken({ position: upto, inbox: upto });
  const hasNews = sections.length > 0;
  const joined = hasNews ? `,"rooms":{"join":{${sections.join(',')}}}` : '';
  return {
    text: `{"next_batch":"${nextBatch}",${counts}${joined}}`,
    hasNews,
    upto,
    follower: user.follower,
  };
}

/** The rooms in whose timelines something is new, where nothing else is new for the user. */
export function roomsOfNews(
  { server }: SyncContext,
  user: SyncUser,
  since: number,
): JoinedRoom[] | undefined {
  const { streams, typing } = server;
  const recent = streams.keysSince(since, MOST_POSITIONS);
  if (recent === undefined) return undefined;
  const rooms: JoinedRoom[] = [];
  for (const key of recent) {
    if (key === 'device_lists' || key === 'memberships') return undefined;
    if (!user.follower.keys.has(key)) continue;
    const room = user.joinedByKey.get(key);
    // The user, or the presence of others.
    if (room === undefined || rooms.length === MOST_ROOMS || room.joinedAt > since) return undefined;
    const { keys, roomId } = room;
    if (streams.mayConcern(keys.state, since) || streams.mayConcern(keys.receipts, since)) return undefined;
    if (typing.lastPosition(roomId) > since) return undefined;
    rooms.push(room);
  }
  return rooms;
}

function roomSection(
  sync: SyncContext,
  { request, since, user, upto }: QuickAnswer,
  room: JoinedRoom,
): string | undefined {
  const { filter, requester } = request;
  const range = { after: since, upto, limit: timelineLimit(filter.timeline) };
  const part = sync.timelines.known(room, range);
  if (part === undefined || !part.isOpen || part.limited || part.events.length === 0) return undefined;
  if (room.joinedAt > part.start + 1) return undefined;
  if (filter.state.lazyLoadMembers) {
    if (filter.state.includeRedundantMembers) return undefined;
    const users = part.events.map(({ event }) => event.sender);
    if (sync.sentMembers.missing(requester, room.roomNid, { users, since }).length > 0) return undefined;
  }
  const unread = sync.server.unread.ofNow(user.userId, room, upto);
  if (unread === undefined) return undefined;
  const timeline = recentTimeline(sync, request, part);
  const counts = unreadJson(unread, filter.timeline.unreadThreadNotifications);
  return (
    `${JSON.stringify(room.roomId)}:{"timeline":${timeline},"${request.stateMember}":${NO_EVENTS},` +
    `"ephemeral":${NO_EVENTS},"account_data":${NO_EVENTS},${counts}}`
  );
}

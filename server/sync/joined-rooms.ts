/** `rooms.join`: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync */

import type { UserId } from '#keys/ids.ts';
import { membershipOf } from '#rooms/event.ts';
import { loadNid } from '#rooms/load.ts';
import { type RoomSummary, summaryFor } from '#rooms/summary.ts';
import * as currentState from '#storage/current-state.ts';
import { unreadJson } from '../push/unread-json.ts';
import { roomAccountEvents } from './account.ts';
import type { SyncAnswer, SyncContext } from './context.ts';
import { ephemeralEvents } from './ephemeral.ts';
import { includesRoom } from './filter.ts';
import { BEGINNING, timelineJson } from './recent-timelines.ts';
import { SUMMARY_TYPES, statePart } from './state-part.ts';
import { stickyFor } from './sticky.ts';
import type { JoinedRoom } from './sync-users.ts';
import { type TimelinePart, timelinePart } from './timeline-part.ts';

/** What is told of a room: all that there is, or what is new since a position. */
interface Telling {
  /** Undefined where the client has nothing of the room's state, or asks for all of it. */
  readonly stateSince: number | undefined;
  /** Undefined where the client has nothing of the room. */
  readonly since: number | undefined;
}

/** The rooms of which there is something to tell, each as `"room id":{...}`. */
export async function joinedRooms(sync: SyncContext, answer: SyncAnswer): Promise<string[]> {
  const { request, user } = answer;
  const { since, fullState, filter } = request;
  const sections: string[] = [];
  const rooms = [...(fullState ? user.joined : await roomsToTell(sync, answer))];
  const wanted = rooms.filter(({ roomId }) => includesRoom(filter.rooms, roomId));
  await sync.server.unread.prepare(user.userId, wanted, answer.upto);
  for (const room of wanted) {
    // One after the other: a single answer must not crowd out all others.
    const coming =
      since === undefined ? 'joined' : await comingSince(sync, room, { userId: user.userId, since });
    const isNew = coming === 'joined';
    const stateSince = coming !== 'stayed' || fullState ? undefined : since;
    const section = await roomSection(sync, answer, room, { since: isNew ? undefined : since, stateSince });
    if (section !== undefined) sections.push(`${JSON.stringify(room.roomId)}:${section}`);
  }
  return sections;
}

/** The rooms with news, those of which the user's account data has changed, and those that may count otherwise now. */
async function roomsToTell(
  { server }: SyncContext,
  { request, user, news, roomAccountData }: SyncAnswer,
): Promise<Iterable<JoinedRoom>> {
  const { since } = request;
  if (since === undefined) return news;
  const rooms = new Set(news);
  for (const roomId of roomAccountData.keys()) {
    const room = user.joinedByKey.get(`room:${roomId}`);
    if (room !== undefined) rooms.add(room);
  }
  const { unread } = server;
  // With other rules there may be other counts in any room.
  if ((await unread.rules.find(user.userId)).changedAt > since) {
    for (const room of user.joined) if (unread.isCounted(user.userId, room)) rooms.add(room);
  }
  return rooms;
}

/**
 * `joined`: the user was not in the room at `since`. `returned`: the user was, and this server has been out of it in
 * between, so that what changed there is not known one by one.
 */
export async function comingSince(
  { server }: SyncContext,
  { roomNid, joinedAt }: JoinedRoom,
  { userId, since }: { readonly userId: UserId; readonly since: number },
): Promise<'stayed' | 'joined' | 'returned'> {
  if (joinedAt <= since) return 'stayed';
  const deltas = await currentState.deltas(server.db, roomNid, { after: since, upto: joinedAt });
  const own = deltas.filter(({ type, stateKey }) => type === 'm.room.member' && stateKey === userId);
  if (!(await isJoin(server, own.at(0)?.prevEventNid))) return 'joined';
  return (await isJoin(server, own.at(-1)?.eventNid)) ? 'stayed' : 'returned';
}

async function isJoin(server: SyncContext['server'], nid: number | undefined): Promise<boolean> {
  const stored = nid === undefined ? undefined : await loadNid(server, nid);
  return stored !== undefined && membershipOf(stored.event) === 'join';
}

/** Undefined where there is nothing to tell. */
async function roomSection(
  sync: SyncContext,
  answer: SyncAnswer,
  room: JoinedRoom,
  { since, stateSince }: Telling,
): Promise<string | undefined> {
  const { request, user, upto } = answer;
  const { roomNid, roomId, joinedAt } = room;
  const { server } = sync;
  const isWhole = stateSince === undefined;
  const timeline = await timelinePart(
    sync,
    answer,
    { roomNid, roomId, joinedAt },
    { after: since ?? BEGINNING, upto },
  );
  const mayNeedSummary = isWhole || (await mayChangeSummary(sync, room, stateSince));
  const summary = mayNeedSummary ? await summaryFor(server, roomNid, user.userId) : undefined;
  const members = [...(isWhole ? [user.userId] : []), ...(summary?.heroes ?? [])];
  const state = await statePart(
    sync,
    request,
    { roomNid, roomId, since: stateSince, upto, members },
    timeline,
  );
  const ephemeral = await ephemeralEvents(sync, answer, room, since);
  const account = await roomAccountEvents(sync, answer, roomId, since);

  const unread =
    server.unread.ofNow(user.userId, room, upto) ?? (await server.unread.of(user.userId, room, upto));

  const sticky = await stickyEvents(sync, answer, room, { since, timeline });
  const isEmpty = timeline.events.length === 0 && !timeline.limited && state.json.length === 0;
  const isQuiet = isEmpty && [ephemeral, account, sticky].every(({ length }) => length === 0);
  if (since !== undefined && !isWhole && isQuiet && unread.changedAt <= since) return undefined;
  const parts = [
    `"timeline":${timelineJson(timeline)}`,
    `"${request.stateMember}":${eventsJson(state.json)}`,
    `"ephemeral":${eventsJson(ephemeral)}`,
    `"account_data":${eventsJson(account)}`,
    unreadJson(unread, request.filter.timeline.unreadThreadNotifications),
  ];
  if (sticky.length > 0) parts.push(`"msc4354_sticky":${eventsJson(sticky)}`);
  if (summary !== undefined && (isWhole || state.changesSummary))
    parts.push(`"summary":${summaryJson(summary)}`);
  return `{${parts.join(',')}}`;
}

/** The sticky events that are not in the timeline: there are none where nothing is left out of it. */
async function stickyEvents(
  { server }: SyncContext,
  { request, user, upto }: SyncAnswer,
  room: JoinedRoom,
  told: { readonly since: number | undefined; readonly timeline: TimelinePart },
): Promise<readonly string[]> {
  const { since, timeline } = told;
  if (since !== undefined && !timeline.limited && request.filter.timeline.passesAll) return [];
  const range = {
    rooms: [room],
    after: since ?? 0,
    upto,
    told: new Set(timeline.events.map(({ nid }) => nid)),
  };
  const found = await stickyFor(server, { requester: request.requester, user }, range);
  return found.byRoom.get(room.roomId) ?? [];
}

/** After a restart it is not known whose state has changed: to look is cheaper than to count the members of each room. */
async function mayChangeSummary(
  { server }: SyncContext,
  { roomNid, keys }: JoinedRoom,
  since: number,
): Promise<boolean> {
  const { streams, db } = server;
  if (!streams.mayConcern(keys.state, since)) return false;
  if (streams.remembers(since)) return true;
  const deltas = await currentState.deltas(db, roomNid, { after: since, upto: Number.MAX_SAFE_INTEGER });
  return deltas.some(({ type }) => SUMMARY_TYPES.has(type));
}

function summaryJson({ heroes, joinedCount, invitedCount }: RoomSummary): string {
  return JSON.stringify({
    ...(heroes !== undefined && { 'm.heroes': heroes }),
    'm.joined_member_count': joinedCount,
    'm.invited_member_count': invitedCount,
  });
}

/** An object with a list of events. */
export function eventsJson(events: readonly string[]): string {
  return events.length === 0 ? '{"events":[]}' : `{"events":[${events.join(',')}]}`;
}

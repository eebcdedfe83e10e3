/** `rooms.invite`, `rooms.knock` and `rooms.leave`: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync */

import { membershipOf } from '#rooms/event.ts';
import { loadNid } from '#rooms/load.ts';
import { stateAt } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as currentState from '#storage/current-state.ts';
import * as memberships from '#storage/memberships.ts';
import { roomAccountEvents } from './account.ts';
import type { SyncAnswer, SyncContext, SyncRequest } from './context.ts';
import { shapedTexts } from './event-shape.ts';
import { includesRoom, passes } from './filter.ts';
import { textsFor } from './format.ts';
import { eventsJson } from './joined-rooms.ts';
import { BEGINNING, listJson, timelineJson } from './recent-timelines.ts';
import { isShownTo } from './shown-invite.ts';
import { statePart } from './state-part.ts';
import { strippedStateFor } from './stripped-state.ts';
import { changedAfter, type SyncUser } from './sync-users.ts';
import { timelinePart } from './timeline-part.ts';

type OtherRoom = SyncUser['others'][number];

/** By `invite`, `knock` and `leave`: the rooms of which there is something to tell, each as `"room id":{...}`. */
export type OtherRooms = Record<'invite' | 'knock' | 'leave', readonly string[]>;

/** Rooms that the user is not joined to and whose membership has changed. */
export async function otherRooms(sync: SyncContext, answer: SyncAnswer): Promise<OtherRooms> {
  const { request, user } = answer;
  const { since = BEGINNING, filter } = request;
  const sections = { invite: [] as string[], knock: [] as string[], leave: [] as string[] };
  for (const row of changedAfter(user.others, since)) {
    if (!includesRoom(filter.rooms, row.roomId)) continue;
    const kind = row.membership === 'invite' || row.membership === 'knock' ? row.membership : 'leave';
    // Few: what has changed since the last answer. In an initial sync all invitations are told.
    const section =
      kind === 'leave' ? await leftRoom(sync, answer, row) : await strippedRoom(sync, answer, row, kind);
    if (section !== undefined) sections[kind].push(`${JSON.stringify(row.roomId)}:${section}`);
  }
  return sections;
}

/**
 * "Servers must not send room invites from ignored users to clients", nor any to one who takes none: those "already in
 * the database, or received over federation, MUST NOT be served over client synchronisation endpoints".
 */
async function strippedRoom(
  { server }: SyncContext,
  { user }: SyncAnswer,
  row: OtherRoom,
  kind: 'invite' | 'knock',
): Promise<string | undefined> {
  if (!(await isShownTo(server, user, { ...row, membership: kind }))) return undefined;
  const state = await strippedStateFor(server, row);
  return `{"${kind}_state":${eventsJson(state.map((event) => JSON.stringify(event)))}}`;
}

/** "The timeline of messages and state changes in the room up to the point when the user left." */
async function leftRoom(sync: SyncContext, answer: SyncAnswer, row: OtherRoom): Promise<string | undefined> {
  const { request } = answer;
  const { since, filter } = request;
  if (since === undefined && !filter.includeLeave) return undefined;
  // Asked for now: to forget a room is no change of the membership, after which that would be read again.
  const isForgotten = (await memberships.of(sync.server.db, row.roomNid, row.userId))?.forgotten ?? true;
  if (since === undefined && isForgotten) return undefined;
  const leaving = await loadNid(sync.server, row.eventNid);
  const wasIn = since !== undefined && (await membershipAt(sync, row, since)) === 'join';
  const hasLeft = leaving !== undefined && (await membershipBefore(sync, leaving)) === 'join';
  // Who was only invited, or had left before, is told of no more than that. So is who has forgotten the room since:
  // their other devices must learn that they left.
  if ((!wasIn && !hasLeft) || isForgotten)
    return leftSection(request, {
      timeline: await bareTimeline(sync, request, leaving),
      state: [],
      account: [],
    });

  const { roomNid, roomId, position: upto } = row;
  const room = { roomNid, roomId, joinedAt: undefined };
  const known = wasIn ? since : undefined;
  const timeline = await timelinePart(sync, answer, room, { after: known ?? BEGINNING, upto });
  const range = { roomNid, roomId, since: known, upto, left: leaving, members: [] };
  const state = await statePart(sync, request, range, timeline);
  const account = await roomAccountEvents(sync, answer, roomId, known);
  return leftSection(request, { timeline: timelineJson(timeline), state: state.json, account });
}

function leftSection(
  request: SyncRequest,
  room: { readonly timeline: string; readonly state: readonly string[]; readonly account: readonly string[] },
): string {
  const { timeline, state, account } = room;
  return `{"timeline":${timeline},"${request.stateMember}":${eventsJson(state)},"account_data":${eventsJson(account)}}`;
}

/** A timeline of nothing but the event by which the user left. */
async function bareTimeline(
  { server }: SyncContext,
  { requester, filter }: SyncRequest,
  leaving: StoredEvent | undefined,
): Promise<string> {
  const { timeline: wanted } = filter;
  const isWanted = leaving !== undefined && wanted.limit !== 0 && passes(wanted, leaving.event);
  const events = isWanted ? [leaving] : [];
  const texts = await textsFor(server, requester, events, { withRoomId: false });
  const start = leaving?.position ?? server.streams.upto();
  const json = listJson(shapedTexts(filter.shape, events, texts));
  return timelineJson({ json, limited: false, start });
}

/** The user's membership at a position, where the room's state has said so since. */
async function membershipAt(
  { server }: SyncContext,
  { roomNid, userId, position }: OtherRoom,
  since: number,
): Promise<string | undefined> {
  const deltas = await currentState.deltas(server.db, roomNid, { after: since, upto: position });
  const first = deltas.find(({ type, stateKey }) => type === 'm.room.member' && stateKey === userId);
  const before = first?.prevEventNid === undefined ? undefined : await loadNid(server, first.prevEventNid);
  return before === undefined ? undefined : membershipOf(before.event);
}

export async function membershipBefore(
  { server }: SyncContext,
  leaving: StoredEvent,
): Promise<string | undefined> {
  const { type, stateKey = '' } = leaving.event;
  const [before] = await stateAt(server, leaving, 'before', [{ type, stateKey }]);
  return before === undefined ? undefined : membershipOf(before.event);
}

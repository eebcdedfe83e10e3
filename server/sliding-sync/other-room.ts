/** What one answer tells of a room that the user is invited to, knocks on, or is not in any more. */

import { type JsonObject, stringAt } from '#keys/json.ts';
import { loadNid } from '#rooms/load.ts';
import { stateAt } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as memberships from '#storage/memberships.ts';
import { textsFor } from '../sync/format.ts';
import { membershipBefore } from '../sync/other-rooms.ts';
import { BEGINNING, listJson } from '../sync/recent-timelines.ts';
import { strippedStateFor } from '../sync/stripped-state.ts';
import { timelinePart } from '../sync/timeline-part.ts';
import { type SlidingAnswer, type SlidingContext, timelineRequest } from './context.ts';
import {
  type RoomAsked,
  type RoomTold,
  roomJson,
  sinceOf,
  stableMembers,
  timelineMembers,
} from './joined-room.ts';
import { configOfKey } from './required-state.ts';
import type { OtherRoom } from './room-order.ts';
import { requiredState } from './state.ts';
import { listedOther } from './windows.ts';

/** Nothing where the client was told of this membership. */
export async function otherRoom(
  sliding: SlidingContext,
  answer: SlidingAnswer,
  other: OtherRoom,
  asked: RoomAsked,
): Promise<RoomTold> {
  const { sent, window } = asked;
  const { timelineLimit, key: stateKey } = window.config;
  const after = { timelineLimit, stateKey };
  const isNew = sent === undefined || other.position > sinceOf(sent, answer);
  const quiet: RoomTold = { json: undefined, sent: after, isInitial: false, timeline: [] };
  if (!isNew) return quiet;
  const isLeft = other.membership === 'leave' || other.membership === 'ban';
  const json = isLeft
    ? await leftRoom(sliding, answer, other, asked)
    : await strippedRoom(sliding, answer, other, asked);
  return { ...quiet, json, isInitial: sent === undefined };
}

/** "For rooms that the user is not currently joined to, this instead represents when the relevant membership happened." */
function commonMembers({ request }: SlidingAnswer, other: OtherRoom, { window }: RoomAsked): string[] {
  return [
    `"bump_stamp":${Math.max(0, other.position)}`,
    ...stableMembers(request, other.membership, window.lists),
  ];
}

async function strippedRoom(
  { sync }: SlidingContext,
  answer: SlidingAnswer,
  other: OtherRoom,
  asked: RoomAsked,
): Promise<string> {
  const state = await strippedStateFor(sync.server, other);
  return roomJson([
    ...commonMembers(answer, other, asked),
    // Whatever the client had of the room holds no more.
    '"initial":true',
    ...(asked.isDirect ? ['"is_dm":true'] : []),
    strippedMember(answer, state),
  ]);
}

/** "Rename `invite_state` to `stripped_state`." */
function strippedMember({ request }: SlidingAnswer, state: readonly JsonObject[]): string {
  const name = request.face === 'stable' ? 'stripped_state' : 'invite_state';
  return `"${name}":${JSON.stringify(state)}`;
}

/** Up to when the user left; undefined where there is nothing that they may be told. */
async function leftRoom(
  sliding: SlidingContext,
  answer: SlidingAnswer,
  other: OtherRoom,
  asked: RoomAsked,
): Promise<string | undefined> {
  const { server } = sliding.sync;
  const leaving = await loadNid(server, other.eventNid);
  // To forget a room is no change of the membership.
  const isForgotten = (await memberships.of(server.db, other.roomNid, other.userId))?.forgotten ?? true;
  if (asked.sent === undefined && isForgotten) return undefined;
  const wasIn = leaving !== undefined && (await membershipBefore(sliding.sync, leaving)) === 'join';
  if (leaving === undefined || !wasIn || isForgotten)
    return neverJoined(sliding, answer, other, { asked, leaving });

  const { config } = asked.window;
  const since = asked.sent && sinceOf(asked.sent, answer);
  const { position: upto } = other;
  const { roomNid, roomId } = other;
  const timeline = await timelinePart(
    sliding.sync,
    { request: timelineRequest(answer.request.requester, config.timelineLimit), user: answer.user },
    { roomNid, roomId, joinedAt: undefined },
    { after: since ?? BEGINNING, upto },
  );
  const before = asked.sent && configOfKey(asked.sent.stateKey);
  const listed = listedOther(other);
  const state = await requiredState(sliding, answer, listed, {
    ...{ config, before, since, upto, left: leaving, timeline },
  });
  const naming = since === undefined ? await namingThen(sliding, leaving) : [];
  return roomJson([
    ...commonMembers(answer, other, asked),
    ...(since === undefined ? ['"initial":true'] : []),
    ...naming,
    `"required_state":[${state.events.join(',')}]`,
    ...timelineMembers(answer, timeline, { isExpanded: false, isTold: true }),
  ]);
}

/** What the room was called when the user left: what it is called now is none of the user's business. */
async function namingThen({ sync }: SlidingContext, leaving: StoredEvent): Promise<string[]> {
  const [named] = await stateAt(sync.server, leaving, 'after', [{ type: 'm.room.name', stateKey: '' }]);
  const name = named && stringAt(named.event.content, 'name');
  return name === undefined || name === '' ? [] : [`"name":${JSON.stringify(name)}`];
}

/** Who was only invited, or has forgotten the room since, is told of no more than that they are not in it. */
async function neverJoined(
  { sync }: SlidingContext,
  answer: SlidingAnswer,
  other: OtherRoom,
  { asked, leaving }: { readonly asked: RoomAsked; readonly leaving: StoredEvent | undefined },
): Promise<string> {
  const common = [...commonMembers(answer, other, asked), '"initial":true'];
  const events = leaving === undefined ? [] : [leaving];
  if (answer.request.face === 'stable') {
    const stripped = events.map(({ event: { type, stateKey = '', sender, content } }) => {
      return { type, state_key: stateKey, sender, content };
    });
    return roomJson([...common, strippedMember(answer, stripped)]);
  }
  // That face says by the member event alone that the user is not in the room.
  const texts = await textsFor(sync.server, answer.request.requester, events, { withRoomId: false });
  return roomJson([...common, `"required_state":${listJson(texts)}`, `"timeline":${listJson(texts)}`]);
}

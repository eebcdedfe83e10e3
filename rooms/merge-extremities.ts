/**
 * A room's forward extremities, kept few. Each event that follows the same one as another adds to them: servers that do
 * not hear of each other, or one that means harm. All that is done in the room is then done for each of them: the
 * current state is the resolution of the states after all of them.
 *
 * 1. What our users send follows up to 20 of them, which thereby are one.
 * 2. Where they are more than 10 nevertheless, one of our members says nothing (`org.matrix.dummy_event`, as other
 *    servers do) that follows them. It is not pushed to the others, so that servers which all do so at once do not have
 *    each other do it again: they fetch it when something that they get cites it. Clients do not see it.
 * 3. Where nobody of ours may say even that, they may become 40. From then on an event that follows none of them is
 *    soft-failed, which loses nothing: it is brought back by the first event that follows it and one of the others.
 *    The state before an event rests on what it cites, and so all servers still agree on it.
 *
 * To drop the oldest instead would drop what they did, a ban for instance; and to fold their states into one without an
 * event would give a state that depends on the order in which they came, another one on each server.
 */

import { belongsTo, isUserId, type UserId } from '#keys/ids.ts';
import { objectAt } from '#keys/json.ts';
import * as memberships from '#storage/memberships.ts';
import type { RoomsContext } from './context.ts';
import { lineFrom, planOf, tryDraft } from './draft.ts';
import { membershipOf, stateMapKey } from './event.ts';
import { DUMMY_EVENT, persist } from './persist.ts';
import { policyOf } from './policy.ts';
import { creatorsOf, powerOf } from './power.ts';
import type { Room } from './room.ts';
import type { RoomHead } from './room-cache.ts';
import { headOf, headState } from './room-head.ts';

/** A room that is not attacked rarely has more than a few. */
export const FEW = 10;
/** How many of our users who have power of their own to look at. */
const MOST_CANDIDATES = 20;

/** Merges the forward extremities into one where they are too many, and a user of ours may. Under the room's lock. */
export async function mergeExtremities(ctx: RoomsContext, room: Room): Promise<void> {
  const head = await headOf(ctx, room.roomNid);
  if (head.forwardExtremities.length <= FEW) return;
  const sender = await memberWhoMaySend(ctx, room, head);
  // One that the room's policy server has not signed would merge nothing elsewhere.
  if (sender === undefined || (await policyOf(ctx, room, head)) !== undefined) return;
  const line = await lineFrom(ctx, room, head);
  const drafted = await tryDraft(ctx, line, {
    roomId: room.roomId,
    sender,
    type: DUMMY_EVENT,
    content: {},
  });
  // Where another writer was faster, the next event has it done.
  if (drafted.kind === 'ok') await persist(ctx, room, await planOf(ctx, line, false));
}

/** One of our joined users whose power suffices. */
async function memberWhoMaySend(ctx: RoomsContext, room: Room, head: RoomHead): Promise<UserId | undefined> {
  const state = await headState(ctx, head, [
    { type: 'm.room.create', stateKey: '' },
    { type: 'm.room.power_levels', stateKey: '' },
  ]);
  const create = state.get(stateMapKey('m.room.create', ''))?.event;
  const powerLevels = state.get(stateMapKey('m.room.power_levels', ''))?.event;
  const power = powerOf(create, powerLevels);
  const required = power.required(DUMMY_EVENT, 'message');
  const some = await memberships.someJoinedUser(ctx.db, room.roomNid, ctx.serverName);
  if (some !== undefined && power.of(some) >= required) return some;
  const named = [
    ...(create === undefined ? [] : creatorsOf(create)),
    ...Object.keys(objectAt(powerLevels?.content ?? {}, 'users') ?? {}),
  ];
  const candidates = named
    .filter(isUserId)
    .filter((userId) => belongsTo(userId, ctx.serverName) && power.of(userId) >= required)
    .slice(0, MOST_CANDIDATES);
  const members = await headState(
    ctx,
    head,
    candidates.map((userId) => ({ type: 'm.room.member', stateKey: userId })),
  );
  return candidates.find((userId) => {
    const member = members.get(stateMapKey('m.room.member', userId));
    return member !== undefined && membershipOf(member.event) === 'join';
  });
}

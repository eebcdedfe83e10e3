/** https://spec.matrix.org/v1.19/client-server-api/#stripped-state */

import type { JsonObject } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { loadNid } from '#rooms/load.ts';
import { currentStateEvents } from '#rooms/state.ts';
import * as invites from '#storage/invites.ts';
import type { MembershipRow } from '#storage/memberships.ts';

const STRIPPED_TYPES = [
  'm.room.create',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.join_rules',
  'm.room.canonical_alias',
  'm.room.encryption',
];

/**
 * What a user who is invited, or knocks, is shown of a room: what came with it, or, of a room that this
 * server is in, some of its state, the member event and that of its sender.
 */
export async function strippedStateFor(
  ctx: RoomsContext,
  row: Pick<MembershipRow, 'roomNid' | 'userId' | 'eventNid'>,
): Promise<readonly JsonObject[]> {
  const given = await invites.shownTo(ctx.db, row.roomNid, row.userId);
  if (given !== undefined) return given.state;
  const member = await loadNid(ctx, row.eventNid);
  const keys = STRIPPED_TYPES.map((type) => ({ type, stateKey: '' }));
  if (member !== undefined) keys.push({ type: 'm.room.member', stateKey: member.event.sender });
  const state = (await currentStateEvents(ctx, row.roomNid, keys)).map((stored) => stripped(stored.event));
  if (member === undefined || member.event.sender === row.userId) return state;
  return [...state, stripped(member.event)];
}

function stripped({ type, stateKey, sender, content }: Event): JsonObject {
  return { type, state_key: stateKey ?? '', sender, content };
}

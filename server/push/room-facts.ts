/** What push rules ask of a room at an event, looked up where a rule needs it. */

import type { UserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { powerOf } from '#rooms/power.ts';
import { stateAt } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { Lru } from '#storage/lru.ts';
import * as memberships from '#storage/memberships.ts';
import type { Facts } from './conditions.ts';

const MOST_ROOMS = 5_000;

/** "The current number of members in the room", counted once and again after the state has changed. */
export class MemberCounts {
  readonly #ctx: RoomsContext;
  readonly #known = new Lru<number, { readonly count: number; asOf: number }>({ maxEntries: MOST_ROOMS });

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  async of({ roomNid, roomId }: { readonly roomNid: number; readonly roomId: string }): Promise<number> {
    const { db, streams } = this.#ctx;
    const known = this.#known.get(roomNid);
    const upto = streams.upto();
    if (known !== undefined && !streams.mayConcern(`state:${roomId}`, known.asOf)) {
      known.asOf = upto;
      return known.count;
    }
    const { joined: count } = await memberships.countsIn(db, roomNid);
    this.#known.set(roomNid, { count, asOf: upto });
    return count;
  }
}

/** All that rules ask for: powers and the user's name by the state before the event. */
export async function factsAt(
  ctx: RoomsContext,
  stored: StoredEvent,
  userId: UserId,
  memberCount: number,
): Promise<Facts> {
  const state = await stateAt(ctx, stored, 'before', [
    { type: 'm.room.create', stateKey: '' },
    { type: 'm.room.power_levels', stateKey: '' },
    { type: 'm.room.member', stateKey: userId },
  ]);
  const byType = new Map(state.map(({ event }) => [event.type, event]));
  const member = byType.get('m.room.member');
  return {
    memberCount,
    power: powerOf(byType.get('m.room.create'), byType.get('m.room.power_levels')),
    displayName: (member && stringAt(member.content, 'displayname')) ?? null,
  };
}

/** Rooms as a resident server hands them over. */

import type { UserId } from '#keys/ids.ts';
import type { Adoption } from '#rooms/adopt.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import type { TestRoom } from './room-builder.ts';
import { verified } from './rooms.ts';

/** What a resident server would answer to the join, with `others` slipped into the state. */
export async function adoptionOf(
  ctx: RoomsContext,
  line: TestRoom,
  user: UserId,
  others: readonly Event[] = [],
): Promise<Adoption> {
  const state = [...line.stateMap.values()];
  const join = line.join(user);
  const authIds = [...state, join].flatMap((event) => event.authEvents);
  const chain = new Set(authIds);
  for (const eventId of chain) for (const id of line.events.get(eventId)?.authEvents ?? []) chain.add(id);
  const authChain = [...chain]
    .map((eventId) => line.events.get(eventId))
    .filter((event) => event !== undefined);
  const all = (list: readonly Event[]) => Promise.all(list.map((event) => verified(ctx, event)));
  return {
    rules: line.rules,
    join: await verified(ctx, join),
    state: await all([...state, ...others]),
    authChain: await all(authChain.reverse()),
  };
}

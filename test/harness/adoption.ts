/** Rooms as a resident server hands them over. */

import type { UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import type { Adoption } from '#rooms/told/adopt.ts';
import { ToldState } from '#rooms/told/told-state.ts';
import type { VerifiedEvent } from '#rooms/verified-event.ts';
import type { TestRoom } from './room-builder.ts';
import { verified } from './rooms.ts';

export interface AdoptionOptions {
  /** Slipped into the state. */
  readonly others?: readonly Event[];
  /** False for what the server leaves out. */
  readonly isTold?: (event: Event) => boolean;
}

/** What a resident server would answer to the join. */
export async function adoptionOf(
  ctx: RoomsContext,
  line: TestRoom,
  user: UserId,
  { others = [], isTold = () => true }: AdoptionOptions = {},
): Promise<Adoption> {
  const state = [...line.stateMap.values()];
  const join = line.join(user);
  const authIds = [...state, join].flatMap((event) => event.authEvents);
  const chain = new Set(authIds);
  for (const eventId of chain) for (const id of line.events.get(eventId)?.authEvents ?? []) chain.add(id);
  const authChain = [...chain]
    .map((eventId) => line.events.get(eventId))
    .filter((event) => event !== undefined);
  const all = (list: readonly Event[]) =>
    Promise.all(list.filter(isTold).map((event) => verified(ctx, event)));
  return told(await verified(ctx, join), await all([...state, ...others]), await all(authChain.reverse()));
}

/** Open as long as the process: who adopts a room may read it to the end. */
const opened: ToldState[] = [];

/** What a server has told of a room, whatever that is. */
export async function told(
  join: VerifiedEvent,
  state: readonly VerifiedEvent[],
  authChain: readonly VerifiedEvent[],
): Promise<Adoption> {
  const { rules } = join;
  const toldState = new ToldState(rules);
  opened.push(toldState);
  toldState.add('state', state);
  toldState.add('auth_chain', authChain);
  return { rules, join, told: toldState };
}

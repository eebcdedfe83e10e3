/** What becomes of an event: the checks on receipt of a PDU from the fifth on, as `receive.ts` names them. */

import { type AuthState, checkStateDependent } from './auth/check.ts';
import { authEventKeys, type StateKey } from './auth/select.ts';
import type { RoomsContext } from './context.ts';
import { type Event, stateMapKey } from './event.ts';
import { type Arrival, crowdedOut } from './extremities.ts';
import { unsignedBecause } from './policy.ts';
import type { ReceiveOptions } from './receive.ts';
import { REDACTER_KEYS } from './redaction.ts';
import { groupRef, resolveStates, type StateRef, stateOfRef } from './resolve-state.ts';
import type { Room } from './room.ts';
import type { RoomHead } from './room-cache.ts';
import { headState } from './room-head.ts';
import type { StoredEvent } from './stored-event.ts';

export interface Verdict {
  readonly status: 'accepted' | 'soft_failed' | 'rejected';
  readonly reason: string | undefined;
}

/** Checks 5 to 7. */
export async function verdictOn(
  ctx: RoomsContext,
  event: Event,
  on: {
    readonly refused: string | undefined;
    readonly before: AuthState;
    readonly how: Pick<ReceiveOptions, 'as' | 'isAdmitted'>;
    readonly current: Parameters<typeof currentStateFor>[2];
  },
): Promise<Verdict> {
  const rejected = on.refused ?? checkStateDependent(event, on.before)?.reason;
  if (rejected !== undefined) return { status: 'rejected', reason: rejected };
  // History is judged by its own time alone.
  if (on.how.as !== 'live') return { status: 'accepted', reason: undefined };
  // A room whose state we do not know yet has nothing to soft-fail by.
  if (on.current.head.stateGroup === 0) return { status: 'accepted', reason: undefined };
  const { room, head } = on.current;
  const reason =
    checkStateDependent(event, await currentStateFor(ctx, event, on.current))?.reason ??
    (on.how.isAdmitted === true ? undefined : await unsignedBecause(ctx, room, head, event));
  return reason === undefined ? { status: 'accepted', reason } : { status: 'soft_failed', reason };
}

/** Not a check of the specification: soft-fails what would be one line too many. */
export async function unlessCrowded(
  ctx: RoomsContext,
  head: RoomHead,
  verdict: Verdict,
  arriving: Pick<Arrival, 'event' | 'prevEvents'> & { readonly how: Pick<ReceiveOptions, 'as'> },
): Promise<Verdict> {
  if (verdict.status !== 'accepted' || arriving.how.as !== 'live') return verdict;
  const reason = await crowdedOut(ctx, head, arriving);
  return reason === undefined ? verdict : { status: 'soft_failed', reason };
}

/**
 * The current state, as far as the event is to be judged by it. Behind a gap in the graph ours is not up to date,
 * but who only pretends that there is a gap must not escape it: so it is resolved with the state before the event.
 */
async function currentStateFor(
  ctx: RoomsContext,
  event: Event,
  at: { readonly room: Room; readonly head: RoomHead; readonly gap: StateRef | undefined },
): Promise<AuthState> {
  const { room, head, gap } = at;
  if (gap === undefined) return stateToCheck(event, (keys) => headState(ctx, head, keys));
  const resolved = await resolveStates(ctx, room, [groupRef(head.stateGroup), gap]);
  return stateToCheck(event, (keys) => stateOfRef(ctx, resolved, keys));
}

/** What the rules look at for this event, and what a redaction is judged by, of some state. */
export async function stateToCheck(
  event: Event,
  read: (keys: readonly StateKey[]) => Promise<ReadonlyMap<string, StoredEvent>>,
): Promise<AuthState> {
  const state = await read([...REDACTER_KEYS, ...authEventKeys(event, event.rules)]);
  return { get: (type, stateKey) => state.get(stateMapKey(type, stateKey))?.event };
}

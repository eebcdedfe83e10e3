import type { AuthState } from './auth/check.ts';
import { authEventKeys } from './auth/select.ts';
import type { RoomsReader } from './context.ts';
import { type Event, stateMapKey } from './event.ts';
import { type StateRef, stateOfRef } from './resolve-state.ts';

/** What the authorisation rules look at for an event, of some state. */
export async function authStateIn(ctx: RoomsReader, state: StateRef, event: Event): Promise<AuthState> {
  const keys = [{ type: 'm.room.create', stateKey: '' }, ...authEventKeys(event, event.rules)];
  const found = await stateOfRef(ctx, state, keys);
  return { get: (type, stateKey) => found.get(stateMapKey(type, stateKey))?.event };
}

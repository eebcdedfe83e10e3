import { type Event, membershipOf } from '../event.ts';

/** State events by `stateMapKey`. */
export type StateMap = ReadonlyMap<string, Event>;

/** The state by which an event is judged. */
export interface AuthState {
  get(type: string, stateKey: string): Event | undefined;
}

/** A user's membership; undefined where they have had none. */
export function membershipIn(state: AuthState, userId: string): string | undefined {
  const event = state.get('m.room.member', userId);
  return event === undefined ? undefined : membershipOf(event);
}

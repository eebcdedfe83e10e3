import type { PublicKey } from '#keys/ed25519.ts';
import type { RoomsContext, RoomsReader } from '../context.ts';

/** What checking takes. */
export interface CheckContext extends RoomsReader, Pick<RoomsContext, 'serverName'> {
  /** Our own keys, present and old, by key id: without them our signatures are not checked. */
  readonly ownKeys?: ReadonlyMap<string, PublicKey>;
}

export interface CheckOptions {
  /**
   * `state`: the current state, who is a member, and the newest events. `events`: also each event by itself and with
   * what it cites, and some forks. `whole`: all forks are resolved again.
   */
  readonly depth: 'state' | 'events' | 'whole';
  /** Told how many more events have been looked at, every few hundred. */
  readonly onProgress?: (events: number) => void;
}

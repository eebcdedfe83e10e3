import type { RoomsContext, RoomsReader } from '../context.ts';

/** What deleting takes. */
export type PurgeContext = RoomsReader & Pick<RoomsContext, 'serverName' | 'roomLocks' | 'clock'>;

/** What became of a purge in this run. */
export type PurgeResult =
  | {
      readonly kind: 'done';
      /** Events that are gone, since the purge began. */
      readonly deleted: number;
      /** State events that left the timeline in this run. */
      readonly withdrawn: number;
      /** Events that were to go and did not, since something still refers to them. */
      readonly kept: number;
    }
  /** The whole room goes, but other servers are still to be told that our users have left. */
  | { readonly kind: 'waiting' }
  /** A user of ours is in the room again. */
  | { readonly kind: 'in_use' }
  /** Ended by the signal; the next run goes on. */
  | { readonly kind: 'interrupted' };

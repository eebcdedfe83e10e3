/** Who waits: told once how that ended. */
export interface Waiter {
  end(how: 'woken' | 'aborted'): void;
}

/**
 * Keys that are waited for again and again, and often by several at once, such as the rooms of a user: that these are
 * many is paid for once. `Streams.follow` makes one, which is released when it is not needed any more.
 */
export interface Follower {
  readonly keys: ReadonlySet<string>;
}

export class KnownFollower implements Follower {
  readonly keys = new Set<string>();
  readonly waiters = new Set<Waiter>();
  /** False where nobody waits with it and nobody is expected to: then its keys do not lead to it. */
  isFollowing = true;
  isReleased = false;
}

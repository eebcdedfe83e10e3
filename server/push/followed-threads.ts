/** Which threads a user follows (MSC4306), as the push rules ask for them. */

import type { UserId } from '#keys/ids.ts';
import type { Database } from '#storage/database.ts';
import * as threadSubscriptions from '#storage/thread-subscriptions.ts';
import { threadKey } from './conditions.ts';

export interface FollowedThreads {
  /** As `threadKey`. */
  readonly keys: ReadonlySet<string>;
  /** By room, where the user last said something of a thread there. */
  readonly changes: ReadonlyMap<string, number>;
  /** Where the user last said something. */
  readonly changedAt: number;
  /** What was said up to here is in it. */
  readonly upto: number;
}

/** Of those of whom the user said something last: who follows more is told of the others as if they did not. */
const MOST_THREADS = 10_000;

/** The threads that a user follows, by what is known and what came since. The same as before where nothing came. */
export async function followedThreads(
  db: Database,
  userId: UserId,
  { known, upto }: { readonly known: FollowedThreads | undefined; readonly upto: number },
): Promise<FollowedThreads> {
  const range = { after: known?.upto ?? 0, upto, limit: MOST_THREADS };
  const said = await threadSubscriptions.newestFirst(db, userId, range);
  if (known !== undefined && said.length === 0) return known;
  const keys = new Set(known?.keys);
  const changes = new Map(known?.changes);
  for (const { roomId, rootId, subscribed, position } of said.reverse()) {
    const key = threadKey(roomId, rootId);
    keys.delete(key);
    if (subscribed) keys.add(key);
    changes.set(roomId, position);
  }
  for (const key of keys) {
    if (keys.size <= MOST_THREADS) break;
    keys.delete(key);
  }
  const changedAt = Math.max(known?.changedAt ?? 0, ...said.slice(-1).map(({ position }) => position));
  return { keys, changes, changedAt, upto };
}

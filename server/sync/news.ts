/**
 * The rooms of a user where something has happened. Found from what happened, not by asking each room: a user of
 * thousands of rooms waits for news of a few.
 */

import * as memberships from '#storage/memberships.ts';
import type { SyncContext } from './context.ts';
import type { JoinedRoom, SyncUser } from './sync-users.ts';

/** Positions that are looked at for users of few rooms too. */
const FEW = 100;

/** The user's rooms in which there may be something new since a position. */
export async function roomsWithNews(
  { server }: SyncContext,
  user: SyncUser,
  since: number,
): Promise<ReadonlySet<JoinedRoom>> {
  const { streams, typing, db } = server;
  const found = new Set<JoinedRoom>();
  // Those that the user came into, since the room's own news may be older.
  for (let at = user.joined.length - 1; at >= 0; at--) {
    const room = user.joined[at];
    if (room === undefined || room.joinedAt <= since) break;
    found.add(room);
  }
  const recent = streams.keysSince(since, Math.max(FEW, user.joined.length));
  if (recent !== undefined) {
    for (const key of recent) {
      const room = user.joinedByKey.get(key);
      if (room !== undefined) found.add(room);
    }
    return found;
  }
  const isKnown = streams.remembers(since);
  // After a restart nothing is known by its key: one query for all rooms is cheaper than several for each.
  const stored = isKnown ? undefined : await memberships.roomsWithNews(db, user.userId, since);
  for (const room of user.joined) {
    const hasNews = stored?.has(room.roomNid) ?? streams.mayConcern(room.keys.any, since);
    if (hasNews || typing.lastPosition(room.roomId) > since) found.add(room);
  }
  return found;
}

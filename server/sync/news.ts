/**
 * The rooms of a user where something has happened. Found from what happened, not by asking each room: a user of
 * thousands of rooms waits for news of a few.
 */

import { portionsOf, Slices } from '#rooms/slices.ts';
import * as lastPositions from '#storage/last-positions.ts';
import type { ServerContext } from '../context.ts';
import type { SyncContext } from './context.ts';
import type { JoinedRoom, SyncUser } from './sync-users.ts';

/** Positions that are looked at for users of few rooms too. */
const FEW = 100;
const DEVICE_LISTS = 'device_lists';

/** The user's rooms in which there may be something new since a position. */
export async function roomsWithNews(
  { server }: SyncContext,
  user: SyncUser,
  since: number,
): Promise<ReadonlySet<JoinedRoom>> {
  const { streams, typing } = server;
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
  if (!streams.remembers(since)) await recall(server, user.joined);
  for (const room of user.joined) {
    if (streams.mayConcern(room.keys.any, since) || typing.lastPosition(room.roomId) > since) found.add(room);
  }
  return found;
}

/**
 * After a restart the streams know nothing of what was before. What is stored says when something last happened, in one
 * query for all rooms that nobody has asked for yet: where nothing did there is nothing to look for.
 */
async function recall({ streams, db }: ServerContext, rooms: readonly JoinedRoom[]): Promise<void> {
  const asOf = streams.upto();
  if (!streams.knows(DEVICE_LISTS)) {
    streams.recall(DEVICE_LISTS, await lastPositions.ofDeviceLists(db), asOf);
  }
  const unknown = new Map<number, JoinedRoom>();
  for (const room of rooms) if (!streams.knows(room.keys.any)) unknown.set(room.roomNid, room);
  const slices = new Slices();
  for (const roomNids of portionsOf(unknown.keys())) {
    for (const { roomNid, event, state, receipt } of await lastPositions.inRooms(db, roomNids)) {
      const keys = unknown.get(roomNid)?.keys;
      if (keys === undefined) continue;
      streams.recall(keys.any, Math.max(event, state, receipt), asOf);
      streams.recall(keys.state, state, asOf);
      streams.recall(keys.receipts, receipt, asOf);
    }
    await slices.rest();
  }
}

import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';
import type { Streams } from './streams.ts';

const UPSERT = sql<[string, number]>(
  'deviceLists.upsert',
  `INSERT INTO device_lists (user_id, position) VALUES (?, ?)
   ON CONFLICT (user_id) DO UPDATE SET position = excluded.position`,
);

const ROOMS_OF_USER = sql<[string], { room_id: string }>(
  'deviceLists.roomsOfUser',
  `SELECT r.room_id FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
   WHERE m.user_id = ? AND m.membership = 'join' ORDER BY r.room_id`,
);

/** Whose devices changed, among the users that share a room with ?1 and the user alone. */
const CHANGED_DEVICES = sql<[number, number, string, string], { user_id: UserId }>(
  'deviceLists.changedDevices',
  `SELECT d.user_id FROM device_lists d
   WHERE d.position > ? AND d.position <= ?
     AND (d.user_id = ? OR EXISTS (
       SELECT 1 FROM memberships mine JOIN memberships theirs ON theirs.room_nid = mine.room_nid
       WHERE mine.user_id = ? AND mine.membership = 'join'
         AND theirs.user_id = d.user_id AND theirs.membership = 'join'))
   ORDER BY d.user_id`,
);

/** Users that came to share a room: they joined one of mine, or I joined one of theirs. */
const NEWLY_SHARED = sql<[string, number, number, number, number], { user_id: UserId }>(
  'deviceLists.newlyShared',
  `SELECT DISTINCT theirs.user_id FROM memberships mine
   JOIN memberships theirs ON theirs.room_nid = mine.room_nid AND theirs.membership = 'join'
   WHERE mine.user_id = ? AND mine.membership = 'join'
     AND ((theirs.position > ? AND theirs.position <= ?) OR (mine.position > ? AND mine.position <= ?))
   ORDER BY theirs.user_id`,
);

/** Users that ceased to share one: they left a room of mine, or I left one of theirs, and no other is left. */
const NO_LONGER_SHARED = sql<[string, number, number, number, number, string, string], { user_id: UserId }>(
  'deviceLists.noLongerShared',
  `SELECT DISTINCT theirs.user_id FROM memberships mine
   JOIN memberships theirs ON theirs.room_nid = mine.room_nid
   WHERE mine.user_id = ?
     AND ((theirs.position > ? AND theirs.position <= ? AND theirs.membership IN ('leave', 'ban'))
       OR (mine.position > ? AND mine.position <= ? AND mine.membership IN ('leave', 'ban')))
     AND theirs.user_id <> ?
     AND NOT EXISTS (
       SELECT 1 FROM memberships m JOIN memberships t ON t.room_nid = m.room_nid
       WHERE m.user_id = ? AND m.membership = 'join'
         AND t.user_id = theirs.user_id AND t.membership = 'join')
   ORDER BY theirs.user_id`,
);

/** Says that a user's devices or their keys changed, to all that share a room with the user. */
export async function markChanged(tx: Tx, streams: Streams, userId: UserId): Promise<void> {
  const rooms = await tx.all(ROOMS_OF_USER, userId);
  const hints = [`user:${userId}`, 'device_lists', ...rooms.map((row) => `room:${row.room_id}`)];
  await tx.run(UPSERT, userId, streams.allocate(tx, hints));
}

/**
 * What /sync and /keys/changes say of other users' devices between two positions: whose keys must be asked
 * for again, and who no longer shares a room.
 * https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
 */
export async function changedSince(
  reader: Reader,
  userId: UserId,
  range: { after: number; upto: number },
): Promise<{ changed: UserId[]; left: UserId[] }> {
  const { after, upto } = range;
  const devices = await reader.all(CHANGED_DEVICES, after, upto, userId, userId);
  const shared = await reader.all(NEWLY_SHARED, userId, after, upto, after, upto);
  const left = await reader.all(NO_LONGER_SHARED, userId, after, upto, after, upto, userId, userId);
  const changed = new Set([...devices, ...shared].map((row) => row.user_id));
  return { changed: [...changed], left: left.map((row) => row.user_id) };
}

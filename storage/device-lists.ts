import type { UserId } from '#keys/ids.ts';
import type { Database, Reader, Tx } from './database.ts';
import * as outgoing from './outgoing-device-lists.ts';
import { anyOf, sql } from './sql.ts';
import type { Streams } from './streams.ts';

/** The last `m.device_list_update` of one of our users. */
export interface LastUpdate {
  readonly streamId: number;
  /** 0 where there was none before it. */
  readonly prevStreamId: number;
  readonly deviceId: string;
}

const MOST_POSITIONS_AT_ONCE = 10_000;

const UPSERT = sql<[string, number]>(
  'deviceLists.upsert',
  `INSERT INTO device_lists (user_id, position) VALUES (?, ?)
   ON CONFLICT (user_id) DO UPDATE SET position = excluded.position`,
);

const SET_LAST_UPDATE = sql<[number, number, string, string]>(
  'deviceLists.setLastUpdate',
  'UPDATE device_lists SET stream_id = ?, prev_stream_id = ?, device_id = ? WHERE user_id = ?',
);

const LAST_UPDATE = sql<[string], { stream_id: number; prev_stream_id: number; device_id: string | null }>(
  'deviceLists.lastUpdate',
  'SELECT stream_id, prev_stream_id, device_id FROM device_lists WHERE user_id = ?',
);

const POSITIONS = sql<[string], { user_id: UserId; position: number }>(
  'deviceLists.positions',
  'SELECT user_id, position FROM device_lists WHERE user_id {anyOf} ORDER BY user_id',
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

/** Users whose keys the user has signed: the user's other devices are to see that. */
const NEWLY_SIGNED = sql<[string, number, number], { user_id: UserId }>(
  'deviceLists.newlySigned',
  `SELECT DISTINCT target_user_id AS user_id FROM key_signatures
   WHERE user_id = ? AND position > ? AND position <= ? ORDER BY target_user_id`,
);

/** Users that came to share a room: they joined one of mine, or I joined one of theirs. */
const NEWLY_SHARED = sql<[number, number, string, string, number, number], { user_id: UserId }>(
  'deviceLists.newlyShared',
  `SELECT theirs.user_id FROM memberships theirs
   WHERE theirs.joined_position > ? AND theirs.joined_position <= ? AND theirs.membership = 'join'
     AND EXISTS (SELECT 1 FROM memberships mine
       WHERE mine.room_nid = theirs.room_nid AND mine.user_id = ? AND mine.membership = 'join')
   UNION
   SELECT theirs.user_id FROM memberships mine
   JOIN memberships theirs ON theirs.room_nid = mine.room_nid AND theirs.membership = 'join'
   WHERE mine.user_id = ? AND mine.membership = 'join' AND mine.joined_position > ? AND mine.joined_position <= ?
   ORDER BY 1`,
);

/**
 * Users that ceased to share one: they left a room of mine, or I left one of theirs, and no other is left. Nobody is
 * told who was in a room before or after, nor one who was only invited who is in it.
 */
const NO_LONGER_SHARED = sql<
  [number, number, string, string, number, number, number, string, string],
  { user_id: UserId }
>(
  'deviceLists.noLongerShared',
  `SELECT ended.user_id FROM (
     SELECT theirs.user_id FROM memberships theirs
     WHERE theirs.left_position > ? AND theirs.left_position <= ? AND theirs.left_position > 0
       AND theirs.membership <> 'join' AND EXISTS (SELECT 1 FROM memberships mine
         WHERE mine.room_nid = theirs.room_nid AND mine.user_id = ?
           AND (mine.membership = 'join' OR mine.left_position >= theirs.left_position))
     UNION
     SELECT theirs.user_id FROM memberships mine
     JOIN memberships theirs ON theirs.room_nid = mine.room_nid
     WHERE mine.user_id = ? AND mine.membership <> 'join' AND mine.left_position > ? AND mine.left_position <= ?
       AND theirs.joined_position < mine.left_position
       AND (theirs.membership = 'join' OR theirs.left_position > ?)) ended
   WHERE ended.user_id <> ?
     AND NOT EXISTS (
       SELECT 1 FROM memberships m JOIN memberships t ON t.room_nid = m.room_nid
       WHERE m.user_id = ? AND m.membership = 'join'
         AND t.user_id = ended.user_id AND t.membership = 'join')
   ORDER BY ended.user_id`,
);

/**
 * Says that the devices of one of our users have changed, to all that share a room with the user, here and on other
 * servers: each is an update of its own.
 */
export async function devicesChanged(
  tx: Tx,
  streams: Streams,
  userId: UserId,
  deviceIds: readonly string[],
): Promise<void> {
  let prevStreamId = (await lastUpdateOf(tx, userId))?.streamId ?? 0;
  // Each goes on from the one before. A user has few.
  for (const deviceId of deviceIds) {
    const streamId = await markChanged(tx, streams, userId);
    await tx.run(SET_LAST_UPDATE, streamId, prevStreamId, deviceId, userId);
    await outgoing.addUpdate(tx, userId, { deviceId, streamId, prevStreamId });
    prevStreamId = streamId;
  }
}

/** As `devicesChanged`, of the cross-signing keys of one of our users. */
export async function signingKeysChanged(tx: Tx, streams: Streams, userId: UserId): Promise<void> {
  await markChanged(tx, streams, userId);
  await outgoing.addSigningKeys(tx, userId);
}

/**
 * Says here that a user's devices or keys have changed, to all that share a room with the user; answers the position.
 * `hint` is announced besides.
 */
export async function markChanged(
  tx: Tx,
  streams: Streams,
  userId: UserId,
  hint: readonly string[] = [],
): Promise<number> {
  const rooms = await tx.all(ROOMS_OF_USER, userId);
  const hints = [`user:${userId}`, 'device_lists', ...rooms.map((row) => `room:${row.room_id}`), ...hint];
  const position = streams.allocate(tx, hints);
  await tx.run(UPSERT, userId, position);
  return position;
}

/** The last update of one of our users; undefined where there was none. */
export async function lastUpdateOf(reader: Reader, userId: UserId): Promise<LastUpdate | undefined> {
  const row = await reader.get(LAST_UPDATE, userId);
  if (row === undefined || row.device_id === null) return undefined;
  return { streamId: row.stream_id, prevStreamId: row.prev_stream_id, deviceId: row.device_id };
}

/** The positions at which users' devices were last said to have changed; those of whom that was never said are absent. */
export async function positionsOf(
  reader: Reader,
  userIds: readonly UserId[],
): Promise<ReadonlyMap<UserId, number>> {
  return new Map((await reader.all(POSITIONS, anyOf(userIds))).map((row) => [row.user_id, row.position]));
}

/**
 * What /sync and /keys/changes say of other users' devices between two positions: whose keys must be asked
 * for again, and who no longer shares a room.
 * https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
 */
export async function changedSince(
  db: Pick<Database, 'all' | 'scan'>,
  userId: UserId,
  range: { after: number; upto: number },
): Promise<{ changed: UserId[]; left: UserId[] }> {
  const { after, upto } = range;
  // Of one who was away for long everything that has happened on the server since is looked through.
  const read: Database['all'] =
    upto - after > MOST_POSITIONS_AT_ONCE ? (...query) => db.scan(...query) : (...query) => db.all(...query);
  const devices = await read(CHANGED_DEVICES, after, upto, userId, userId);
  const signed = await read(NEWLY_SIGNED, userId, after, upto);
  const shared = await read(NEWLY_SHARED, after, upto, userId, userId, after, upto);
  const leaves = [after, upto, userId, userId, after, upto, after, userId, userId] as const;
  const left = await read(NO_LONGER_SHARED, ...leaves);
  const changed = new Set([...devices, ...signed, ...shared].map((row) => row.user_id));
  return { changed: [...changed], left: left.map((row) => row.user_id) };
}

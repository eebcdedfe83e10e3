import type { ServerName, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

const ADD = sql<[string, number]>(
  'erasedUsers.add',
  `INSERT INTO erased_users (user_id, position) VALUES (?, ?) ON CONFLICT (user_id) DO NOTHING`,
);
const REMOVE = sql<[string]>('erasedUsers.remove', 'DELETE FROM erased_users WHERE user_id = ?');
const AMONG = sql<[string], { user_id: UserId; position: number }>(
  'erasedUsers.among',
  'SELECT user_id, position FROM erased_users WHERE user_id {anyOf} ORDER BY user_id',
);
const CAME_IN = sql<[number, string], { joined_position: number }>(
  'erasedUsers.cameIn',
  'SELECT joined_position FROM memberships WHERE room_nid = ? AND user_id = ?',
);
// It orders by what is equal anyhow: by user_id SQLite would walk over all members in that order.
const SERVER_CAME_IN = sql<[number, string], { joined_position: number }>(
  'erasedUsers.serverCameIn',
  `SELECT MIN(joined_position) AS joined_position FROM memberships
   WHERE room_nid = ? AND membership = 'join' AND server_name = ?
   GROUP BY server_name ORDER BY server_name`,
);

/** Notes that a user is erased from a position on. */
export async function add(tx: Tx, userId: UserId, position: number): Promise<void> {
  await tx.run(ADD, userId, position);
}

/** Ends the erasure of a user who is back. */
export async function remove(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE, userId);
}

/** Those of the users who are erased, each with the position from which on they are. */
export async function among(
  reader: Reader,
  userIds: readonly UserId[],
): Promise<ReadonlyMap<UserId, number>> {
  return new Map((await reader.all(AMONG, anyOf(userIds))).map((row) => [row.user_id, row.position]));
}

/** The position at which a user last came into a room; undefined for one who never did. */
export async function cameIn(reader: Reader, roomNid: number, userId: UserId): Promise<number | undefined> {
  return (await reader.get(CAME_IN, roomNid, userId))?.joined_position;
}

/** The position at which the first of those users of a server came into a room who are in it still. */
export async function serverCameIn(
  reader: Reader,
  roomNid: number,
  server: ServerName,
): Promise<number | undefined> {
  return (await reader.get(SERVER_CAME_IN, roomNid, server))?.joined_position;
}

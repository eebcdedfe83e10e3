/** Some of a room's members: the first of them, and those of one server. */

import type { ServerName, UserId } from '#keys/ids.ts';
import type { Reader } from './database.ts';
import type { Membership } from './memberships.ts';
import { anyOf, sql } from './sql.ts';

interface Row {
  user_id: UserId;
}

const FIRST = sql<[number, string, string, number], Row>(
  'roomMembers.first',
  `SELECT user_id FROM memberships
   WHERE room_nid = ? AND membership {anyOf} AND user_id <> ? ORDER BY position, user_id LIMIT ?`,
);

/** Names every membership, so that the index on (room_nid, membership, server_name) serves. */
const OF_SERVER = sql<[number, string], Row>(
  'roomMembers.ofServer',
  `SELECT user_id FROM memberships
   WHERE room_nid = ? AND membership IN ('join', 'invite', 'leave', 'ban', 'knock') AND server_name = ?
   ORDER BY CASE membership WHEN 'join' THEN 0 ELSE 1 END, position, user_id`,
);

/** The first users with some memberships, in the order of their last change, without one user. */
export async function first(
  reader: Reader,
  roomNid: number,
  which: { readonly memberships: readonly Membership[]; readonly besides: UserId; readonly limit: number },
): Promise<UserId[]> {
  const rows = await reader.all(FIRST, roomNid, anyOf(which.memberships), which.besides, which.limit);
  return rows.map((row) => row.user_id);
}

/** Every user of a server who is or ever was a member in any way, those joined first, the oldest before others. */
export async function ofServer(reader: Reader, roomNid: number, server: ServerName): Promise<UserId[]> {
  return (await reader.all(OF_SERVER, roomNid, server)).map((row) => row.user_id);
}

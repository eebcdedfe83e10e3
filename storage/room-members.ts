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
   WHERE room_nid = ? AND membership {anyOf} AND NOT (user_id {anyOf}) ORDER BY position, user_id LIMIT ?`,
);

/** Names every membership, so that the index on (room_nid, membership, server_name) serves. */
const OF_SERVER = sql<[number, string], Row>(
  'roomMembers.ofServer',
  `SELECT user_id FROM memberships
   WHERE room_nid = ? AND membership IN ('join', 'invite', 'leave', 'ban', 'knock') AND server_name = ?
   ORDER BY CASE membership WHEN 'join' THEN 0 ELSE 1 END, position, user_id`,
);

const INVITED_OF_SERVER = sql<[number, string], Row>(
  'roomMembers.invitedOfServer',
  `SELECT user_id FROM memberships
   WHERE room_nid = ? AND membership = 'invite' AND server_name = ? ORDER BY server_name LIMIT 1`,
);

/** The first users with some memberships, in the order of their last change, without some users. */
export async function first(
  reader: Reader,
  roomNid: number,
  which: {
    readonly memberships: readonly Membership[];
    readonly besides: readonly string[];
    readonly limit: number;
  },
): Promise<UserId[]> {
  const rows = await reader.all(FIRST, roomNid, anyOf(which.memberships), anyOf(which.besides), which.limit);
  return rows.map((row) => row.user_id);
}

/** Every user of a server who is or ever was a member in any way, those joined first, the oldest before others. */
export async function ofServer(reader: Reader, roomNid: number, server: ServerName): Promise<UserId[]> {
  return (await reader.all(OF_SERVER, roomNid, server)).map((row) => row.user_id);
}

/** True where a user of the server is invited. */
export async function serverIsInvited(reader: Reader, roomNid: number, server: ServerName): Promise<boolean> {
  return (await reader.get(INVITED_OF_SERVER, roomNid, server)) !== undefined;
}

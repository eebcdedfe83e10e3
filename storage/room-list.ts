/** The rooms that the server knows, for the operator. */

import type { RoomId, ServerName } from '#keys/ids.ts';
import type { Reader } from './database.ts';
import { sql } from './sql.ts';

export interface ListedRoom {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly version: string;
  readonly joined: number;
  /** Of our own server. */
  readonly ours: number;
  /** The event of its name. */
  readonly nameNid: number | undefined;
  readonly isPublished: boolean;
  readonly isBlocked: boolean;
  readonly isBeingPurged: boolean;
}

interface Row {
  room_nid: number;
  room_id: RoomId;
  version: string;
  joined: number;
  ours: number;
  name_nid: number | null;
  published: number;
  blocked: number;
  purged: number;
}

const PAGE = sql<[string, number, number], Row>(
  'roomList.page',
  `SELECT r.room_nid, r.room_id, r.version,
     (SELECT COUNT(*) FROM memberships m WHERE m.room_nid = r.room_nid AND m.membership = 'join') AS joined,
     (SELECT COUNT(*) FROM memberships m
      WHERE m.room_nid = r.room_nid AND m.membership = 'join' AND m.server_name = ?) AS ours,
     (SELECT c.event_nid FROM current_state c
      WHERE c.room_nid = r.room_nid AND c.type = 'm.room.name' AND c.state_key = '') AS name_nid,
     (SELECT COUNT(*) FROM published_rooms d WHERE d.room_nid = r.room_nid) AS published,
     (SELECT COUNT(*) FROM blocked_rooms b WHERE b.room_id = r.room_id) AS blocked,
     (SELECT COUNT(*) FROM purges g WHERE g.room_nid = r.room_nid) AS purged
   FROM rooms r WHERE r.room_nid > ? ORDER BY r.room_nid LIMIT ?`,
);

/** Rooms in the order in which the server came to know them, those after a numeric id. */
export async function page(
  reader: Reader,
  serverName: ServerName,
  afterNid: number,
  limit: number,
): Promise<ListedRoom[]> {
  const rows = await reader.all(PAGE, serverName, afterNid, limit);
  return rows.map((row) => ({
    roomNid: row.room_nid,
    roomId: row.room_id,
    version: row.version,
    joined: row.joined,
    ours: row.ours,
    nameNid: row.name_nid ?? undefined,
    isPublished: row.published > 0,
    isBlocked: row.blocked > 0,
    isBeingPurged: row.purged > 0,
  }));
}

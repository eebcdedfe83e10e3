import type { RoomId, ServerName } from '#keys/ids.ts';
import type { Reader } from './database.ts';
import { sql } from './sql.ts';

/** A room that two servers have users in. */
export interface SharedRoom {
  readonly roomId: RoomId;
  /** Of its current `m.room.server_acl`; undefined where it has none. */
  readonly aclNid: number | undefined;
}

const LIST = sql<[string, string, number], { room_id: RoomId; event_nid: number | null }>(
  'sharedRooms.list',
  `SELECT r.room_id, c.event_nid FROM rooms r
   LEFT JOIN current_state c ON c.room_nid = r.room_nid AND c.type = 'm.room.server_acl' AND c.state_key = ''
   WHERE EXISTS (SELECT 1 FROM memberships m
                 WHERE m.room_nid = r.room_nid AND m.membership = 'join' AND m.server_name = ?)
     AND EXISTS (SELECT 1 FROM memberships m
                 WHERE m.room_nid = r.room_nid AND m.membership = 'join' AND m.server_name = ?)
   ORDER BY r.room_nid LIMIT ?`,
);

/** The first `limit` rooms that both servers have users in. For a `scan`-capable reader: it goes through all rooms. */
export async function list(
  reader: { scan: Reader['all'] },
  servers: { readonly ours: ServerName; readonly theirs: ServerName },
  limit: number,
): Promise<SharedRoom[]> {
  const rows = await reader.scan(LIST, servers.ours, servers.theirs, limit);
  return rows.map((row) => ({ roomId: row.room_id, aclNid: row.event_nid ?? undefined }));
}

import type { RoomId, ServerName, UserId } from '#keys/ids.ts';
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

const MUTUAL = `FROM memberships ours
   JOIN memberships theirs ON theirs.room_nid = ours.room_nid AND theirs.membership = 'join'
   JOIN rooms r ON r.room_nid = ours.room_nid
   WHERE ours.user_id = ? AND ours.membership = 'join' AND theirs.user_id = ?`;
const MUTUAL_PAGE = sql<[string, string, number, number], { room_id: RoomId; joined_position: number }>(
  'sharedRooms.mutual',
  `SELECT r.room_id, ours.joined_position ${MUTUAL} AND ours.joined_position > ?
   ORDER BY ours.joined_position, r.room_id LIMIT ?`,
);
const MUTUAL_COUNT = sql<[string, string], { rooms: number }>(
  'sharedRooms.countMutual',
  `SELECT COUNT(*) AS rooms ${MUTUAL}`,
);

/**
 * The rooms in which two users are, in the order in which the first of them came into these, from after a position on.
 * `end` is where the next page begins; undefined where there is none.
 */
export async function mutual(
  reader: Reader,
  [ours, theirs]: readonly [UserId, UserId],
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<{ rooms: RoomId[]; count: number; end: number | undefined }> {
  const rows = await reader.all(MUTUAL_PAGE, ours, theirs, after, limit);
  const count = (await reader.get(MUTUAL_COUNT, ours, theirs))?.rooms ?? 0;
  const end = rows.length === limit ? rows.at(-1)?.joined_position : undefined;
  return { rooms: rows.map((row) => row.room_id), count, end };
}

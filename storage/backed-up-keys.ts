import type { RoomId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { rows, sql } from './sql.ts';
import { fromTextColumn, textColumn } from './text-column.ts';

/** The key of a room's session, in a backup. */
export interface BackedUpKey {
  readonly roomId: RoomId;
  readonly sessionId: string;
  readonly firstMessageIndex: number;
  readonly forwardedCount: number;
  readonly isVerified: boolean;
  /** The text of a JSON object. */
  readonly sessionData: string;
}

/** One key, the keys of one room, or all keys of a backup. */
export interface KeysOf {
  readonly backupNid: number;
  readonly roomId?: string;
  readonly sessionId?: string;
}

interface Row {
  room_id: RoomId;
  session_id: string;
  first_message_index: number;
  forwarded_count: number;
  is_verified: number;
  session_data_json: string;
}

const COLUMNS = 'room_id, session_id, first_message_index, forwarded_count, is_verified, session_data_json';

const HOW_MANY_OF = sql<[string, number], { total: number }>(
  'backedUpKeys.howManyOf',
  `SELECT count(*) AS total FROM {rows} WHERE EXISTS (
     SELECT 1 FROM backed_up_keys WHERE backup_nid = ? AND room_id = value ->> 0 AND session_id = value ->> 1)`,
);
/**
 * "if the keys have different values for is_verified, then it will keep the key that has is_verified set to true; if
 * they have the same values for is_verified, then it will keep the key with a lower first_message_index; and finally,
 * [if] is_verified and first_message_index are equal, then it will keep the key with a lower forwarded_count."
 */
const ADD = sql<[number, string]>(
  'backedUpKeys.add',
  `INSERT INTO backed_up_keys (backup_nid, ${COLUMNS})
   SELECT CAST(? AS {int}), value ->> 0, value ->> 1, CAST(value ->> 2 AS {int}), CAST(value ->> 3 AS {int}),
     CAST(value ->> 4 AS {int}), value ->> 5
   FROM {rows} WHERE true
   ON CONFLICT (backup_nid, room_id, session_id) DO UPDATE SET
     first_message_index = excluded.first_message_index, forwarded_count = excluded.forwarded_count,
     is_verified = excluded.is_verified, session_data_json = excluded.session_data_json
   WHERE excluded.is_verified > backed_up_keys.is_verified
     OR (excluded.is_verified = backed_up_keys.is_verified
       AND (excluded.first_message_index < backed_up_keys.first_message_index
         OR (excluded.first_message_index = backed_up_keys.first_message_index
           AND excluded.forwarded_count < backed_up_keys.forwarded_count)))`,
);
const PAGE = sql<[number, string, string, number], Row>(
  'backedUpKeys.page',
  `SELECT ${COLUMNS} FROM backed_up_keys WHERE backup_nid = ? AND (room_id, session_id) > (?, ?)
   ORDER BY room_id, session_id LIMIT ?`,
);
const PAGE_OF_ROOM = sql<[number, string, string, number], Row>(
  'backedUpKeys.pageOfRoom',
  `SELECT ${COLUMNS} FROM backed_up_keys WHERE backup_nid = ? AND room_id = ? AND session_id > ?
   ORDER BY session_id LIMIT ?`,
);
const OF_SESSION = sql<[number, string, string], Row>(
  'backedUpKeys.ofSession',
  `SELECT ${COLUMNS} FROM backed_up_keys WHERE backup_nid = ? AND room_id = ? AND session_id = ?`,
);
const DELETE_SOME = sql<[number, number, number]>(
  'backedUpKeys.deleteSome',
  `DELETE FROM backed_up_keys WHERE backup_nid = ? AND (room_id, session_id) IN (
     SELECT room_id, session_id FROM backed_up_keys WHERE backup_nid = ? ORDER BY room_id, session_id LIMIT ?)`,
);
const DELETE_SOME_OF_ROOM = sql<[number, string, number, string, number]>(
  'backedUpKeys.deleteSomeOfRoom',
  `DELETE FROM backed_up_keys WHERE backup_nid = ? AND room_id = ? AND session_id IN (
     SELECT session_id FROM backed_up_keys WHERE backup_nid = ? AND room_id = ? ORDER BY session_id LIMIT ?)`,
);
const DELETE_SESSION = sql<[number, string, string]>(
  'backedUpKeys.deleteSession',
  'DELETE FROM backed_up_keys WHERE backup_nid = ? AND room_id = ? AND session_id = ?',
);

/** How many of the keys, by their rooms and sessions, a backup has already. */
export async function howManyOf(
  reader: Reader,
  backupNid: number,
  keys: readonly Pick<BackedUpKey, 'roomId' | 'sessionId'>[],
): Promise<number> {
  const ids = rows(keys.map(({ roomId, sessionId }) => [textColumn(roomId), textColumn(sessionId)]));
  return (await reader.get(HOW_MANY_OF, ids, backupNid))?.total ?? 0;
}

/**
 * Adds keys, each of another session, unless there is a better one of the same session already. Answers how many
 * were stored.
 */
export async function add(tx: Tx, backupNid: number, keys: readonly BackedUpKey[]): Promise<number> {
  const values = keys.map((key) => [
    textColumn(key.roomId),
    textColumn(key.sessionId),
    key.firstMessageIndex,
    key.forwardedCount,
    key.isVerified ? 1 : 0,
    key.sessionData,
  ]);
  return tx.run(ADD, backupNid, rows(values));
}

/** The key of one session. */
export async function ofSession(
  reader: Reader,
  { backupNid, roomId = '', sessionId = '' }: KeysOf,
): Promise<BackedUpKey | undefined> {
  const row = await reader.get(OF_SESSION, backupNid, textColumn(roomId), textColumn(sessionId));
  return row && keyOf(row);
}

/** Keys of a room or of the whole backup, after another one, room by room: at most `limit`. */
export async function page(
  reader: Reader,
  { backupNid, roomId }: KeysOf,
  { after, limit }: { readonly after: BackedUpKey | undefined; readonly limit: number },
): Promise<BackedUpKey[]> {
  const room = textColumn(roomId ?? after?.roomId ?? '');
  const session = textColumn(after?.sessionId ?? '');
  const statement = roomId === undefined ? PAGE : PAGE_OF_ROOM;
  return (await reader.all(statement, backupNid, room, session, limit)).map(keyOf);
}

/** Deletes the key of a session, or up to `limit` of a room or of the whole backup. Answers how many. */
export async function deleteSome(
  tx: Tx,
  { backupNid, roomId, sessionId }: KeysOf,
  limit: number,
): Promise<number> {
  if (roomId === undefined) return tx.run(DELETE_SOME, backupNid, backupNid, limit);
  const room = textColumn(roomId);
  if (sessionId === undefined) return tx.run(DELETE_SOME_OF_ROOM, backupNid, room, backupNid, room, limit);
  return tx.run(DELETE_SESSION, backupNid, room, textColumn(sessionId));
}

function keyOf(row: Row): BackedUpKey {
  return {
    roomId: fromTextColumn(row.room_id) as RoomId,
    sessionId: fromTextColumn(row.session_id),
    firstMessageIndex: row.first_message_index,
    forwardedCount: row.forwarded_count,
    isVerified: row.is_verified === 1,
    sessionData: row.session_data_json,
  };
}

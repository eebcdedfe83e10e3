import type { RoomId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';
import type { Streams } from './streams.ts';

/** One piece of a user's private data, of the whole account (`roomId` is '') or of one room. */
export interface AccountData {
  readonly roomId: RoomId | '';
  readonly type: string;
  readonly content: JsonObject;
}

interface AccountDataRow {
  room_id: RoomId | '';
  type: string;
  content_json: string;
}

/** In the place of the content of what was deleted: the user's other devices are still to be told. */
const DELETED = 'null';

const GET = sql<[string, string, string], AccountDataRow>(
  'accountData.get',
  'SELECT room_id, type, content_json FROM account_data WHERE user_id = ? AND room_id = ? AND type = ?',
);

const SET = sql<[string, string, string, string, number]>(
  'accountData.set',
  `INSERT INTO account_data (user_id, room_id, type, content_json, position) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (user_id, room_id, type)
   DO UPDATE SET content_json = excluded.content_json, position = excluded.position`,
);

const SINCE = sql<[string, number, number], AccountDataRow>(
  'accountData.since',
  `SELECT room_id, type, content_json FROM account_data
   WHERE user_id = ? AND position > ? AND position <= ? ORDER BY position, room_id, type`,
);

const OF_ROOM = sql<[string, string], AccountDataRow>(
  'accountData.ofRoom',
  'SELECT room_id, type, content_json FROM account_data WHERE user_id = ? AND room_id = ? ORDER BY type',
);

const OF_TYPE = sql<[string, string], AccountDataRow>(
  'accountData.ofType',
  'SELECT room_id, type, content_json FROM account_data WHERE user_id = ? AND type = ? ORDER BY room_id',
);

const OF_USERS = sql<[string, string], AccountDataRow>(
  'accountData.ofUsers',
  `SELECT room_id, type, content_json FROM account_data
   WHERE user_id {anyOf} AND room_id = '' AND type {anyOf} ORDER BY user_id, type`,
);

const SIZE = sql<[string], { bytes: number | null; items: number }>(
  'accountData.size',
  'SELECT CAST(sum(length(content_json)) AS BIGINT) AS bytes, count(*) AS items FROM account_data WHERE user_id = ?',
);

const CLEAR = sql<[string]>('accountData.clear', 'DELETE FROM account_data WHERE user_id = ?');

/** One piece of data. */
export async function get(
  reader: Reader,
  key: { userId: UserId; roomId: RoomId | ''; type: string },
): Promise<JsonObject | undefined> {
  const row = await reader.get(GET, key.userId, key.roomId, key.type);
  return row === undefined || row.content_json === DELETED
    ? undefined
    : (JSON.parse(row.content_json) as JsonObject);
}

/** Sets one piece of data, and announces it to the user's devices. Answers its position. */
export async function set(
  tx: Tx,
  streams: Streams,
  data: AccountData & { readonly userId: UserId },
): Promise<number> {
  const { userId, roomId, type, content } = data;
  const position = streams.allocate(tx, [`user:${userId}`]);
  await tx.run(SET, userId, roomId, type, JSON.stringify(content), position);
  return position;
}

/** Deletes one piece of data, and announces it as empty; false where there is none. */
export async function remove(
  tx: Tx,
  streams: Streams,
  key: { readonly userId: UserId; readonly roomId: RoomId | ''; readonly type: string },
): Promise<boolean> {
  const { userId, roomId, type } = key;
  if ((await get(tx, key)) === undefined) return false;
  await tx.run(SET, userId, roomId, type, DELETED, streams.allocate(tx, [`user:${userId}`]));
  return true;
}

/** What changed after one position, up to another, in order; what was deleted after the beginning as empty. */
export async function since(
  reader: Reader,
  userId: UserId,
  after: number,
  upto: number,
): Promise<AccountData[]> {
  const rows = await reader.all(SINCE, userId, after, upto);
  return (after === 0 ? rows.filter(isThere) : rows).map(accountDataOf);
}

/** All data of one room, or with '' of the whole account, by type. */
export async function ofRoom(reader: Reader, userId: UserId, roomId: RoomId | ''): Promise<AccountData[]> {
  return (await reader.all(OF_ROOM, userId, roomId)).filter(isThere).map(accountDataOf);
}

/** What a user has set of one type, in the whole account and in rooms. */
export async function ofType(reader: Reader, userId: UserId, type: string): Promise<AccountData[]> {
  return (await reader.all(OF_TYPE, userId, type)).filter(isThere).map(accountDataOf);
}

/** What users have set of some types in the whole account. */
export async function ofUsers(
  reader: Reader,
  userIds: readonly UserId[],
  types: readonly string[],
): Promise<JsonObject[]> {
  const rows = await reader.all(OF_USERS, anyOf(userIds), anyOf(types));
  return rows.filter(isThere).map((row) => accountDataOf(row).content);
}

/** How much a user stores: characters of JSON, and pieces. */
export async function sizeOf(reader: Reader, userId: UserId): Promise<{ size: number; items: number }> {
  const row = await reader.get(SIZE, userId);
  return { size: row?.bytes ?? 0, items: row?.items ?? 0 };
}

/** Removes all of a user's data. */
export async function clear(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(CLEAR, userId);
}

function isThere({ content_json: json }: AccountDataRow): boolean {
  return json !== DELETED;
}

function accountDataOf(row: AccountDataRow): AccountData {
  const content = isThere(row) ? (JSON.parse(row.content_json) as JsonObject) : {};
  return { roomId: row.room_id, type: row.type, content };
}

import type { UserId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

const GET = sql<[number, string], { stripped_state: string }>(
  'invites.get',
  'SELECT stripped_state FROM invites WHERE room_nid = ? AND user_id = ?',
);
const SET = sql<[number, string, string]>(
  'invites.set',
  `INSERT INTO invites (room_nid, user_id, stripped_state) VALUES (?, ?, ?)
   ON CONFLICT (room_nid, user_id) DO UPDATE SET stripped_state = excluded.stripped_state`,
);
const REMOVE = sql<[number, string]>(
  'invites.remove',
  'DELETE FROM invites WHERE room_nid = ? AND user_id = ?',
);

/**
 * The stripped state that came with a user's invitation to a room that the server is not in: what
 * `invite_room_state` held, and the invitation itself last. Undefined where there is no such invitation.
 */
export async function strippedState(
  reader: Reader,
  roomNid: number,
  userId: UserId,
): Promise<JsonObject[] | undefined> {
  const row = await reader.get(GET, roomNid, userId);
  if (row === undefined) return undefined;
  const events: unknown = JSON.parse(row.stripped_state);
  return Array.isArray(events) ? events.filter(isObject) : undefined;
}

/** Keeps the stripped state of an invitation, in place of an earlier one. */
export async function set(
  tx: Tx,
  roomNid: number,
  userId: UserId,
  state: readonly JsonObject[],
): Promise<void> {
  await tx.run(SET, roomNid, userId, JSON.stringify(state));
}

/** Forgets the stripped state: the user has joined, declined, or is no longer invited. */
export async function remove(tx: Tx, roomNid: number, userId: UserId): Promise<void> {
  await tx.run(REMOVE, roomNid, userId);
}

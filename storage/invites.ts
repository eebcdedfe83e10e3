import type { ServerName, UserId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** What came with a user's invitation to a room that the server is not in, or with their knock on it. */
export interface ShownRoom {
  /** Stripped state: what `invite_room_state` or `knock_room_state` held, and the invitation or knock itself last. */
  readonly state: readonly JsonObject[];
  /** The server that sent the invitation, or took the knock. */
  readonly via: ServerName | undefined;
}

const GET = sql<[number, string], { stripped_state: string; via: ServerName | null }>(
  'invites.get',
  'SELECT stripped_state, via FROM invites WHERE room_nid = ? AND user_id = ?',
);
const SET = sql<[number, string, string, string | null]>(
  'invites.set',
  `INSERT INTO invites (room_nid, user_id, stripped_state, via) VALUES (?, ?, ?, ?)
   ON CONFLICT (room_nid, user_id) DO UPDATE SET stripped_state = excluded.stripped_state, via = excluded.via`,
);
const REMOVE = sql<[number, string]>(
  'invites.remove',
  'DELETE FROM invites WHERE room_nid = ? AND user_id = ?',
);

/** What a user was shown of a room. Undefined where there is no such invitation or knock. */
export async function shownTo(
  reader: Reader,
  roomNid: number,
  userId: UserId,
): Promise<ShownRoom | undefined> {
  const row = await reader.get(GET, roomNid, userId);
  if (row === undefined) return undefined;
  const events: unknown = JSON.parse(row.stripped_state);
  return { state: Array.isArray(events) ? events.filter(isObject) : [], via: row.via ?? undefined };
}

/** Keeps what came with an invitation or a knock, in place of what came with an earlier one. */
export async function set(tx: Tx, roomNid: number, userId: UserId, shown: ShownRoom): Promise<void> {
  await tx.run(SET, roomNid, userId, JSON.stringify(shown.state), shown.via ?? null);
}

/** Forgets it: the user has joined, declined, or is no longer invited. */
export async function remove(tx: Tx, roomNid: number, userId: UserId): Promise<void> {
  await tx.run(REMOVE, roomNid, userId);
}

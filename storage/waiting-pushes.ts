/** What users are to be told of by their pushers, until all of these have taken it. */

import type { UserId } from '#keys/ids.ts';
import type { Json } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { rows, sql } from './sql.ts';

export interface WaitingPush {
  readonly userId: UserId;
  /** That of the event, or of the invitation from outside. */
  readonly position: number;
  readonly nid: number;
  /** Of the push rule that it matched. */
  readonly actions: readonly Json[];
}

interface Row {
  user_id: UserId;
  position: number;
  event_nid: number;
  actions_json: string;
}

const ADD = sql<[string]>(
  'waitingPushes.add',
  `INSERT INTO waiting_pushes (user_id, position, event_nid, actions_json)
   SELECT value ->> 0, CAST(value ->> 1 AS {int}), CAST(value ->> 2 AS {int}), value ->> 3 FROM {rows} WHERE true
   ON CONFLICT (user_id, position) DO NOTHING`,
);
const NEWEST = sql<[string, number], Row>(
  'waitingPushes.newest',
  `SELECT user_id, position, event_nid, actions_json FROM waiting_pushes
   WHERE user_id = ? ORDER BY position DESC LIMIT ?`,
);
const USERS = sql<[], { user_id: UserId }>(
  'waitingPushes.users',
  'SELECT DISTINCT user_id FROM waiting_pushes ORDER BY user_id',
);
const REMOVE_UPTO = sql<[string, number]>(
  'waitingPushes.removeUpto',
  'DELETE FROM waiting_pushes WHERE user_id = ? AND position <= ?',
);

/** Adds what is not there yet. */
export async function add(tx: Tx, waiting: readonly WaitingPush[]): Promise<void> {
  const columns = waiting.map(({ userId, position, nid, actions }) => [
    userId,
    position,
    nid,
    JSON.stringify(actions),
  ]);
  await tx.run(ADD, rows(columns));
}

/** The newest that wait for a user, the oldest of these first. */
export async function newest(reader: Reader, userId: UserId, limit: number): Promise<WaitingPush[]> {
  const found = await reader.all(NEWEST, userId, limit);
  return found
    .map((row) => ({
      userId: row.user_id,
      position: row.position,
      nid: row.event_nid,
      actions: JSON.parse(row.actions_json) as readonly Json[],
    }))
    .reverse();
}

/** For whom something waits. */
export async function users(reader: Reader): Promise<UserId[]> {
  return (await reader.all(USERS)).map((row) => row.user_id);
}

/** Forgets what waits for a user, up to a position. */
export async function removeUpto(tx: Tx, userId: UserId, position: number): Promise<void> {
  await tx.run(REMOVE_UPTO, userId, position);
}

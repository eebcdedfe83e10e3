import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A user keeps this many; after that a new one takes the place of the oldest. */
const MOST_FILTERS = 100;

const SAME = sql<[string, string], { filter_number: number }>(
  'filters.same',
  `SELECT filter_number FROM filters WHERE user_id = ? AND filter_json = ? ORDER BY filter_number LIMIT 1`,
);

const LAST = sql<[string], { filter_number: number }>(
  'filters.last',
  'SELECT filter_number FROM filters WHERE user_id = ? ORDER BY filter_number DESC LIMIT 1',
);

const ADD = sql<[string, number, string]>(
  'filters.add',
  'INSERT INTO filters (user_id, filter_number, filter_json) VALUES (?, ?, ?)',
);

const FORGET = sql<[string, number]>(
  'filters.forget',
  'DELETE FROM filters WHERE user_id = ? AND filter_number <= ?',
);

const GET = sql<[string, number], { filter_json: string }>(
  'filters.get',
  'SELECT filter_json FROM filters WHERE user_id = ? AND filter_number = ?',
);

const CLEAR = sql<[string]>('filters.clear', 'DELETE FROM filters WHERE user_id = ?');

/** Stores a filter and answers its id; the same filter again has the same id. */
export async function add(tx: Tx, userId: UserId, filter: JsonObject): Promise<string> {
  const text = JSON.stringify(filter);
  const same = await tx.get(SAME, userId, text);
  if (same !== undefined) return String(same.filter_number);
  const number = ((await tx.get(LAST, userId))?.filter_number ?? 0) + 1;
  await tx.run(ADD, userId, number, text);
  await tx.run(FORGET, userId, number - MOST_FILTERS);
  return String(number);
}

/** A filter by its id. */
export async function get(reader: Reader, userId: UserId, filterId: string): Promise<JsonObject | undefined> {
  if (!/^\d{1,15}$/.test(filterId)) return undefined;
  const row = await reader.get(GET, userId, Number(filterId));
  return row && (JSON.parse(row.filter_json) as JsonObject);
}

/** Removes all of a user's filters. */
export async function clear(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(CLEAR, userId);
}

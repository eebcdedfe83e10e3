/** What clients of sliding sync were sent on each of their connections: `server/sliding-sync/connections.ts`. */

import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import type { DeviceRef } from './e2ee-keys.ts';
import { sql } from './sql.ts';
import { textColumn } from './text-column.ts';

export interface ConnectionRef extends DeviceRef {
  /** The `conn_id` of the client, with what kind of sync it is. */
  readonly connId: string;
}

const GET = sql<[string, string, string], { content_json: string }>(
  'slidingConnections.get',
  'SELECT content_json FROM sliding_connections WHERE user_id = ? AND device_id = ? AND conn_id = ?',
);
const SET = sql<[string, string, string, number, string]>(
  'slidingConnections.set',
  `INSERT INTO sliding_connections (user_id, device_id, conn_id, used_ts, content_json) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (user_id, device_id, conn_id)
   DO UPDATE SET used_ts = excluded.used_ts, content_json = excluded.content_json`,
);
const REMOVE = sql<[string, string, string]>(
  'slidingConnections.remove',
  'DELETE FROM sliding_connections WHERE user_id = ? AND device_id = ? AND conn_id = ?',
);
const REMOVE_OF_DEVICE = sql<[string, string]>(
  'slidingConnections.removeOfDevice',
  'DELETE FROM sliding_connections WHERE user_id = ? AND device_id = ?',
);
const NAMES = sql<[string, string, number], { conn_id: string }>(
  'slidingConnections.names',
  `SELECT conn_id FROM sliding_connections WHERE user_id = ? AND device_id = ?
   ORDER BY used_ts DESC, conn_id LIMIT 1000 OFFSET ?`,
);
const REMOVE_BEFORE = sql<[number, number]>(
  'slidingConnections.removeBefore',
  `DELETE FROM sliding_connections WHERE (user_id, device_id, conn_id) IN (
     SELECT user_id, device_id, conn_id FROM sliding_connections WHERE used_ts < ? ORDER BY used_ts LIMIT ?)`,
);

/** What a connection was sent, as it was written. */
export async function get(reader: Reader, ref: ConnectionRef): Promise<JsonObject | undefined> {
  const row = await reader.get(GET, ref.userId, ref.deviceId, textColumn(ref.connId));
  return row && (JSON.parse(row.content_json) as JsonObject);
}

/** Writes it, and removes those of the device that were used least recently where it has more than `most`. */
export async function set(
  tx: Tx,
  ref: ConnectionRef,
  written: { readonly content: object; readonly now: number; readonly most: number },
): Promise<void> {
  const { userId, deviceId } = ref;
  const content = JSON.stringify(written.content);
  await tx.run(SET, userId, deviceId, textColumn(ref.connId), written.now, content);
  const rest = await tx.all(NAMES, userId, deviceId, written.most);
  for (const row of rest) await tx.run(REMOVE, userId, deviceId, row.conn_id);
}

/** Removes all of a device. */
export async function removeOfDevice(
  tx: Tx,
  { userId, deviceId }: { readonly userId: UserId; readonly deviceId: string },
): Promise<void> {
  await tx.run(REMOVE_OF_DEVICE, userId, deviceId);
}

/** Removes at most `limit` that were last written before a time; answers how many. */
export function removeBefore(tx: Tx, before: number, limit: number): Promise<number> {
  return tx.run(REMOVE_BEFORE, before, limit);
}

import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A device of a user that no client runs: what it is sent waits here until a client takes it over. */
export interface DehydratedDevice {
  readonly deviceId: string;
  /** Encrypted, for the user's clients. */
  readonly deviceData: JsonObject;
}

const OF = sql<[string], { device_id: string; device_data_json: string }>(
  'dehydratedDevices.of',
  'SELECT device_id, device_data_json FROM dehydrated_devices WHERE user_id = ?',
);
const SET = sql<[string, string, string]>(
  'dehydratedDevices.set',
  `INSERT INTO dehydrated_devices (user_id, device_id, device_data_json) VALUES (?, ?, ?)
   ON CONFLICT (user_id)
   DO UPDATE SET device_id = excluded.device_id, device_data_json = excluded.device_data_json`,
);
const REMOVE = sql<[string, string]>(
  'dehydratedDevices.remove',
  'DELETE FROM dehydrated_devices WHERE user_id = ? AND device_id = ?',
);

/** The dehydrated device of a user, if there is one. */
export async function of(reader: Reader, userId: UserId): Promise<DehydratedDevice | undefined> {
  const row = await reader.get(OF, userId);
  return row && { deviceId: row.device_id, deviceData: JSON.parse(row.device_data_json) as JsonObject };
}

/** Notes that a device is the user's dehydrated one. */
export async function set(tx: Tx, userId: UserId, { deviceId, deviceData }: DehydratedDevice): Promise<void> {
  await tx.run(SET, userId, deviceId, JSON.stringify(deviceData));
}

/** Forgets a device that is removed, where it is the dehydrated one. */
export async function remove(tx: Tx, userId: UserId, deviceId: string): Promise<void> {
  await tx.run(REMOVE, userId, deviceId);
}

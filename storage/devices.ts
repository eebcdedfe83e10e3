import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** Where one user is signed in. Times are in milliseconds since 1970. */
export interface Device {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly displayName: string | undefined;
  readonly createdTs: number;
  readonly lastSeenTs: number | undefined;
  readonly lastSeenIp: string | undefined;
  readonly lastSeenUserAgent: string | undefined;
}

interface DeviceRow {
  user_id: UserId;
  device_id: string;
  display_name: string | null;
  created_ts: number;
  last_seen_ts: number | null;
  last_seen_ip: string | null;
  last_seen_user_agent: string | null;
}

const COLUMNS =
  'user_id, device_id, display_name, created_ts, last_seen_ts, last_seen_ip, last_seen_user_agent';

const OF = sql<[string, string], DeviceRow>(
  'devices.of',
  `SELECT ${COLUMNS} FROM devices WHERE user_id = ? AND device_id = ?`,
);

const OF_USERS = sql<[string], DeviceRow>(
  'devices.ofUsers',
  `SELECT ${COLUMNS} FROM devices WHERE user_id {anyOf} ORDER BY user_id, device_id`,
);

const SIGNED_IN = sql<[string], { device_id: string }>(
  'devices.signedIn',
  `SELECT d.device_id FROM devices d WHERE d.user_id = ? AND NOT EXISTS (
     SELECT 1 FROM dehydrated_devices x WHERE x.user_id = d.user_id AND x.device_id = d.device_id)
   ORDER BY d.device_id`,
);

const CREATE = sql<[string, string, string | null, number]>(
  'devices.create',
  `INSERT INTO devices (user_id, device_id, display_name, created_ts) VALUES (?, ?, ?, ?)
   ON CONFLICT (user_id, device_id) DO NOTHING`,
);

const SET_DISPLAY_NAME = sql<[string, string, string]>(
  'devices.setDisplayName',
  'UPDATE devices SET display_name = ? WHERE user_id = ? AND device_id = ?',
);

const SEEN = sql<[number, string, string | null, string, string]>(
  'devices.seen',
  `UPDATE devices SET last_seen_ts = ?, last_seen_ip = ?, last_seen_user_agent = ?
   WHERE user_id = ? AND device_id = ?`,
);

const REMOVE = sql<[string, string]>(
  'devices.remove',
  'DELETE FROM devices WHERE user_id = ? AND device_id = ?',
);

/** One device of a user. */
export async function of(reader: Reader, userId: UserId, deviceId: string): Promise<Device | undefined> {
  const row = await reader.get(OF, userId, deviceId);
  return row && deviceOf(row);
}

/** All devices of one user, in the order of their ids. */
export function ofUser(reader: Reader, userId: UserId): Promise<Device[]> {
  return ofUsers(reader, [userId]);
}

/** The ids of the devices that a user is signed in on: all but the dehydrated one. */
export async function signedIn(reader: Reader, userId: UserId): Promise<string[]> {
  return (await reader.all(SIGNED_IN, userId)).map((row) => row.device_id);
}

/** All devices of several users, by user and device id. */
export async function ofUsers(reader: Reader, userIds: readonly UserId[]): Promise<Device[]> {
  return (await reader.all(OF_USERS, anyOf(userIds))).map(deviceOf);
}

/** Adds a device; false where the user has one of this id already, which then stays as it is. */
export async function create(
  tx: Tx,
  device: { userId: UserId; deviceId: string; displayName: string | undefined; now: number },
): Promise<boolean> {
  const { userId, deviceId, displayName = null, now } = device;
  return (await tx.run(CREATE, userId, deviceId, displayName, now)) === 1;
}

/** Renames a device; false where the user has no such device. */
export async function setDisplayName(
  tx: Tx,
  device: { userId: UserId; deviceId: string },
  displayName: string,
): Promise<boolean> {
  return (await tx.run(SET_DISPLAY_NAME, displayName, device.userId, device.deviceId)) === 1;
}

/** Notes when, from which address and by which program a device was last in use. */
export async function seen(
  tx: Tx,
  device: { userId: UserId; deviceId: string },
  use: { ts: number; ip: string; userAgent: string | undefined },
): Promise<void> {
  await tx.run(SEEN, use.ts, use.ip, use.userAgent ?? null, device.userId, device.deviceId);
}

/** Removes a device; false where the user has no such device. Its tokens and keys are removed by the caller. */
export async function remove(tx: Tx, userId: UserId, deviceId: string): Promise<boolean> {
  return (await tx.run(REMOVE, userId, deviceId)) === 1;
}

function deviceOf(row: DeviceRow): Device {
  return {
    userId: row.user_id,
    deviceId: row.device_id,
    displayName: row.display_name ?? undefined,
    createdTs: row.created_ts,
    lastSeenTs: row.last_seen_ts ?? undefined,
    lastSeenIp: row.last_seen_ip ?? undefined,
    lastSeenUserAgent: row.last_seen_user_agent ?? undefined,
  };
}

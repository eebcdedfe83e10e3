import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A session of an identity provider: the provider's name here, its permanent id for the user, and for the session. */
export interface Origin {
  readonly provider: string;
  readonly subject: string;
  readonly sid: string | undefined;
}

/** A device of a user. */
export type DeviceKey = { readonly userId: UserId; readonly deviceId: string };

const SET = sql<[string, string, string, string, string | null]>(
  'deviceOrigins.set',
  `INSERT INTO device_origins (user_id, device_id, provider, subject, sid) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (user_id, device_id)
   DO UPDATE SET provider = excluded.provider, subject = excluded.subject, sid = excluded.sid`,
);
const REMOVE = sql<[string, string]>(
  'deviceOrigins.remove',
  'DELETE FROM device_origins WHERE user_id = ? AND device_id = ?',
);
const OF_SUBJECT = sql<[string, string], { user_id: UserId; device_id: string; sid: string | null }>(
  'deviceOrigins.ofSubject',
  `SELECT user_id, device_id, sid FROM device_origins WHERE provider = ? AND subject = ?
   ORDER BY user_id, device_id`,
);

const OF = sql<[string, string], { provider: string; subject: string; sid: string | null }>(
  'deviceOrigins.of',
  'SELECT provider, subject, sid FROM device_origins WHERE user_id = ? AND device_id = ?',
);
const OF_SID = sql<[string, string], { user_id: UserId; device_id: string }>(
  'deviceOrigins.ofSid',
  `SELECT user_id, device_id FROM device_origins WHERE provider = ? AND sid = ?
   ORDER BY user_id, device_id`,
);

/** Notes by which session of an identity provider a device was signed in. */
export async function set(tx: Tx, { userId, deviceId }: DeviceKey, origin: Origin): Promise<void> {
  await tx.run(SET, userId, deviceId, origin.provider, origin.subject, origin.sid ?? null);
}

export async function remove(tx: Tx, { userId, deviceId }: DeviceKey): Promise<void> {
  await tx.run(REMOVE, userId, deviceId);
}

/** The devices that an identity provider signed in for one of its users, in the order of their ids. */
export async function ofSubject(
  reader: Reader,
  provider: string,
  subject: string,
): Promise<(DeviceKey & { readonly sid: string | undefined })[]> {
  const rows = await reader.all(OF_SUBJECT, provider, subject);
  return rows.map(({ user_id: userId, device_id: deviceId, sid }) => ({
    userId,
    deviceId,
    sid: sid ?? undefined,
  }));
}

/** The session of an identity provider by which a device was signed in, if it was one. */
export async function of(reader: Reader, { userId, deviceId }: DeviceKey): Promise<Origin | undefined> {
  const row = await reader.get(OF, userId, deviceId);
  return row && { provider: row.provider, subject: row.subject, sid: row.sid ?? undefined };
}

/** The devices that belong to one session of an identity provider, in the order of their ids. */
export async function ofSid(reader: Reader, provider: string, sid: string): Promise<DeviceKey[]> {
  const rows = await reader.all(OF_SID, provider, sid);
  return rows.map(({ user_id: userId, device_id: deviceId }) => ({ userId, deviceId }));
}

import type { ServerName, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import type { DeviceRef } from './e2ee-keys.ts';
import { sql } from './sql.ts';
import type { Streams } from './streams.ts';
import { textColumn } from './text-column.ts';

/** A message to a device, as /sync shows it. */
export interface ToDeviceMessage {
  readonly sender: UserId;
  readonly type: string;
  readonly content: JsonObject;
}

const INSERT = sql<[string, string, number, string]>(
  'toDevice.insert',
  'INSERT INTO to_device (user_id, device_id, position, message_json) VALUES (?, ?, ?, ?)',
);

const SINCE = sql<[string, string, number, number, number], { position: number; message_json: string }>(
  'toDevice.since',
  `SELECT position, message_json FROM to_device
   WHERE user_id = ? AND device_id = ? AND position > ? AND position <= ?
   ORDER BY position LIMIT ?`,
);

const DELETE_UPTO = sql<[string, string, number]>(
  'toDevice.deleteUpto',
  'DELETE FROM to_device WHERE user_id = ? AND device_id = ? AND position <= ?',
);

const DELETE_DEVICE = sql<[string, string]>(
  'toDevice.deleteDevice',
  'DELETE FROM to_device WHERE user_id = ? AND device_id = ?',
);

const DELETE_TRANSACTIONS = sql<[string, string]>(
  'toDevice.deleteTransactions',
  'DELETE FROM to_device_transactions WHERE user_id = ? AND device_id = ?',
);

const INSERT_TRANSACTION = sql<[string, string, string, number]>(
  'toDevice.insertTransaction',
  `INSERT INTO to_device_transactions (user_id, device_id, txn_id, sent_ts) VALUES (?, ?, ?, ?)
   ON CONFLICT (user_id, device_id, txn_id) DO NOTHING`,
);

const DELETE_OLD_TRANSACTIONS = sql<[string, string, number]>(
  'toDevice.deleteOldTransactions',
  'DELETE FROM to_device_transactions WHERE user_id = ? AND device_id = ? AND sent_ts < ?',
);

const NTH = sql<[string, string, number], { position: number }>(
  'toDevice.nth',
  `SELECT position FROM to_device WHERE user_id = ? AND device_id = ? ORDER BY position LIMIT 1 OFFSET ?`,
);

const INSERT_INBOUND = sql<[string, string, number]>(
  'toDevice.insertInbound',
  `INSERT INTO inbound_to_device (origin, message_id, received_ts) VALUES (?, ?, ?)
   ON CONFLICT (origin, message_id) DO NOTHING`,
);

const DELETE_OLD_INBOUND = sql<[string, number]>(
  'toDevice.deleteOldInbound',
  'DELETE FROM inbound_to_device WHERE origin = ? AND received_ts < ?',
);

/** How long a message that a server hands over again is recognised. Servers try again once a day at the latest. */
const INBOUND_MEMORY_MS = 7 * 24 * 60 * 60 * 1000;

/** How long a repeated /sendToDevice is recognised. */
const TRANSACTION_MEMORY_MS = 24 * 60 * 60 * 1000;

/**
 * Remembers a request to /sendToDevice in the write that also stores its messages. False where the same
 * request was answered before: then nothing must be stored again.
 */
export async function isNewTransaction(
  tx: Tx,
  sender: DeviceRef,
  request: { txnId: string; now: number },
): Promise<boolean> {
  const { userId, deviceId } = sender;
  await tx.run(DELETE_OLD_TRANSACTIONS, userId, deviceId, request.now - TRANSACTION_MEMORY_MS);
  return (await tx.run(INSERT_TRANSACTION, userId, deviceId, request.txnId, request.now)) === 1;
}

/**
 * Remembers a message of another server in the write that also stores it. False where the server has handed it over
 * before: then nothing must be stored again. `now` in milliseconds since 1970.
 */
export async function isNewInbound(
  tx: Tx,
  origin: ServerName,
  message: { readonly messageId: string; readonly now: number },
): Promise<boolean> {
  const { messageId, now } = message;
  await tx.run(DELETE_OLD_INBOUND, origin, now - INBOUND_MEMORY_MS);
  return (await tx.run(INSERT_INBOUND, origin, textColumn(messageId), now)) === 1;
}

/** True where at least `most` messages wait for the device. */
export async function hasWaiting(reader: Reader, device: DeviceRef, most: number): Promise<boolean> {
  return (await reader.get(NTH, device.userId, device.deviceId, most - 1)) !== undefined;
}

/** Puts a message into a device's inbox and announces it to its user. */
export async function add(
  tx: Tx,
  streams: Streams,
  device: DeviceRef,
  message: ToDeviceMessage,
): Promise<void> {
  const position = streams.allocate(tx, [`user:${device.userId}`, 'to_device']);
  const { sender, type, content } = message;
  await tx.run(INSERT, device.userId, device.deviceId, position, JSON.stringify({ sender, type, content }));
}

/**
 * The texts of the messages of an inbox after one position and up to another, oldest first, at most `limit`;
 * `last` is the position of the last of them.
 */
export async function since(
  reader: Reader,
  device: DeviceRef,
  range: { after: number; upto: number; limit: number },
): Promise<{ messages: string[]; last: number | undefined }> {
  const { after, upto, limit } = range;
  const rows = await reader.all(SINCE, device.userId, device.deviceId, after, upto, limit);
  return { messages: rows.map((row) => row.message_json), last: rows.at(-1)?.position };
}

/** Deletes what the device has acknowledged: all up to the position of the token it came back with. */
export async function deleteUpto(tx: Tx, device: DeviceRef, position: number): Promise<number> {
  return tx.run(DELETE_UPTO, device.userId, device.deviceId, position);
}

/** Empties the inbox of a device that is logged out, and forgets what it has sent. */
export async function deleteDevice(tx: Tx, device: DeviceRef): Promise<void> {
  await tx.run(DELETE_DEVICE, device.userId, device.deviceId);
  await tx.run(DELETE_TRANSACTIONS, device.userId, device.deviceId);
}

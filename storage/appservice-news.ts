/** What application services are told of beside events: by position, of all rooms and users. */

import type { EventId, RoomId, ServerName, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import type { DeviceRef } from './e2ee-keys.ts';
import type { Receipt, ReceiptType } from './receipts.ts';
import { anyOf, rows, sql } from './sql.ts';

/** After one position, up to another. */
export interface NewsRange {
  readonly after: number;
  readonly upto: number;
  readonly limit: number;
}

/** A member of our own server, and from when to when they were in the room, as far as that is known. */
export interface LocalStay {
  readonly userId: UserId;
  readonly joinedPosition: number;
  /** Undefined for one who is still there. */
  readonly leftPosition: number | undefined;
}

const RECEIPTS = sql<
  [number, number, number],
  {
    position: number;
    room_nid: number;
    room_id: RoomId;
    user_id: UserId;
    receipt_type: ReceiptType;
    thread_id: string;
    event_id: EventId;
    ts: number;
  }
>(
  'appserviceNews.receipts',
  `SELECT r.position, r.room_nid, rooms.room_id, r.user_id, r.receipt_type, r.thread_id, r.event_id, r.ts
   FROM receipts r JOIN rooms ON rooms.room_nid = r.room_nid
   WHERE r.position > ? AND r.position <= ? ORDER BY r.position LIMIT ?`,
);
const MESSAGES = sql<
  [number, number, number],
  { position: number; user_id: UserId; device_id: string; message_json: string }
>(
  'appserviceNews.messages',
  `SELECT position, user_id, device_id, message_json FROM to_device
   WHERE position > ? AND position <= ? ORDER BY position, user_id, device_id LIMIT ?`,
);
const DELETE_MESSAGES = sql<[string]>(
  'appserviceNews.deleteMessages',
  `DELETE FROM to_device WHERE (user_id, device_id, position) IN (
     SELECT CAST(value ->> 0 AS {text}), CAST(value ->> 1 AS {text}), CAST(value ->> 2 AS {int}) FROM {rows})`,
);
const OTHERS_DEVICES = sql<[string], { user_id: UserId; device_id: string }>(
  'appserviceNews.othersDevices',
  `SELECT d.user_id, d.device_id FROM devices d
   WHERE d.user_id {anyOf} AND (
     EXISTS (SELECT 1 FROM access_tokens t WHERE t.user_id = d.user_id AND t.device_id = d.device_id)
     OR EXISTS (SELECT 1 FROM dehydrated_devices x WHERE x.user_id = d.user_id AND x.device_id = d.device_id))
   ORDER BY d.user_id, d.device_id`,
);
const DEVICE_LISTS = sql<[number, number, number], { user_id: UserId; position: number }>(
  'appserviceNews.deviceLists',
  'SELECT user_id, position FROM device_lists WHERE position > ? AND position <= ? ORDER BY position LIMIT ?',
);
const KEYED_DEVICES = sql<[string], { user_id: UserId; device_id: string }>(
  'appserviceNews.keyedDevices',
  'SELECT user_id, device_id FROM device_keys WHERE user_id {anyOf} ORDER BY user_id, device_id LIMIT 1000',
);
const STAYS = sql<
  [number, string, number],
  { user_id: UserId; membership: string; joined_position: number; left_position: number }
>(
  'appserviceNews.stays',
  `SELECT user_id, membership, joined_position, left_position FROM memberships
   WHERE room_nid = ? AND membership IN ('join', 'invite', 'leave', 'ban', 'knock') AND server_name = ?
     AND (membership = 'join' OR left_position > ?)
   ORDER BY joined_position, user_id`,
);

/** Receipts of all rooms, in order, each with its room. */
export async function receipts(
  reader: Reader,
  { after, upto, limit }: NewsRange,
): Promise<(Receipt & { readonly position: number; readonly roomNid: number; readonly roomId: RoomId })[]> {
  return (await reader.all(RECEIPTS, after, upto, limit)).map((row) => ({
    position: row.position,
    roomNid: row.room_nid,
    roomId: row.room_id,
    userId: row.user_id,
    type: row.receipt_type,
    threadId: row.thread_id,
    eventId: row.event_id,
    ts: row.ts,
  }));
}

/** Messages to devices of all users, in order, each as JSON. */
export async function messages(
  reader: Reader,
  { after, upto, limit }: NewsRange,
): Promise<(DeviceRef & { readonly position: number; readonly json: string })[]> {
  return (await reader.all(MESSAGES, after, upto, limit)).map((row) => ({
    position: row.position,
    userId: row.user_id,
    deviceId: row.device_id,
    json: row.message_json,
  }));
}

/** Takes messages out of the inboxes of their devices. */
export async function deleteMessages(
  tx: Tx,
  given: readonly (DeviceRef & { readonly position: number })[],
): Promise<void> {
  await tx.run(
    DELETE_MESSAGES,
    rows(given.map(({ userId, deviceId, position }) => [userId, deviceId, position])),
  );
}

/** Those devices of the users that somebody is signed in on, and those that are dehydrated. */
export async function devicesOfOthers(reader: Reader, userIds: readonly UserId[]): Promise<DeviceRef[]> {
  return (await reader.all(OTHERS_DEVICES, anyOf(userIds))).map((row) => ({
    userId: row.user_id,
    deviceId: row.device_id,
  }));
}

/** Whose devices changed, in order. */
export async function changedDeviceLists(
  reader: Reader,
  { after, upto, limit }: NewsRange,
): Promise<{ userId: UserId; position: number }[]> {
  const found = await reader.all(DEVICE_LISTS, after, upto, limit);
  return found.map((row) => ({ userId: row.user_id, position: row.position }));
}

/** The devices of some users that have uploaded keys; 1,000 at most. */
export async function devicesWithKeys(reader: Reader, userIds: readonly UserId[]): Promise<DeviceRef[]> {
  return (await reader.all(KEYED_DEVICES, anyOf(userIds))).map((row) => ({
    userId: row.user_id,
    deviceId: row.device_id,
  }));
}

/** The users of our own server who are in a room, or were there after a position; who came first is first. */
export async function localStays(
  reader: Reader,
  roomNid: number,
  { serverName, after }: { readonly serverName: ServerName; readonly after: number },
): Promise<LocalStay[]> {
  return (await reader.all(STAYS, roomNid, serverName, after)).map((row) => ({
    userId: row.user_id,
    joinedPosition: row.joined_position,
    leftPosition: row.membership === 'join' ? undefined : row.left_position,
  }));
}

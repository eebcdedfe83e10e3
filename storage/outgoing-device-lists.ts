import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** What is still to be told to other servers of one of our users; `seq` orders it. */
export type OutgoingDeviceList = { readonly seq: number; readonly userId: UserId } & (
  | {
      readonly kind: 'update';
      readonly deviceId: string;
      readonly streamId: number;
      readonly prevStreamId: number;
    }
  | { readonly kind: 'signing_keys' }
  /** The user has joined a room, at a position. */
  | { readonly kind: 'joined'; readonly roomNid: number; readonly position: number }
);

interface Row {
  seq: number;
  user_id: UserId;
  device_id: string | null;
  stream_id: number;
  prev_stream_id: number;
  room_nid: number | null;
}

const ADD = sql<[string, string | null, number, number, number | null]>(
  'outgoingDeviceLists.add',
  `INSERT INTO outgoing_device_lists (user_id, device_id, stream_id, prev_stream_id, room_nid)
   VALUES (?, ?, ?, ?, ?)`,
);
const FIRST = sql<[number], Row>(
  'outgoingDeviceLists.first',
  `SELECT seq, user_id, device_id, stream_id, prev_stream_id, room_nid
   FROM outgoing_device_lists WHERE seq > 0 ORDER BY seq LIMIT ?`,
);
const REMOVE = sql<[string]>(
  'outgoingDeviceLists.remove',
  'DELETE FROM outgoing_device_lists WHERE seq {anyInt}',
);
/** A device was added, has changed, or was removed. */
export async function addUpdate(
  tx: Tx,
  userId: UserId,
  update: { readonly deviceId: string; readonly streamId: number; readonly prevStreamId: number },
): Promise<void> {
  await tx.run(ADD, userId, update.deviceId, update.streamId, update.prevStreamId, null);
}

/** Some of the user's cross-signing keys have changed. */
export async function addSigningKeys(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(ADD, userId, null, 0, 0, null);
}

/** The user has joined a room: servers in it may not have heard of the user's devices. */
export async function addJoin(
  tx: Tx,
  userId: UserId,
  join: { readonly roomNid: number; readonly position: number },
): Promise<void> {
  await tx.run(ADD, userId, null, join.position, 0, join.roomNid);
}

/** What has waited longest, in order. */
export async function first(reader: Reader, limit: number): Promise<OutgoingDeviceList[]> {
  return (await reader.all(FIRST, limit)).map(fromRow);
}

/** Removes what has been told. */
export async function remove(tx: Tx, seqs: readonly number[]): Promise<void> {
  await tx.run(REMOVE, anyOf(seqs));
}

function fromRow(row: Row): OutgoingDeviceList {
  const { seq, user_id: userId, device_id: deviceId, stream_id: streamId, room_nid: roomNid } = row;
  if (roomNid !== null) return { seq, userId, kind: 'joined', roomNid, position: streamId };
  if (deviceId === null) return { seq, userId, kind: 'signing_keys' };
  return { seq, userId, kind: 'update', deviceId, streamId, prevStreamId: row.prev_stream_id };
}

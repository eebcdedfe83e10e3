/** Which rooms are being deleted, whole or in part, so that what a crash interrupts goes on. */

import type { ServerName } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** Something that is being deleted. */
export interface Purge {
  readonly roomNid: number;
  /** Events before this position; undefined: the whole room. */
  readonly upto: number | undefined;
  /** Of history that was fetched later, what was sent before, in milliseconds since 1970; undefined: all of it. */
  readonly sentBefore: number | undefined;
  /** Of events without a position, those received before. */
  readonly receivedBefore: number;
  readonly begunTs: number;
  /** Events that have gone so far. */
  readonly deleted: number;
}

interface Row {
  room_nid: number;
  upto: number | null;
  sent_before: number | null;
  received_before: number;
  begun_ts: number;
  deleted: number;
}

const COLUMNS = 'room_nid, upto, sent_before, received_before, begun_ts, deleted';

const OF = sql<[number], Row>('purges.of', `SELECT ${COLUMNS} FROM purges WHERE room_nid = ?`);
const PAGE = sql<[number, number], Row>(
  'purges.page',
  `SELECT ${COLUMNS} FROM purges WHERE room_nid > ? ORDER BY room_nid LIMIT ?`,
);
const BEGIN = sql<[number, number | null, number | null, number, number]>(
  'purges.begin',
  `INSERT INTO purges (room_nid, upto, sent_before, received_before, begun_ts, deleted) VALUES (?, ?, ?, ?, ?, 0)
   ON CONFLICT (room_nid) DO UPDATE SET upto = excluded.upto, sent_before = excluded.sent_before,
     received_before = excluded.received_before
   WHERE purges.upto IS NOT NULL`,
);
const ADD_DELETED = sql<[number, number]>(
  'purges.addDeleted',
  'UPDATE purges SET deleted = deleted + ? WHERE room_nid = ?',
);
const END = sql<[number]>('purges.end', 'DELETE FROM purges WHERE room_nid = ?');

const LEFT_BY_ALL = sql<[number, string, string, number], { room_nid: number }>(
  'purges.leftByAll',
  `SELECT r.room_nid FROM rooms r
   WHERE r.room_nid > ?
     AND (EXISTS (SELECT 1 FROM memberships m
         WHERE m.room_nid = r.room_nid AND m.membership IN ('leave', 'ban') AND m.server_name = ?)
       OR (NOT EXISTS (SELECT 1 FROM memberships m WHERE m.room_nid = r.room_nid)
         AND r.room_nid < (SELECT MAX(n.room_nid) FROM rooms n)))
     AND NOT EXISTS (SELECT 1 FROM memberships m LEFT JOIN users u ON u.user_id = m.user_id
       WHERE m.room_nid = r.room_nid AND m.membership IN ('join', 'invite', 'leave', 'ban', 'knock')
         AND m.server_name = ?
         AND (m.membership IN ('join', 'invite', 'knock') OR (m.forgotten = 0 AND u.deactivated_ts IS NULL)))
   ORDER BY r.room_nid LIMIT ?`,
);
const HAS_MEMBER = sql<[number, string], { user_id: string }>(
  'purges.hasMember',
  `SELECT user_id FROM memberships
   WHERE room_nid = ? AND membership IN ('join', 'invite', 'knock') AND server_name = ? ORDER BY user_id LIMIT 1`,
);

/** What is being deleted of a room. */
export async function of(reader: Reader, roomNid: number): Promise<Purge | undefined> {
  const row = await reader.get(OF, roomNid);
  return row === undefined ? undefined : fromRow(row);
}

/** All that is being deleted, in pages: of the rooms after a numeric id. */
export async function page(reader: Reader, afterNid: number, limit: number): Promise<Purge[]> {
  return (await reader.all(PAGE, afterNid, limit)).map(fromRow);
}

/** Begins to delete, in place of what was to be deleted before; a whole room stays a whole room. */
export async function begin(tx: Tx, purge: Omit<Purge, 'deleted'>): Promise<void> {
  const { roomNid, upto, sentBefore, receivedBefore, begunTs } = purge;
  await tx.run(BEGIN, roomNid, upto ?? null, sentBefore ?? null, receivedBefore, begunTs);
}

/** Counts events that have gone. */
export async function addDeleted(tx: Tx, roomNid: number, events: number): Promise<void> {
  await tx.run(ADD_DELETED, events, roomNid);
}

/** Nothing is left to be deleted. */
export async function end(tx: Tx, roomNid: number): Promise<void> {
  await tx.run(END, roomNid);
}

/**
 * Rooms that every user of our server who was ever in them has left and forgotten, or has left with an account that
 * is no more; and what an earlier deletion left, which was then the newest of all. Those after a numeric id.
 */
export async function leftByAll(
  reader: Reader,
  serverName: ServerName,
  afterNid: number,
  limit: number,
): Promise<number[]> {
  const rows = await reader.all(LEFT_BY_ALL, afterNid, serverName, serverName, limit);
  return rows.map((row) => row.room_nid);
}

/** A user of our server who is in the room, invited to it, or asks to be let in. */
export async function memberOf(
  reader: Reader,
  roomNid: number,
  serverName: ServerName,
): Promise<string | undefined> {
  return (await reader.get(HAS_MEMBER, roomNid, serverName))?.user_id;
}

function fromRow(row: Row): Purge {
  return {
    roomNid: row.room_nid,
    upto: row.upto ?? undefined,
    sentBefore: row.sent_before ?? undefined,
    receivedBefore: row.received_before,
    begunTs: row.begun_ts,
    deleted: row.deleted,
  };
}

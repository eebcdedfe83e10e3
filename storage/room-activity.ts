/** When something last happened in rooms: what a client orders them by. */

import type { UserId } from '#keys/ids.ts';
import type { Reader } from './database.ts';
import { anyOf, sql } from './sql.ts';
import { fromTextColumn } from './text-column.ts';

interface Row {
  room_nid: number;
  position: number | null;
}

// By the end of the index of each room.
const LAST = sql<[string], Row>(
  'roomActivity.last',
  `SELECT r.room_nid, (SELECT MAX(e.position) FROM events e WHERE e.room_nid = r.room_nid) AS position
   FROM rooms r WHERE r.room_nid {anyInt} ORDER BY r.room_nid`,
);
const NEWEST = sql<[number, number, number], { position: number; type: string }>(
  'roomActivity.newest',
  `SELECT position, type FROM events WHERE room_nid = ? AND position > 0 AND position <= ?
   ORDER BY position DESC LIMIT ?`,
);
// A leave by which the user was taken out of the room, and which somebody else made.
const SENT_AWAY = sql<[string], { room_nid: number }>(
  'roomActivity.sentAway',
  `SELECT m.room_nid FROM memberships m JOIN events e ON e.event_nid = m.event_nid
   WHERE m.user_id = ? AND m.forgotten = 0 AND m.left_position > 0
     AND (m.membership = 'ban'
       OR (m.membership = 'leave' AND m.left_position = m.position AND e.sender <> m.user_id))
   ORDER BY m.room_nid`,
);

/** The position of the last event of rooms; one without events that clients see is absent. */
export async function lastPositions(
  reader: Reader,
  roomNids: Iterable<number>,
): Promise<ReadonlyMap<number, number>> {
  const positions = new Map<number, number>();
  for (const { room_nid: nid, position } of await reader.all(LAST, anyOf(roomNids)))
    if (position !== null) positions.set(nid, position);
  return positions;
}

/** Mostly one of so many is of interest. */
const FEW = 20;

/** The position of the last of a room's newest events up to a position that has one of some types. */
export async function lastOfTypes(
  reader: Reader,
  roomNid: number,
  which: { readonly types: ReadonlySet<string>; readonly upto: number; readonly among: number },
): Promise<number | undefined> {
  const { types, upto, among } = which;
  const isWanted = ({ type }: { readonly type: string }) => types.has(fromTextColumn(type));
  const few = await reader.all(NEWEST, roomNid, upto, FEW);
  const found = few.find(isWanted);
  const oldest = few.at(-1);
  if (found !== undefined || oldest === undefined || few.length < FEW) return found?.position;
  return (await reader.all(NEWEST, roomNid, oldest.position - 1, among)).find(isWanted)?.position;
}

/** The rooms that a user was in until somebody removed or banned them. */
export async function sentAwayFrom(reader: Reader, userId: UserId): Promise<ReadonlySet<number>> {
  return new Set((await reader.all(SENT_AWAY, userId)).map((row) => row.room_nid));
}

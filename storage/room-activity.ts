/** When something last happened in rooms: what a client orders them by. */

import type { UserId } from '#keys/ids.ts';
import type { Reader } from './database.ts';
import { anyOf, sql } from './sql.ts';

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
const LAST_OF_TYPES = sql<[number, number, number, string], { position: number }>(
  'roomActivity.lastOfTypes',
  `SELECT n.position FROM (
     SELECT e.position, e.type FROM events e WHERE e.room_nid = ? AND e.position > 0 AND e.position <= ?
     ORDER BY e.position DESC LIMIT ?) n
   WHERE n.type {anyOf} ORDER BY n.position DESC LIMIT 1`,
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

/** The position of the last of a room's newest events up to a position that has one of some types. */
export async function lastOfTypes(
  reader: Reader,
  roomNid: number,
  which: { readonly types: readonly string[]; readonly upto: number; readonly among: number },
): Promise<number | undefined> {
  const { types, upto, among } = which;
  return (await reader.get(LAST_OF_TYPES, roomNid, upto, among, anyOf(types)))?.position;
}

/** The rooms that a user was in until somebody removed or banned them. */
export async function sentAwayFrom(reader: Reader, userId: UserId): Promise<ReadonlySet<number>> {
  return new Set((await reader.all(SENT_AWAY, userId)).map((row) => row.room_nid));
}

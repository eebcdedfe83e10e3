/** The numeric ids of the events that clients see, by their position in a room. */

import type { Reader } from './database.ts';
import { anyOf, sql } from './sql.ts';
import { fromTextColumn } from './text-column.ts';

interface Row {
  event_nid: number;
}

const NEWEST_FIRST = sql<[number, number, number, number], Row>(
  'timeline.newestFirst',
  `SELECT event_nid FROM events
   WHERE room_nid = ? AND position > ? AND position <= ? ORDER BY position DESC LIMIT ?`,
);

const OLDEST_FIRST = sql<[number, number, number, number], Row>(
  'timeline.oldestFirst',
  `SELECT event_nid FROM events
   WHERE room_nid = ? AND position > ? AND position <= ? ORDER BY position LIMIT ?`,
);

/** At most `limit` events after one position and up to another, from the newest (`b`) or the oldest (`f`) on. */
export async function eventNids(
  reader: Reader,
  roomNid: number,
  range: {
    readonly after: number;
    readonly upto: number;
    readonly direction: 'b' | 'f';
    readonly limit: number;
  },
): Promise<number[]> {
  const statement = range.direction === 'b' ? NEWEST_FIRST : OLDEST_FIRST;
  const rows = await reader.all(statement, roomNid, range.after, range.upto, range.limit);
  return rows.map((row) => row.event_nid);
}

/** An event and where in its room's timeline it stands. */
export interface Placed {
  readonly nid: number;
  readonly position: number;
  /** Whose membership it tells. */
  readonly member: string | undefined;
}

const NEWEST = sql<[number, number, number, number], Row & { position: number; member: string | null }>(
  'timeline.newest',
  `SELECT event_nid, position, CASE WHEN type = 'm.room.member' THEN state_key END AS member FROM events
   WHERE room_nid = ? AND position > ? AND position <= ? ORDER BY position DESC LIMIT ?`,
);

/** At most `limit` events after one position and up to another, the newest first. */
export async function newest(
  reader: Reader,
  roomNid: number,
  { after, upto, limit }: { readonly after: number; readonly upto: number; readonly limit: number },
): Promise<Placed[]> {
  const rows = await reader.all(NEWEST, roomNid, after, upto, limit);
  return rows.map(({ event_nid: nid, position, member }) => {
    return { nid, position, member: member === null ? undefined : fromTextColumn(member) };
  });
}

const NEWEST_OF_ROOMS = sql<[string, number, number, number], Row & { position: number }>(
  'timeline.newestOfRooms',
  `SELECT event_nid, position FROM events
   WHERE room_nid {anyInt} AND position > ? AND position <= ? ORDER BY position DESC LIMIT ?`,
);

/** At most `limit` events of some rooms after one position and up to another, the newest first. */
export async function newestOfRooms(
  reader: Reader,
  roomNids: Iterable<number>,
  range: { readonly after: number; readonly upto: number; readonly limit: number },
): Promise<{ readonly nid: number; readonly position: number }[]> {
  const { after, upto, limit } = range;
  const rows = await reader.all(NEWEST_OF_ROOMS, anyOf(roomNids), after, upto, limit);
  return rows.map((row) => ({ nid: row.event_nid, position: row.position }));
}

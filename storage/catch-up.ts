import type { ServerName } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** An event of a room. */
export interface RoomEvent {
  readonly roomNid: number;
  readonly eventNid: number;
}

interface Row {
  room_nid: number;
  event_nid: number;
}

const JOINED_ROOMS_OF_PENDING = `EXISTS (SELECT e.event_nid FROM events e JOIN memberships m ON m.room_nid = e.room_nid
     WHERE e.event_nid = outbox.event_nid AND m.membership = 'join' AND m.server_name = outbox.server)`;

const FIRST_COLLAPSIBLE = sql<[string, number], { position: number | null }>(
  'catchUp.firstCollapsible',
  `SELECT MIN(ev.position) AS position FROM outbox JOIN events ev ON ev.event_nid = outbox.event_nid
   WHERE outbox.server = ? AND outbox.seq > ? AND ${JOINED_ROOMS_OF_PENDING}`,
);
const COLLAPSE = sql<[string, number, number]>(
  'catchUp.collapse',
  `DELETE FROM outbox WHERE seq IN
     (SELECT seq FROM outbox WHERE server = ? AND seq > ? AND ${JOINED_ROOMS_OF_PENDING} ORDER BY seq LIMIT ?)`,
);
const LATEST = sql<[number, string, number, number], Row>(
  'catchUp.latest',
  `SELECT f.room_nid, f.event_nid FROM forward_extremities f
   WHERE f.room_nid > ?
     AND EXISTS (SELECT m.user_id FROM memberships m
                 WHERE m.room_nid = f.room_nid AND m.membership = 'join' AND m.server_name = ?)
     AND EXISTS (SELECT e.event_nid FROM events e WHERE e.room_nid = f.room_nid AND e.position > ?)
   ORDER BY f.room_nid, f.event_nid LIMIT ?`,
);
const SENT_IN = sql<[number, number, number, string, number], { event_nid: number; position: number }>(
  'catchUp.sentIn',
  `SELECT event_nid, position FROM events
   WHERE room_nid = ? AND position > ? AND position < ? AND sender LIKE ? AND status = 'accepted'
   ORDER BY position LIMIT ?`,
);

/**
 * The position of the first event that `collapse` would take off a server's outbox after the row `keep`; undefined
 * where it would take none.
 */
export async function firstCollapsible(
  reader: Reader,
  server: ServerName,
  keep: number,
): Promise<number | undefined> {
  return (await reader.get(FIRST_COLLAPSIBLE, server, keep))?.position ?? undefined;
}

/**
 * Takes the first `limit` events of rooms that a server is in off its outbox, after the row `keep`: it can fetch them
 * from us. Answers how many.
 */
export function collapse(
  tx: Tx,
  server: ServerName,
  { keep, limit }: { readonly keep: number; readonly limit: number },
): Promise<number> {
  return tx.run(COLLAPSE, server, keep, limit);
}

/**
 * The forward extremities of the rooms that a server is in and where something came after a position: the first
 * `limit` after the room `afterRoom`.
 */
export async function latest(
  reader: Reader,
  server: ServerName,
  page: { readonly position: number; readonly afterRoom: number; readonly limit: number },
): Promise<RoomEvent[]> {
  const rows = await reader.all(LATEST, page.afterRoom, server, page.position, page.limit);
  return rows.map((row) => ({ roomNid: row.room_nid, eventNid: row.event_nid }));
}

/** The events that users of a server sent into a room between two positions, in order. */
export async function sentIn(
  reader: Reader,
  roomNid: number,
  range: { readonly after: number; readonly before: number; readonly by: ServerName; readonly limit: number },
): Promise<{ eventNid: number; position: number }[]> {
  const { after, before, by, limit } = range;
  // A server name holds no character that means something in a pattern.
  const rows = await reader.all(SENT_IN, roomNid, after, before, `%:${by}`, limit);
  return rows.map((row) => ({ eventNid: row.event_nid, position: row.position }));
}

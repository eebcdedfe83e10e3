/** The two rims of a room's graph: the newest events, and what the oldest ones cite. */

import type { EventId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

const FORWARD = sql<[number], { event_nid: number }>(
  'eventEdges.forward',
  'SELECT event_nid FROM forward_extremities WHERE room_nid = ? ORDER BY event_nid',
);
const MOVE_FORWARD = sql<[number, number, number]>(
  'eventEdges.moveForward',
  'UPDATE forward_extremities SET event_nid = ? WHERE room_nid = ? AND event_nid = ?',
);
const ADD_FORWARD = sql<[number, number]>(
  'eventEdges.addForward',
  `INSERT INTO forward_extremities (room_nid, event_nid) VALUES (?, ?)
   ON CONFLICT (room_nid, event_nid) DO NOTHING`,
);
const REMOVE_FORWARD = sql<[number, string]>(
  'eventEdges.removeForward',
  'DELETE FROM forward_extremities WHERE room_nid = ? AND event_nid {anyInt}',
);
const BACKWARD = sql<[number, string, number], { event_id: EventId }>(
  'eventEdges.backward',
  `SELECT event_id FROM backward_extremities WHERE room_nid = ? AND event_id > ?
   ORDER BY event_id LIMIT ?`,
);
const IS_BACKWARD = sql<[number, string], { event_id: EventId }>(
  'eventEdges.isBackward',
  'SELECT event_id FROM backward_extremities WHERE room_nid = ? AND event_id = ?',
);
const BACKWARD_AMONG = sql<[number, string], { event_id: EventId }>(
  'eventEdges.backwardAmong',
  'SELECT event_id FROM backward_extremities WHERE room_nid = ? AND event_id {anyOf} ORDER BY event_id',
);
const ADD_BACKWARD = sql<[number, string]>(
  'eventEdges.addBackward',
  `INSERT INTO backward_extremities (room_nid, event_id) VALUES (?, ?)
   ON CONFLICT (room_nid, event_id) DO NOTHING`,
);
const REMOVE_BACKWARD = sql<[number, string]>(
  'eventEdges.removeBackward',
  'DELETE FROM backward_extremities WHERE room_nid = ? AND event_id = ?',
);

/** The numeric ids of the forward extremities. */
export async function forwardExtremities(reader: Reader, roomNid: number): Promise<number[]> {
  return (await reader.all(FORWARD, roomNid)).map((row) => row.event_nid);
}

/** Removes some forward extremities and adds others. */
export async function moveForwardExtremities(
  tx: Tx,
  roomNid: number,
  change: { readonly removed: readonly number[]; readonly added: readonly number[] },
): Promise<void> {
  const { removed, added } = change;
  const [from] = removed;
  const [to] = added;
  // The usual case, an event that follows the one before it, in one statement.
  if (removed.length === 1 && added.length === 1 && from !== undefined && to !== undefined) {
    if ((await tx.run(MOVE_FORWARD, to, roomNid, from)) === 1) return;
  }
  if (removed.length > 0) await tx.run(REMOVE_FORWARD, roomNid, anyOf(removed));
  // Few: the new event, or those of a room that is joined.
  for (const nid of added) await tx.run(ADD_FORWARD, roomNid, nid);
}

/**
 * The ids of events that accepted events cite and the server does not have, in the order of the ids: `limit` of those
 * after `after`, from the first where that is ''. A room has few; a hostile server can make any number.
 */
export async function backwardExtremities(
  reader: Reader,
  roomNid: number,
  { after = '', limit }: { readonly after?: EventId | ''; readonly limit: number },
): Promise<EventId[]> {
  return (await reader.all(BACKWARD, roomNid, after, limit)).map((row) => row.event_id);
}

/** True where an accepted event cites this one, which the server did not have so far. */
export async function isBackwardExtremity(
  reader: Reader,
  roomNid: number,
  eventId: EventId,
): Promise<boolean> {
  return (await reader.get(IS_BACKWARD, roomNid, eventId)) !== undefined;
}

/** Those of some events that `isBackwardExtremity` is true of. */
export async function backwardAmong(
  reader: Reader,
  roomNid: number,
  eventIds: Iterable<EventId>,
): Promise<EventId[]> {
  return (await reader.all(BACKWARD_AMONG, roomNid, anyOf(eventIds))).map((row) => row.event_id);
}

/** Adds what a new event cites and the server does not have. */
export async function addBackwardExtremities(
  tx: Tx,
  roomNid: number,
  eventIds: readonly EventId[],
): Promise<void> {
  // At most 20: the most prev_events an event may have.
  for (const eventId of eventIds) await tx.run(ADD_BACKWARD, roomNid, eventId);
}

/** Removes an event that has arrived. */
export async function removeBackwardExtremity(tx: Tx, roomNid: number, eventId: EventId): Promise<void> {
  await tx.run(REMOVE_BACKWARD, roomNid, eventId);
}

/** Rejections that what arrives later may change, and the events that they wait for. */

import type { EventId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

const AMONG = sql<[string], { event_nid: number }>(
  'provisionalRejections.among',
  'SELECT DISTINCT event_nid FROM provisional_rejections WHERE event_nid {anyInt} ORDER BY event_nid',
);
const AWAITING = sql<[string, number], { event_nid: number }>(
  'provisionalRejections.awaiting',
  'SELECT event_nid FROM provisional_rejections WHERE waits_for = ? ORDER BY event_nid LIMIT ?',
);
const WAITED_FOR_AMONG = sql<[string], { waits_for: EventId }>(
  'provisionalRejections.waitedForAmong',
  'SELECT DISTINCT waits_for FROM provisional_rejections WHERE waits_for {anyOf} ORDER BY waits_for',
);
const AWAITED_BY = sql<[number], { waits_for: EventId }>(
  'provisionalRejections.awaitedBy',
  'SELECT waits_for FROM provisional_rejections WHERE event_nid = ? ORDER BY waits_for',
);
const ADD = sql<[number, string]>(
  'provisionalRejections.add',
  `INSERT INTO provisional_rejections (event_nid, waits_for) VALUES (?, ?)
   ON CONFLICT (event_nid, waits_for) DO NOTHING`,
);
const DROP = sql<[string]>(
  'provisionalRejections.drop',
  'DELETE FROM provisional_rejections WHERE event_nid {anyInt}',
);

/** Which of these events are rejected provisionally. */
export async function among(reader: Reader, nids: Iterable<number>): Promise<Set<number>> {
  return new Set((await reader.all(AMONG, anyOf(nids))).map((row) => row.event_nid));
}

/** The events that wait for one, at most `limit`. */
export async function awaiting(reader: Reader, eventId: EventId, limit: number): Promise<number[]> {
  return (await reader.all(AWAITING, eventId, limit)).map((row) => row.event_nid);
}

/** Those of some events that others wait for. */
export async function waitedForAmong(reader: Reader, eventIds: Iterable<EventId>): Promise<EventId[]> {
  return (await reader.all(WAITED_FOR_AMONG, anyOf(eventIds))).map((row) => row.waits_for);
}

/** What an event waits for; nothing where it is not rejected provisionally. */
export async function awaitedBy(reader: Reader, nid: number): Promise<EventId[]> {
  return (await reader.all(AWAITED_BY, nid)).map((row) => row.waits_for);
}

/** Notes what a rejected event waits for. */
export async function add(tx: Tx, nid: number, waitsFor: readonly EventId[]): Promise<void> {
  // At most 20, as many as an event cites.
  for (const eventId of waitsFor) await tx.run(ADD, nid, eventId);
}

/** Forgets what events waited for: they have been judged for good. */
export async function drop(tx: Tx, nids: Iterable<number>): Promise<void> {
  await tx.run(DROP, anyOf(nids));
}

import type { EventId, ServerName } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** An event that a server did not accept. */
export interface RefusedEvent {
  /** Orders them. */
  readonly seq: number;
  readonly eventNid: number;
  readonly eventId: EventId;
  /** What the server said. */
  readonly reason: string;
  /** Milliseconds since 1970. */
  readonly refusedTs: number;
}

/** How many are remembered of each server: the newest. */
export const MOST_REFUSED = 100;

const ADD = sql<[string, number, string, number]>(
  'refusedEvents.add',
  'INSERT INTO refused_events (server, event_nid, reason, refused_ts) VALUES (?, ?, ?, ?)',
);
const FORGET_OLDER = sql<[string, string, number]>(
  'refusedEvents.forgetOlder',
  `DELETE FROM refused_events WHERE server = ? AND seq <=
     (SELECT seq FROM refused_events WHERE server = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)`,
);
interface Row {
  seq: number;
  event_nid: number;
  event_id: EventId;
  reason: string;
  refused_ts: number;
}

const LAST = sql<[string, number], Row>(
  'refusedEvents.last',
  `SELECT r.seq, e.event_nid, e.event_id, r.reason, r.refused_ts FROM refused_events r JOIN events e ON e.event_nid = r.event_nid
   WHERE r.server = ? ORDER BY r.seq DESC LIMIT ?`,
);
const FORGET = sql<[string]>('refusedEvents.forget', 'DELETE FROM refused_events WHERE seq {anyInt}');

/** Remembers events that a server did not accept, in order, and forgets the oldest. */
export async function add(
  tx: Tx,
  server: ServerName,
  refused: { readonly ts: number; readonly events: readonly { eventNid: number; reason: string }[] },
): Promise<void> {
  const newest = refused.events.slice(-MOST_REFUSED);
  // At most as many as a transaction holds.
  for (const { eventNid, reason } of newest) await tx.run(ADD, server, eventNid, reason, refused.ts);
  if (newest.length > 0) await tx.run(FORGET_OLDER, server, server, MOST_REFUSED);
}

/** The last `limit` events that a server did not accept, newest first. */
export async function last(reader: Reader, server: ServerName, limit: number): Promise<RefusedEvent[]> {
  const rows = await reader.all(LAST, server, limit);
  return rows.map((row) => ({
    ...{ seq: row.seq, eventNid: row.event_nid, eventId: row.event_id },
    ...{ reason: row.reason, refusedTs: row.refused_ts },
  }));
}

/** Forgets some of them: they are sent again. */
export async function forget(tx: Tx, seqs: readonly number[]): Promise<void> {
  await tx.run(FORGET, anyOf(seqs));
}

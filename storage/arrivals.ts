/** The events that clients see, of all rooms, in the order in which the server came to know them. */

import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** An event and when it came: its own position, or that at which it was fetched from the history. */
export interface Arrival {
  readonly arrived: number;
  readonly nid: number;
}

/** Before the first arrival there can be: that of history from before it was noted when it came. */
export const BEFORE_ALL = Number.MIN_SAFE_INTEGER;

const PAGE = sql<[number, number, number, number, number], { arrived: number; event_nid: number }>(
  'arrivals.page',
  `SELECT e.position AS arrived, e.event_nid FROM events e
   WHERE e.position > ? AND e.position > 0 AND e.position <= ?
   UNION ALL
   SELECT a.position AS arrived, a.event_nid FROM history_arrivals a WHERE a.position > ? AND a.position <= ?
   ORDER BY 1 LIMIT ?`,
);
const ADD = sql<[number, number]>(
  'arrivals.addHistory',
  'INSERT INTO history_arrivals (position, event_nid) VALUES (?, ?)',
);

/** The first arrivals after one position, up to another. An event may have gone since. */
export async function page(
  reader: Reader,
  range: { readonly after: number; readonly upto: number; readonly limit: number },
): Promise<Arrival[]> {
  const { after, upto, limit } = range;
  const rows = await reader.all(PAGE, after, upto, after, upto, limit);
  return rows.map((row) => ({ arrived: row.arrived, nid: row.event_nid }));
}

/** Notes when an event came whose own position is one of the history. */
export async function addHistory(tx: Tx, { arrived, nid }: Arrival): Promise<void> {
  await tx.run(ADD, arrived, nid);
}

import type { ServerName } from '#keys/ids.ts';
import type { Reader } from './database.ts';
import { sql } from './sql.ts';

/** What became of what was sent to a server. Times in milliseconds since 1970, 0 where it never was. */
export interface LedgerRow {
  readonly server: ServerName;
  readonly failures: number;
  readonly failingSince: number;
  readonly retryAt: number;
  readonly delivered: number;
  readonly refused: number;
  readonly lastSuccessTs: number;
  readonly clockSkew: number;
  /** JSON; undefined while it takes transactions. */
  readonly fault: string | undefined;
  /** Some of what it missed is not queued. */
  readonly behind: boolean;
  /** How many events and EDUs are queued. */
  readonly events: number;
  readonly edus: number;
  /** EDUs that were set aside: `eduOutbox.setAside`. */
  readonly edusAside: number;
  /** When the first of them was made; undefined where none is. */
  readonly oldestTs: number | undefined;
}

interface Row {
  server: ServerName;
  failures: number;
  failing_since: number;
  retry_at: number;
  delivered: number;
  refused: number;
  last_success_ts: number;
  clock_skew: number;
  fault: string | null;
  behind_after: number | null;
  events: number;
  edus: number;
  edus_aside: number;
  event_ts: number | null;
  edu_ts: number | null;
}

const SELECT = `SELECT d.server, d.failures, d.failing_since, d.retry_at, d.delivered, d.refused, d.last_success_ts,
    d.clock_skew, d.fault, d.behind_after,
    (SELECT COUNT(*) FROM outbox o WHERE o.server = d.server) AS events,
    (SELECT COUNT(*) FROM edu_outbox q WHERE q.server = d.server AND q.in_flight <> 2) AS edus,
    (SELECT COUNT(*) FROM edu_outbox q WHERE q.server = d.server AND q.in_flight = 2) AS edus_aside,
    (SELECT e.received_ts FROM outbox o JOIN events e ON e.event_nid = o.event_nid
     WHERE o.server = d.server ORDER BY o.seq LIMIT 1) AS event_ts,
    (SELECT q.queued_ts FROM edu_outbox q WHERE q.server = d.server AND q.in_flight <> 2
     ORDER BY q.seq LIMIT 1) AS edu_ts
  FROM destinations d`;

const LIST = sql<[string, number], Row>(
  'deliveryLedger.list',
  `${SELECT} WHERE d.server > ? ORDER BY d.server LIMIT ?`,
);
const CLOCK_SKEWS = sql<[number, number], { clock_skew: number }>(
  'deliveryLedger.clockSkews',
  'SELECT clock_skew FROM destinations WHERE last_success_ts > ? ORDER BY clock_skew, server LIMIT ?',
);
const OF = sql<[string], Row>('deliveryLedger.of', `${SELECT} WHERE d.server = ?`);

/**
 * By how many milliseconds the clocks of servers were ahead of ours when they last answered, the smallest first: of at
 * most `limit` servers that answered after `since`.
 */
export async function clockSkews(reader: Reader, since: number, limit: number): Promise<number[]> {
  return (await reader.all(CLOCK_SKEWS, since, limit)).map((row) => row.clock_skew);
}

/** The first `limit` servers after a name. */
export async function list(reader: Reader, after: ServerName, limit: number): Promise<LedgerRow[]> {
  return (await reader.all(LIST, after, limit)).map(ledgerRowOf);
}

/** One server; undefined for one that nothing was ever sent to. */
export async function of(reader: Reader, server: ServerName): Promise<LedgerRow | undefined> {
  const row = await reader.get(OF, server);
  return row === undefined ? undefined : ledgerRowOf(row);
}

function ledgerRowOf(row: Row): LedgerRow {
  const { server, failures, delivered, refused, events, edus } = row;
  const times = [row.event_ts, row.edu_ts].filter((ts) => ts !== null);
  return {
    ...{ server, failures, delivered, refused, events, edus },
    edusAside: row.edus_aside,
    failingSince: row.failing_since,
    retryAt: row.retry_at,
    lastSuccessTs: row.last_success_ts,
    clockSkew: row.clock_skew,
    fault: row.fault ?? undefined,
    behind: row.behind_after !== null,
    oldestTs: times.length === 0 ? undefined : Math.min(...times),
  };
}

import type { ServerName } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** An EDU that servers must get, however long they are away. */
export interface QueuedEdu {
  /** The EDU, as JSON. */
  readonly json: string;
  /** A later EDU with the same key takes the place of this one, where this one has not been sent yet. */
  readonly replaceKey: string | undefined;
  /** Milliseconds since 1970. */
  readonly queuedTs: number;
}

/** A row of one server; `seq` orders them. */
export interface EduRow {
  readonly seq: number;
  readonly edu: string;
}

/** How many that were set aside are kept for each server: the newest. */
const MOST_SET_ASIDE = 100;

const REPLACE = sql<[string, string]>(
  'eduOutbox.replace',
  'DELETE FROM edu_outbox WHERE server {anyOf} AND replace_key = ? AND in_flight <> 1',
);
const ENQUEUE = sql<[string | null, string, number, string]>(
  'eduOutbox.enqueue',
  `INSERT INTO edu_outbox (server, replace_key, edu, queued_ts)
   SELECT server, CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT) FROM destinations
   WHERE server {anyOf} ORDER BY server`,
);
const NEXT = sql<[string, number], EduRow>(
  'eduOutbox.next',
  'SELECT seq, edu FROM edu_outbox WHERE server = ? AND in_flight <> 2 ORDER BY seq LIMIT ?',
);
const IN_FLIGHT = sql<[string, number], EduRow>(
  'eduOutbox.inFlight',
  'SELECT seq, edu FROM edu_outbox WHERE server = ? AND in_flight = 1 ORDER BY seq LIMIT ?',
);
const TAKE_OFF = sql<[string]>('eduOutbox.takeOff', 'UPDATE edu_outbox SET in_flight = 1 WHERE seq {anyInt}');
const LAND = sql<[string]>(
  'eduOutbox.land',
  'UPDATE edu_outbox SET in_flight = 0 WHERE server = ? AND in_flight = 1',
);
const FORGET = sql<[string]>('eduOutbox.forget', 'DELETE FROM edu_outbox WHERE server = ? AND in_flight = 1');
const SET_ASIDE = sql<[string]>(
  'eduOutbox.setAside',
  'UPDATE edu_outbox SET in_flight = 2 WHERE server = ? AND in_flight = 1',
);
const FORGET_SET_ASIDE = sql<[string, string, number]>(
  'eduOutbox.forgetSetAside',
  `DELETE FROM edu_outbox WHERE server = ? AND in_flight = 2 AND seq <=
     (SELECT seq FROM edu_outbox WHERE server = ? AND in_flight = 2 ORDER BY seq DESC LIMIT 1 OFFSET ?)`,
);
const REQUEUE = sql<[string]>(
  'eduOutbox.requeue',
  'UPDATE edu_outbox SET in_flight = 0 WHERE server = ? AND in_flight = 2',
);
const TRIM = sql<[string, string, number]>(
  'eduOutbox.trim',
  `DELETE FROM edu_outbox WHERE server = ? AND in_flight = 0 AND replace_key IS NULL AND seq <=
     (SELECT seq FROM edu_outbox WHERE server = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)`,
);
const SERVERS = sql<[string, number], { server: ServerName }>(
  'eduOutbox.servers',
  'SELECT DISTINCT server FROM edu_outbox WHERE server > ? AND in_flight <> 2 ORDER BY server LIMIT ?',
);

/** Queues an EDU for servers, each of which has a row in `destinations`. */
export async function enqueue(tx: Tx, servers: readonly ServerName[], edu: QueuedEdu): Promise<void> {
  const { json, replaceKey, queuedTs } = edu;
  if (replaceKey !== undefined) await tx.run(REPLACE, anyOf(servers), replaceKey);
  await tx.run(ENQUEUE, replaceKey ?? null, json, queuedTs, anyOf(servers));
}

/** The first `limit` EDUs that a server is still to get. */
export function pendingOf(reader: Reader, server: ServerName, limit: number): Promise<EduRow[]> {
  return reader.all(NEXT, server, limit);
}

/** The EDUs of the transaction that was begun. */
export function inFlight(reader: Reader, server: ServerName, limit: number): Promise<EduRow[]> {
  return reader.all(IN_FLIGHT, server, limit);
}

/** Notes that the rows are in the transaction that begins: nothing replaces them any more. */
export async function takeOff(tx: Tx, rows: readonly EduRow[]): Promise<void> {
  if (rows.length > 0) await tx.run(TAKE_OFF, anyOf(rows.map(({ seq }) => seq)));
}

/** Notes that no transaction is begun. */
export async function land(tx: Tx, server: ServerName): Promise<void> {
  await tx.run(LAND, server);
}

/** Forgets the EDUs of the transaction that was begun: the server has answered it. */
export async function forget(tx: Tx, server: ServerName): Promise<void> {
  await tx.run(FORGET, server);
}

/**
 * Sets aside the EDUs of the transaction that was begun (`in_flight` 2): nothing else waits for them, and the newest are
 * kept until they are queued again, or a later one takes their place.
 */
export async function setAside(tx: Tx, server: ServerName): Promise<void> {
  await tx.run(SET_ASIDE, server);
  await tx.run(FORGET_SET_ASIDE, server, server, MOST_SET_ASIDE);
}

/** Queues again what was set aside; answers how many EDUs these are. */
export function requeue(tx: Tx, server: ServerName): Promise<number> {
  return tx.run(REQUEUE, server);
}

/**
 * Forgets all but the newest `keep` EDUs of a server; answers how many went. Those with a key stay: there is one for
 * each key, and it holds what no later one would say.
 */
export function trim(tx: Tx, server: ServerName, keep: number): Promise<number> {
  return tx.run(TRIM, server, server, keep);
}

/** The servers that EDUs wait for, in pages: the first `limit` after a name. */
export async function servers(reader: Reader, after: ServerName, limit: number): Promise<ServerName[]> {
  return (await reader.all(SERVERS, after, limit)).map((row) => row.server);
}

import type { ServerName } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** The state of a server's outage. */
export interface Outage {
  /** Attempts that failed one after the other; 0 while the server answers. */
  readonly failures: number;
  /** When the first of them failed, in milliseconds since 1970; 0 while the server answers. */
  readonly failingSince: number;
  /** Before this time the server is left alone, in milliseconds since 1970. */
  readonly retryAt: number;
}

/** A transaction that was begun. */
export interface OpenTransaction {
  readonly txnId: string;
  /** The last row of the outbox that it holds; 0 where it holds EDUs only. */
  readonly upto: number;
  /** Its `origin_server_ts`. */
  readonly ts: number;
}

/** What came of a transaction. */
export interface Answered {
  /** Our time, in milliseconds since 1970. */
  readonly ts: number;
  /** By how many milliseconds the server's clock is ahead of ours; undefined where it did not say. */
  readonly clockSkew: number | undefined;
  readonly delivered: number;
  readonly refused: number;
}

/** A server that events are sent to. */
export interface DestinationRow {
  readonly outage: Outage;
  readonly transaction: OpenTransaction | undefined;
  readonly receiptsPosition: number;
  /** It has missed so much that its events are not queued; undefined for a server whose events are. */
  readonly behindAfter: number | undefined;
}

/** An event that a server is still to get; `seq` orders them. */
export interface OutboxRow {
  readonly seq: number;
  readonly eventNid: number;
}

interface Row {
  failures: number;
  failing_since: number;
  retry_at: number;
  txn_id: string | null;
  txn_upto: number | null;
  txn_ts: number;
  receipts_position: number;
  behind_after: number | null;
}

const GET = sql<[string], Row>(
  'destinations.get',
  `SELECT failures, failing_since, retry_at, txn_id, txn_upto, txn_ts, receipts_position, behind_after
   FROM destinations WHERE server = ?`,
);
const ADD = sql<[string, number]>(
  'destinations.add',
  `INSERT INTO destinations (server, failures, failing_since, retry_at, txn_id, txn_upto, receipts_position)
   VALUES (?, 0, 0, 0, NULL, NULL, ?)
   ON CONFLICT (server) DO NOTHING`,
);
const SET_OUTAGE = sql<[number, number, number, string]>(
  'destinations.setOutage',
  'UPDATE destinations SET failures = ?, failing_since = ?, retry_at = ? WHERE server = ?',
);
const BEGIN = sql<[string, number, number, string]>(
  'destinations.begin',
  'UPDATE destinations SET txn_id = ?, txn_upto = ?, txn_ts = ? WHERE server = ?',
);
const END = sql<[number, number, number, number | null, string]>(
  'destinations.end',
  `UPDATE destinations SET txn_id = NULL, txn_upto = NULL, fault = NULL, delivered = delivered + ?,
     refused = refused + ?, last_success_ts = ?, clock_skew = COALESCE(?, clock_skew)
   WHERE server = ?`,
);
const TAKE_BACK_REFUSED = sql<[number, string]>(
  'destinations.takeBackRefused',
  'UPDATE destinations SET refused = refused - ? WHERE server = ?',
);
const SET_FAULT = sql<[string, string]>(
  'destinations.setFault',
  'UPDATE destinations SET fault = ? WHERE server = ?',
);
const SET_BEHIND = sql<[number | null, string]>(
  'destinations.setBehind',
  'UPDATE destinations SET behind_after = ? WHERE server = ?',
);
const SET_RECEIPTS_POSITION = sql<[number, string]>(
  'destinations.setReceiptsPosition',
  'UPDATE destinations SET receipts_position = {greatest}(receipts_position, ?) WHERE server = ?',
);
const WITH_PENDING = sql<[string, number], { server: ServerName }>(
  'destinations.withPending',
  `SELECT DISTINCT server FROM outbox WHERE server > ? ORDER BY server LIMIT ?`,
);
const SHARING_ROOMS = sql<[string], { server_name: ServerName }>(
  'destinations.sharingRooms',
  `SELECT DISTINCT server_name FROM memberships WHERE membership = 'join' AND server_name <> ?
   ORDER BY server_name`,
);
const JOINED_COUNTS = sql<[number], { server_name: ServerName; members: number }>(
  'destinations.joinedCounts',
  `SELECT server_name, COUNT(*) AS members FROM memberships
   WHERE room_nid = ? AND membership = 'join' GROUP BY server_name ORDER BY server_name`,
);
const ENQUEUE = sql<[number, string]>(
  'outbox.enqueue',
  `INSERT INTO outbox (server, event_nid)
   SELECT server, CAST(? AS BIGINT) FROM destinations
   WHERE server {anyOf} AND behind_after IS NULL ORDER BY server`,
);
const ENQUEUE_ALWAYS = sql<[number, string]>(
  'outbox.enqueueAlways',
  `INSERT INTO outbox (server, event_nid)
   SELECT server, CAST(? AS BIGINT) FROM destinations WHERE server {anyOf} ORDER BY server`,
);
const BEHIND = sql<[string], { server: ServerName; behind_after: number }>(
  'destinations.behind',
  `SELECT server, behind_after FROM destinations
   WHERE server {anyOf} AND behind_after IS NOT NULL ORDER BY server`,
);
const NTH = sql<[string, number], { seq: number }>(
  'outbox.nth',
  'SELECT seq FROM outbox WHERE server = ? ORDER BY seq LIMIT 1 OFFSET ?',
);
const NEXT = sql<[string, number], { seq: number; event_nid: number }>(
  'outbox.next',
  'SELECT seq, event_nid FROM outbox WHERE server = ? ORDER BY seq LIMIT ?',
);
const UPTO = sql<[string, number, number], { seq: number; event_nid: number }>(
  'outbox.upto',
  'SELECT seq, event_nid FROM outbox WHERE server = ? AND seq <= ? ORDER BY seq LIMIT ?',
);
const DELETE_UPTO = sql<[string, number]>(
  'outbox.deleteUpto',
  'DELETE FROM outbox WHERE server = ? AND seq <= ?',
);
const DELETE_OUTGOING = sql<[number]>(
  'outgoingEvents.deleteUpto',
  'DELETE FROM outgoing_events WHERE position <= ?',
);

/** What is known of a server that events are sent to; undefined for another. */
export async function of(reader: Reader, server: ServerName): Promise<DestinationRow | undefined> {
  const row = await reader.get(GET, server);
  if (row === undefined) return undefined;
  const { txn_id: txnId, txn_upto: upto } = row;
  return {
    outage: { failures: row.failures, failingSince: row.failing_since, retryAt: row.retry_at },
    transaction: txnId === null || upto === null ? undefined : { txnId, upto, ts: row.txn_ts },
    receiptsPosition: row.receipts_position,
    behindAfter: row.behind_after ?? undefined,
  };
}

/** Makes the row of a server, where there is none; it needs no receipts from before `receiptsPosition`. */
export async function add(tx: Tx, server: ServerName, receiptsPosition: number): Promise<void> {
  await tx.run(ADD, server, receiptsPosition);
}

/** Stores the outage of a server that has a row; does nothing for another. */
export async function setOutage(tx: Tx, server: ServerName, outage: Outage): Promise<void> {
  await tx.run(SET_OUTAGE, outage.failures, outage.failingSince, outage.retryAt, server);
}

/** Queues an event for servers, each of which has a row; not for those that are behind. */
export async function enqueue(tx: Tx, eventNid: number, servers: Iterable<ServerName>): Promise<void> {
  await tx.run(ENQUEUE, eventNid, anyOf(servers));
}

/** As `enqueue`, for those that are behind too. */
export async function enqueueAlways(tx: Tx, eventNid: number, servers: Iterable<ServerName>): Promise<void> {
  await tx.run(ENQUEUE_ALWAYS, eventNid, anyOf(servers));
}

/** Those of the servers that are behind, and after which position. */
export async function behindAmong(
  reader: Reader,
  servers: Iterable<ServerName>,
): Promise<Map<ServerName, number>> {
  const rows = await reader.all(BEHIND, anyOf(servers));
  return new Map(rows.map((row) => [row.server, row.behind_after]));
}

/** Notes that a server is behind after a position, or that it is no longer. */
export async function setBehind(tx: Tx, server: ServerName, after: number | undefined): Promise<void> {
  await tx.run(SET_BEHIND, after ?? null, server);
}

/** Notes that some events which counted as refused are sent again. */
export async function takeBackRefused(tx: Tx, server: ServerName, count: number): Promise<void> {
  await tx.run(TAKE_BACK_REFUSED, count, server);
}

/** True where more than `most` events wait for a server. */
export async function hasMorePending(reader: Reader, server: ServerName, most: number): Promise<boolean> {
  return (await reader.get(NTH, server, most)) !== undefined;
}

/** Forgets the outgoing events up to a position: they are queued. */
export async function deleteOutgoing(tx: Tx, upto: number): Promise<void> {
  await tx.run(DELETE_OUTGOING, upto);
}

/** The first `limit` events that a server is still to get. */
export async function pendingOf(reader: Reader, server: ServerName, limit: number): Promise<OutboxRow[]> {
  return (await reader.all(NEXT, server, limit)).map(outboxRowOf);
}

/** The events of the transaction that was begun. */
export async function pendingUpto(
  reader: Reader,
  server: ServerName,
  range: { readonly upto: number; readonly limit: number },
): Promise<OutboxRow[]> {
  return (await reader.all(UPTO, server, range.upto, range.limit)).map(outboxRowOf);
}

/** Notes that a transaction is about to be sent: after a crash the same one is sent again. */
export async function beginTransaction(tx: Tx, server: ServerName, open: OpenTransaction): Promise<void> {
  await tx.run(BEGIN, open.txnId, open.upto, open.ts, server);
}

/** Notes that the server has answered a transaction: its events, up to a row, are delivered. */
export async function endTransaction(
  tx: Tx,
  server: ServerName,
  { upto, answered }: { readonly upto: number; readonly answered: Answered },
): Promise<void> {
  const { delivered, refused, ts, clockSkew } = answered;
  if (upto > 0) await tx.run(DELETE_UPTO, server, upto);
  await tx.run(END, delivered, refused, ts, clockSkew ?? null, server);
}

/** Notes why a server does not take transactions, as JSON (`federation/outbound/ledger.ts`). */
export async function setFault(tx: Tx, server: ServerName, fault: string): Promise<void> {
  await tx.run(SET_FAULT, fault, server);
}

/** Notes that the server has every receipt up to a position. */
export async function setReceiptsPosition(tx: Tx, server: ServerName, position: number): Promise<void> {
  await tx.run(SET_RECEIPTS_POSITION, position, server);
}

/** The servers that events wait for, in pages: the first `limit` after a name. */
export async function withPending(reader: Reader, after: ServerName, limit: number): Promise<ServerName[]> {
  return (await reader.all(WITH_PENDING, after, limit)).map((row) => row.server);
}

/** The servers that have a user in a room of ours. For a `scan`-capable reader: it goes through all memberships. */
export async function sharingRooms(
  reader: { scan: Reader['all'] },
  ourServer: ServerName,
): Promise<ServerName[]> {
  return (await reader.scan(SHARING_ROOMS, ourServer)).map((row) => row.server_name);
}

/** How many joined users each server has in a room, by its current state. */
export async function joinedCounts(reader: Reader, roomNid: number): Promise<Map<ServerName, number>> {
  const rows = await reader.all(JOINED_COUNTS, roomNid);
  return new Map(rows.map((row) => [row.server_name, row.members]));
}

function outboxRowOf(row: { seq: number; event_nid: number }): OutboxRow {
  return { seq: row.seq, eventNid: row.event_nid };
}

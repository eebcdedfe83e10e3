import type { EventId, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';
import type { StateGroup } from './state-groups.ts';
import { textColumn } from './text-column.ts';

/**
 * What the server makes of an event: accepted; soft-failed (allowed where it stands, not by the current state);
 * rejected by the authorisation rules; or an outlier, known only as a part of some state or auth chain.
 */
export type EventStatus = 'accepted' | 'soft_failed' | 'rejected' | 'outlier';

/** A row as it is read: the event's text, and what is known beside it. */
export interface EventRow {
  readonly event_nid: number;
  readonly event_id: EventId;
  readonly room_nid: number;
  readonly position: number | null;
  readonly received_ts: number;
  readonly status: EventStatus;
  readonly reason: string | null;
  readonly state_before: number | null;
  readonly state_after: number | null;
  readonly redacted_by: EventId | null;
  readonly txn_device: string | null;
  readonly txn_id: string | null;
  readonly json: string;
}

/** A row to write. */
export interface NewEvent {
  readonly eventId: EventId;
  readonly roomNid: number;
  readonly position: number | undefined;
  readonly depth: number;
  readonly type: string;
  readonly stateKey: string | undefined;
  readonly sender: UserId;
  readonly originServerTs: number;
  readonly receivedTs: number;
  readonly status: EventStatus;
  readonly reason: string | undefined;
  readonly stateBefore: StateGroup | undefined;
  readonly stateAfter: StateGroup | undefined;
  readonly redactedBy: EventId | undefined;
  readonly txn: { readonly deviceId: string; readonly txnId: string } | undefined;
  readonly json: string;
}

/** A row to write of an event of which no more is known than what it says. */
export type NewOutlier = Pick<
  NewEvent,
  'eventId' | 'roomNid' | 'depth' | 'type' | 'stateKey' | 'sender' | 'originServerTs' | 'receivedTs' | 'json'
>;

/** What placing an event in the graph tells about one that was an outlier. */
export interface Placing {
  readonly position: number | undefined;
  readonly status: EventStatus;
  readonly reason: string | undefined;
  readonly stateBefore: StateGroup | undefined;
  readonly stateAfter: StateGroup | undefined;
  readonly redactedBy: EventId | undefined;
  readonly json: string;
}

/** The columns of an `EventRow`. */
export const EVENT_COLUMNS = `event_nid, event_id, room_nid, position, received_ts, status, reason, state_before, state_after,
  redacted_by, txn_device, txn_id, json`;

const BY_IDS = sql<[string], EventRow>(
  'events.byIds',
  `SELECT ${EVENT_COLUMNS} FROM events WHERE event_id {anyOf} ORDER BY event_nid`,
);
const BY_ID = sql<[string], EventRow>(
  'events.byId',
  `SELECT ${EVENT_COLUMNS} FROM events WHERE event_id = ?`,
);
const BY_NIDS = sql<[string], EventRow>(
  'events.byNids',
  `SELECT ${EVENT_COLUMNS} FROM events WHERE event_nid {anyInt} ORDER BY event_nid`,
);
const IDS_OF = sql<[string], { event_nid: number; event_id: EventId }>(
  'events.idsOf',
  'SELECT event_nid, event_id FROM events WHERE event_nid {anyInt} ORDER BY event_nid',
);
const NIDS_OF = sql<[string], { event_nid: number; event_id: EventId }>(
  'events.nidsOf',
  'SELECT event_nid, event_id FROM events WHERE event_id {anyOf} ORDER BY event_nid',
);
const POSITIONS_OF = sql<[string], { event_id: EventId; position: number }>(
  'events.positionsOf',
  `SELECT event_id, position FROM events WHERE event_id {anyOf} AND position IS NOT NULL
   ORDER BY event_nid`,
);
type InsertParams = [
  eventId: string,
  roomNid: number,
  position: number | null,
  depth: number,
  type: string,
  stateKey: string | null,
  sender: string,
  originServerTs: number,
  receivedTs: number,
  status: string,
  reason: string | null,
  stateBefore: number | null,
  stateAfter: number | null,
  redactedBy: string | null,
  txnDevice: string | null,
  txnId: string | null,
  json: string,
];
const INSERT = sql<InsertParams, { event_nid: number }>(
  'events.insert',
  `INSERT INTO events (event_id, room_nid, position, depth, type, state_key, sender, origin_server_ts, received_ts,
     status, reason, state_before, state_after, redacted_by, txn_device, txn_id, json)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
   RETURNING event_nid`,
);
const INSERT_UNPLACED = sql<InsertParams>(
  'events.insertUnplaced',
  `INSERT INTO events (event_id, room_nid, position, depth, type, state_key, sender, origin_server_ts, received_ts,
     status, reason, state_before, state_after, redacted_by, txn_device, txn_id, json)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
   ON CONFLICT (event_id) DO NOTHING`,
);
// A join stores tens of thousands: each parameter less is a tenth of a microsecond.
const INSERT_OUTLIER = sql<
  [string, number, number, string, string | null, string, number, number, string],
  { event_nid: number }
>(
  'events.insertOutlier',
  `INSERT INTO events (event_id, room_nid, depth, type, state_key, sender, origin_server_ts, received_ts, status, json)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'outlier', ?)
   ON CONFLICT (event_id) DO NOTHING
   RETURNING event_nid`,
);
const PLACE = sql<
  [number | null, string, string | null, number | null, number | null, string | null, string, number]
>(
  'events.place',
  `UPDATE events SET position = ?, status = ?, reason = ?, state_before = ?, state_after = ?,
     redacted_by = ?, json = ?
   WHERE event_nid = ?`,
);
const SET_STATE_AFTER = sql<[number, number]>(
  'events.setStateAfter',
  'UPDATE events SET state_after = ? WHERE event_nid = ?',
);
const REDACT = sql<[string, string, number]>(
  'events.redact',
  'UPDATE events SET json = ?, redacted_by = ? WHERE event_nid = ? AND redacted_by IS NULL',
);
const RESTORE = sql<[string]>(
  'events.restore',
  `UPDATE events SET status = CASE WHEN state_after IS NULL THEN 'outlier' ELSE 'soft_failed' END, reason = NULL
   WHERE event_nid {anyInt} AND status = 'rejected'`,
);
const INSERT_OUTGOING = sql<[number, number, number]>(
  'events.insertOutgoing',
  'INSERT INTO outgoing_events (position, room_nid, event_nid) VALUES (?, ?, ?)',
);
const OUTGOING = sql<[number, number, number], { position: number; room_nid: number; event_nid: number }>(
  'events.outgoing',
  `SELECT position, room_nid, event_nid FROM outgoing_events
   WHERE position > ? AND position <= ? ORDER BY position LIMIT ?`,
);
const PENDING_REDACTIONS = sql<[string], { redaction_nid: number }>(
  'events.pendingRedactions',
  'SELECT redaction_nid FROM pending_redactions WHERE event_id = ? ORDER BY redaction_nid',
);
const PENDING_REDACTIONS_AMONG = sql<[string], { event_id: EventId }>(
  'events.pendingRedactionsAmong',
  'SELECT DISTINCT event_id FROM pending_redactions WHERE event_id {anyOf} ORDER BY event_id',
);
const ADD_PENDING_REDACTION = sql<[string, number]>(
  'events.addPendingRedaction',
  `INSERT INTO pending_redactions (event_id, redaction_nid) VALUES (?, ?)
   ON CONFLICT (event_id, redaction_nid) DO NOTHING`,
);
const DROP_PENDING_REDACTIONS = sql<[string]>(
  'events.dropPendingRedactions',
  'DELETE FROM pending_redactions WHERE event_id = ?',
);

/** The row of one event. */
export function byId(reader: Reader, eventId: EventId): Promise<EventRow | undefined> {
  return reader.get(BY_ID, eventId);
}

/** The rows of many events; those that are not stored are absent. */
export function byIds(reader: Reader, eventIds: Iterable<EventId>): Promise<EventRow[]> {
  return reader.all(BY_IDS, anyOf(eventIds));
}

/** The rows of many numeric ids. */
export function byNids(reader: Reader, nids: Iterable<number>): Promise<EventRow[]> {
  return reader.all(BY_NIDS, anyOf(nids));
}

/** The event ids of numeric ids, without reading the events. */
export async function idsOf(reader: Reader, nids: Iterable<number>): Promise<Map<number, EventId>> {
  const rows = await reader.all(IDS_OF, anyOf(nids));
  return new Map(rows.map((row) => [row.event_nid, row.event_id]));
}

/** The numeric ids of events; those that are not stored are absent. */
export async function nidsOf(reader: Reader, eventIds: Iterable<EventId>): Promise<Map<EventId, number>> {
  const rows = await reader.all(NIDS_OF, anyOf(eventIds));
  return new Map(rows.map((row) => [row.event_id, row.event_nid]));
}

/** The positions of events; those that have none or are not stored are absent. */
export async function positionsOf(
  reader: Reader,
  eventIds: Iterable<EventId>,
): Promise<Map<EventId, number>> {
  const rows = await reader.all(POSITIONS_OF, anyOf(eventIds));
  return new Map(rows.map((row) => [row.event_id, row.position]));
}

/** Inserts an event, which must be new; answers its numeric id. */
export async function insert(tx: Tx, event: NewEvent): Promise<number> {
  const row = await tx.get(INSERT, ...paramsOf(event));
  if (row === undefined) throw new Error('an event got no numeric id');
  return row.event_nid;
}

/**
 * Inserts events that have no place in the graph; those that are stored already stay as they are. Answers the numeric
 * ids of those inserted.
 */
export async function insertOutliers(tx: Tx, events: readonly NewOutlier[]): Promise<Map<EventId, number>> {
  const inserted = new Map<EventId, number>();
  for (const {
    eventId,
    roomNid,
    depth,
    type,
    stateKey,
    sender,
    originServerTs,
    receivedTs,
    json,
  } of events) {
    // One statement each: both databases take longer to read such a list out of a text.
    const row = await tx.get(
      INSERT_OUTLIER,
      eventId,
      roomNid,
      depth,
      textColumn(type),
      stateKey === undefined ? null : textColumn(stateKey),
      sender,
      originServerTs,
      receivedTs,
      json,
    );
    if (row !== undefined) inserted.set(eventId, row.event_nid);
  }
  return inserted;
}

/** Inserts an event that has no place in the graph, whatever became of it, unless it is stored already. */
export async function insertUnplaced(tx: Tx, event: NewEvent): Promise<void> {
  await tx.run(INSERT_UNPLACED, ...paramsOf(event));
}

/** Gives an event that was an outlier its place in the graph. */
export async function place(tx: Tx, nid: number, placing: Placing): Promise<void> {
  await tx.run(
    PLACE,
    placing.position ?? null,
    placing.status,
    placing.reason ?? null,
    placing.stateBefore ?? null,
    placing.stateAfter ?? null,
    placing.redactedBy ?? null,
    placing.json,
    nid,
  );
}

/** Sets the state after a state event, which holds the numeric id that its insertion gave it. */
export async function setStateAfter(tx: Tx, nid: number, group: StateGroup): Promise<void> {
  await tx.run(SET_STATE_AFTER, group, nid);
}

/** Makes rejected events such that may be part of a state, without letting clients see them. */
export async function restore(tx: Tx, nids: Iterable<number>): Promise<void> {
  await tx.run(RESTORE, anyOf(nids));
}

/** Replaces the event's text by its redacted form. True where it was not redacted before. */
export async function redact(
  tx: Tx,
  nid: number,
  redacted: { readonly json: string; readonly by: EventId },
): Promise<boolean> {
  return (await tx.run(REDACT, redacted.json, redacted.by, nid)) === 1;
}

/** Notes an event of one of our users that other servers of its room are to get. */
export async function insertOutgoing(
  tx: Tx,
  outgoing: { readonly position: number; readonly roomNid: number; readonly nid: number },
): Promise<void> {
  await tx.run(INSERT_OUTGOING, outgoing.position, outgoing.roomNid, outgoing.nid);
}

/** Our users' events in rooms with other servers, after one position and up to another, in order. */
export async function outgoing(
  reader: Reader,
  range: { readonly after: number; readonly upto: number; readonly limit: number },
): Promise<{ position: number; roomNid: number; nid: number }[]> {
  const rows = await reader.all(OUTGOING, range.after, range.upto, range.limit);
  return rows.map((row) => ({ position: row.position, roomNid: row.room_nid, nid: row.event_nid }));
}

/** The redactions of an event that arrived before it. */
export async function pendingRedactions(reader: Reader, eventId: EventId): Promise<number[]> {
  return (await reader.all(PENDING_REDACTIONS, eventId)).map((row) => row.redaction_nid);
}

/** Those of some events that a redaction waits for. */
export async function pendingRedactionsAmong(
  reader: Reader,
  eventIds: Iterable<EventId>,
): Promise<EventId[]> {
  return (await reader.all(PENDING_REDACTIONS_AMONG, anyOf(eventIds))).map((row) => row.event_id);
}

/** Keeps a redaction for when its target arrives. */
export async function addPendingRedaction(tx: Tx, target: EventId, redactionNid: number): Promise<void> {
  await tx.run(ADD_PENDING_REDACTION, target, redactionNid);
}

/** Forgets the redactions that waited for an event. */
export async function dropPendingRedactions(tx: Tx, target: EventId): Promise<void> {
  await tx.run(DROP_PENDING_REDACTIONS, target);
}

function paramsOf(event: NewEvent): InsertParams {
  return [
    event.eventId,
    event.roomNid,
    event.position ?? null,
    event.depth,
    textColumn(event.type),
    event.stateKey === undefined ? null : textColumn(event.stateKey),
    event.sender,
    event.originServerTs,
    event.receivedTs,
    event.status,
    event.reason ?? null,
    event.stateBefore ?? null,
    event.stateAfter ?? null,
    event.redactedBy ?? null,
    event.txn === undefined ? null : textColumn(event.txn.deviceId),
    event.txn === undefined ? null : textColumn(event.txn.txnId),
    event.json,
  ];
}

/** Events that users want sent later, and for a while what became of them. */

import type { EventId, RoomId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';
import { fromTextColumn, textColumn } from './text-column.ts';

export interface NewDelayedEvent {
  readonly delayId: string;
  readonly userId: UserId;
  /** The device, endpoint and transaction id of the request; undefined where it had none. */
  readonly txn: string | undefined;
  readonly roomId: RoomId;
  readonly type: string;
  readonly stateKey: string | undefined;
  readonly content: JsonObject;
  readonly delayMs: number;
  /** For how long it is sticky; undefined for one that is not. */
  readonly stickyMs?: number | undefined;
  /** When it was asked for, or last restarted; in milliseconds since 1970, as are all times. */
  readonly sinceTs: number;
}

/** What became of it. Neither `eventId` nor `error`: it was cancelled. */
export interface Finalised {
  readonly ts: number;
  readonly eventId?: EventId | undefined;
  readonly error?: JsonObject | undefined;
}

export interface DelayedEvent extends Omit<NewDelayedEvent, 'txn'> {
  /** When it is to be tried next. */
  readonly dueTs: number;
  /** Undefined while it waits. */
  readonly finalised: Finalised | undefined;
}

interface Row {
  delay_id: string;
  user_id: UserId;
  room_id: RoomId;
  type: string;
  state_key: string | null;
  content: string;
  delay_ms: number;
  since_ts: number;
  due_ts: number;
  finalised_ts: number | null;
  event_id: EventId | null;
  error: string | null;
  sticky_ms: number | null;
}

const COLUMNS =
  'delay_id, user_id, room_id, type, state_key, content, delay_ms, since_ts, due_ts, finalised_ts, event_id, error, sticky_ms';

const INSERT = sql<
  [
    string,
    string,
    string | null,
    string,
    string,
    string | null,
    string,
    number,
    number,
    number,
    number | null,
  ]
>(
  'delayedEvents.insert',
  `INSERT INTO delayed_events
     (delay_id, user_id, txn, room_id, type, state_key, content, delay_ms, since_ts, due_ts, sticky_ms)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
);
const OF_TXN = sql<[string, string], { delay_id: string }>(
  'delayedEvents.ofTxn',
  'SELECT delay_id FROM delayed_events WHERE user_id = ? AND txn = ?',
);
const OF = sql<[string], Row>('delayedEvents.of', `SELECT ${COLUMNS} FROM delayed_events WHERE delay_id = ?`);
const SCHEDULED = sql<[string], Row>(
  'delayedEvents.scheduled',
  `SELECT ${COLUMNS} FROM delayed_events WHERE user_id = ? AND finalised_ts IS NULL ORDER BY due_ts, delay_id`,
);
const COUNT = sql<[string], { waiting: number; next_ts: number | null }>(
  'delayedEvents.count',
  `SELECT COUNT(*) AS waiting, MIN(due_ts) AS next_ts FROM delayed_events
   WHERE user_id = ? AND finalised_ts IS NULL`,
);
const DUE = sql<[number, number], Row>(
  'delayedEvents.due',
  `SELECT ${COLUMNS} FROM delayed_events WHERE finalised_ts IS NULL AND due_ts <= ?
   ORDER BY due_ts, delay_id LIMIT ?`,
);
const NEXT_DUE = sql<[], { due_ts: number }>(
  'delayedEvents.nextDue',
  'SELECT due_ts FROM delayed_events WHERE finalised_ts IS NULL ORDER BY due_ts LIMIT 1',
);
const RESTART = sql<[number, number, string]>(
  'delayedEvents.restart',
  'UPDATE delayed_events SET since_ts = ?, due_ts = ? + delay_ms WHERE delay_id = ? AND finalised_ts IS NULL',
);
const POSTPONE = sql<[number, string]>(
  'delayedEvents.postpone',
  'UPDATE delayed_events SET due_ts = ? WHERE delay_id = ? AND finalised_ts IS NULL',
);
const FINALISE = sql<[number, string | null, string | null, string]>(
  'delayedEvents.finalise',
  `UPDATE delayed_events SET finalised_ts = ?, event_id = ?, error = ?
   WHERE delay_id = ? AND finalised_ts IS NULL`,
);
const FORGET_OLD = sql<[number]>(
  'delayedEvents.forgetOld',
  'DELETE FROM delayed_events WHERE finalised_ts < ?',
);
const NTH_NEWEST = sql<[string, number], { finalised_ts: number }>(
  'delayedEvents.nthNewest',
  `SELECT finalised_ts FROM delayed_events WHERE user_id = ? AND finalised_ts IS NOT NULL
   ORDER BY finalised_ts DESC LIMIT 1 OFFSET ?`,
);
const FORGET_OF_USER = sql<[string, number]>(
  'delayedEvents.forgetOfUser',
  'DELETE FROM delayed_events WHERE user_id = ? AND finalised_ts <= ?',
);

export type Inserted =
  /** As it is, or as the same request made it before. */
  | { readonly kind: 'scheduled'; readonly delayId: string }
  /** The user has as many as may wait; `nextTs`: when the next of them is sent. */
  | { readonly kind: 'full'; readonly nextTs: number };

/** Keeps an event to be sent `delayMs` after `sinceTs`. */
export async function insert(tx: Tx, event: NewDelayedEvent, most: number): Promise<Inserted> {
  const { userId, txn } = event;
  const known = txn === undefined ? undefined : await ofTxn(tx, userId, txn);
  if (known !== undefined) return { kind: 'scheduled', delayId: known };
  const { waiting, next_ts: nextTs } = (await tx.get(COUNT, userId)) ?? { waiting: 0, next_ts: null };
  if (waiting >= most) return { kind: 'full', nextTs: nextTs ?? event.sinceTs };
  const { delayId, roomId, type, stateKey, content, delayMs, sinceTs, stickyMs } = event;
  await tx.run(
    INSERT,
    delayId,
    userId,
    txn === undefined ? null : textColumn(txn),
    textColumn(roomId),
    textColumn(type),
    stateKey === undefined ? null : textColumn(stateKey),
    textColumn(JSON.stringify(content)),
    delayMs,
    sinceTs,
    sinceTs + delayMs,
    stickyMs ?? null,
  );
  return { kind: 'scheduled', delayId };
}

/** What the same request made before. */
export async function ofTxn(reader: Reader, userId: UserId, txn: string): Promise<string | undefined> {
  return (await reader.get(OF_TXN, userId, textColumn(txn)))?.delay_id;
}

/** One of them, whether it waits or not. */
export async function of(reader: Reader, delayId: string): Promise<DelayedEvent | undefined> {
  const row = await reader.get(OF, textColumn(delayId));
  return row && eventFrom(row);
}

/** Those of a user that wait, the soonest first. */
export async function scheduled(reader: Reader, userId: UserId): Promise<DelayedEvent[]> {
  return (await reader.all(SCHEDULED, userId)).map(eventFrom);
}

/** Those that are to be tried by now, the oldest first. */
export async function due(reader: Reader, now: number, limit: number): Promise<DelayedEvent[]> {
  return (await reader.all(DUE, now, limit)).map(eventFrom);
}

/** When the next one is to be tried; undefined where none waits. */
export async function nextDue(reader: Reader): Promise<number | undefined> {
  return (await reader.get(NEXT_DUE))?.due_ts;
}

/** Begins its delay again; false where it does not wait. */
export async function restart(tx: Tx, delayId: string, now: number): Promise<boolean> {
  return (await tx.run(RESTART, now, now, delayId)) > 0;
}

/** Has it tried later. */
export async function postpone(tx: Tx, delayId: string, dueTs: number): Promise<void> {
  await tx.run(POSTPONE, dueTs, delayId);
}

/** How long the outcome of an event can be asked for, and of how many of a user. */
export interface Retention {
  readonly ms: number;
  readonly most: number;
}

/** Notes what became of it; false where that was noted before. Forgets outcomes that are old or too many. */
export async function finalise(
  tx: Tx,
  { delayId, userId }: Pick<DelayedEvent, 'delayId' | 'userId'>,
  { ts, eventId, error }: Finalised,
  retention: Retention,
): Promise<boolean> {
  const errorText = error === undefined ? null : textColumn(JSON.stringify(error));
  const isNew = (await tx.run(FINALISE, ts, eventId ?? null, errorText, delayId)) > 0;
  await tx.run(FORGET_OLD, ts - retention.ms);
  const beyond = await tx.get(NTH_NEWEST, userId, retention.most);
  if (beyond !== undefined) await tx.run(FORGET_OF_USER, userId, beyond.finalised_ts);
  return isNew;
}

function eventFrom(row: Row): DelayedEvent {
  return {
    delayId: row.delay_id,
    userId: row.user_id,
    roomId: row.room_id,
    type: fromTextColumn(row.type),
    stateKey: row.state_key === null ? undefined : fromTextColumn(row.state_key),
    content: JSON.parse(fromTextColumn(row.content)) as JsonObject,
    delayMs: row.delay_ms,
    stickyMs: row.sticky_ms ?? undefined,
    sinceTs: row.since_ts,
    dueTs: row.due_ts,
    finalised: finalisedFrom(row),
  };
}

function finalisedFrom({ finalised_ts: ts, event_id: eventId, error }: Row): Finalised | undefined {
  if (ts === null) return undefined;
  return {
    ts,
    eventId: eventId ?? undefined,
    error: error === null ? undefined : (JSON.parse(fromTextColumn(error)) as JsonObject),
  };
}

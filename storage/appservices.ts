/** Application services, and the transaction that each is being sent. */

import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A service that the operator has added by command. */
export interface AppserviceRow {
  readonly id: string;
  /** The registration file. */
  readonly registration: string;
  /** JSON. */
  readonly policy: string;
  /** In milliseconds since 1970. */
  readonly addedTs: number;
}

/** A transaction that a service has not taken yet. */
export interface WaitingTransaction {
  readonly txnId: string;
  readonly body: string;
  /** In milliseconds since 1970. */
  readonly createdTs: number;
}

interface Row {
  appservice_id: string;
  registration: string;
  policy_json: string;
  added_ts: number;
}

const LIST = sql<[], Row>(
  'appservices.list',
  'SELECT appservice_id, registration, policy_json, added_ts FROM appservices ORDER BY appservice_id LIMIT 1000',
);
const ADD = sql<[string, string, string, number]>(
  'appservices.add',
  `INSERT INTO appservices (appservice_id, registration, policy_json, added_ts) VALUES (?, ?, ?, ?)
   ON CONFLICT (appservice_id) DO NOTHING`,
);
const REMOVE = sql<[string]>('appservices.remove', 'DELETE FROM appservices WHERE appservice_id = ?');
const WAITING = sql<[string], { txn_id: string; body: string; created_ts: number }>(
  'appservices.waiting',
  'SELECT txn_id, body, created_ts FROM appservice_transactions WHERE appservice_id = ?',
);
const WAITING_SINCE = sql<[], { appservice_id: string; created_ts: number }>(
  'appservices.waitingSince',
  'SELECT appservice_id, created_ts FROM appservice_transactions ORDER BY appservice_id LIMIT 1000',
);
const SET_WAITING = sql<[string, string, string, number]>(
  'appservices.setWaiting',
  `INSERT INTO appservice_transactions (appservice_id, txn_id, body, created_ts) VALUES (?, ?, ?, ?)
   ON CONFLICT (appservice_id) DO UPDATE SET txn_id = excluded.txn_id, body = excluded.body,
     created_ts = excluded.created_ts`,
);
const TAKEN = sql<[string]>(
  'appservices.taken',
  'DELETE FROM appservice_transactions WHERE appservice_id = ?',
);
const FORGET_CURSOR = sql<[string]>('appservices.forgetCursor', 'DELETE FROM cursors WHERE name = ?');

/** The cursor up to which a service's transactions have been made. */
export function cursorOf(id: string): string {
  return `appservice.${id}`;
}

/** Those that were added by command, in the order of their ids. */
export async function list(reader: Reader): Promise<AppserviceRow[]> {
  return (await reader.all(LIST)).map((row) => ({
    id: row.appservice_id,
    registration: row.registration,
    policy: row.policy_json,
    addedTs: row.added_ts,
  }));
}

/** Adds a service; false where there is one of this id. */
export async function add(tx: Tx, row: AppserviceRow): Promise<boolean> {
  return (await tx.run(ADD, row.id, row.registration, row.policy, row.addedTs)) === 1;
}

/** Removes a service with what waits for it; false where there is none that was added by command. */
export async function remove(tx: Tx, id: string): Promise<boolean> {
  if ((await tx.run(REMOVE, id)) !== 1) return false;
  await tx.run(TAKEN, id);
  await tx.run(FORGET_CURSOR, cursorOf(id));
  return true;
}

/** The transaction that a service has not taken yet. */
export async function waiting(reader: Reader, id: string): Promise<WaitingTransaction | undefined> {
  const row = await reader.get(WAITING, id);
  return row && { txnId: row.txn_id, body: row.body, createdTs: row.created_ts };
}

/** Since when the services wait that have not taken a transaction, by their ids. */
export async function waitingSince(reader: Reader): Promise<ReadonlyMap<string, number>> {
  return new Map((await reader.all(WAITING_SINCE)).map((row) => [row.appservice_id, row.created_ts]));
}

/** Writes down the next transaction of a service, in place of the one that it has taken. */
export async function setWaiting(tx: Tx, id: string, transaction: WaitingTransaction): Promise<void> {
  await tx.run(SET_WAITING, id, transaction.txnId, transaction.body, transaction.createdTs);
}

/** The service has taken its transaction. */
export async function taken(tx: Tx, id: string): Promise<void> {
  await tx.run(TAKEN, id);
}

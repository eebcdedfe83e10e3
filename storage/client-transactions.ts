import type { EventId, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';
import { textColumn } from './text-column.ts';

/**
 * What a client's transaction id is unique for: "the scope of a transaction ID is for a single device, and a
 * single HTTP endpoint".
 */
export interface TransactionKey {
  readonly txnId: string;
  readonly userId: UserId;
  readonly deviceId: string;
  /** The endpoint, with its room and event type. */
  readonly scope: string;
}

interface Row {
  txn_id: string;
  user_id: string;
  device_id: string;
  scope: string;
  event_id: EventId;
}

const SEEN = sql<[string, string], Row>(
  'clientTransactions.seen',
  `SELECT txn_id, user_id, device_id, scope, event_id FROM client_transactions
   WHERE txn_id {anyOf} AND user_id {anyOf} ORDER BY txn_id, user_id, device_id, scope`,
);
const INSERT = sql<[string, string, string, string, string, number]>(
  'clientTransactions.insert',
  `INSERT INTO client_transactions (txn_id, user_id, device_id, scope, event_id, created_ts)
   VALUES (?, ?, ?, ?, ?, ?)`,
);
const NTH_OLDEST = sql<[number, number], { created_ts: number }>(
  'clientTransactions.nthOldest',
  `SELECT created_ts FROM client_transactions WHERE created_ts < ?
   ORDER BY created_ts LIMIT 1 OFFSET ?`,
);
const DELETE_BEFORE = sql<[number]>(
  'clientTransactions.deleteBefore',
  'DELETE FROM client_transactions WHERE created_ts < ?',
);

/** The events that these transactions made, by `textOf` their keys; those not seen are absent. */
export async function seen(
  reader: Reader,
  keys: readonly TransactionKey[],
): Promise<ReadonlyMap<string, EventId>> {
  if (keys.length === 0) return new Map();
  const txnIds = new Set(keys.map((key) => textColumn(key.txnId)));
  const userIds = new Set(keys.map((key) => key.userId));
  const rows = await reader.all(SEEN, anyOf(txnIds), anyOf(userIds));
  return new Map(
    rows.map((row) => [joined(row.txn_id, row.user_id, row.device_id, row.scope), row.event_id]),
  );
}

/** One text for a key, for maps. */
export function textOf(key: TransactionKey): string {
  return joined(textColumn(key.txnId), key.userId, textColumn(key.deviceId), textColumn(key.scope));
}

/** Records the event that a transaction made. Fails where the transaction was seen before. */
export async function insert(
  tx: Tx,
  key: TransactionKey,
  made: { readonly eventId: EventId; readonly ts: number },
): Promise<void> {
  const { txnId, userId, deviceId, scope } = key;
  await tx.run(
    INSERT,
    textColumn(txnId),
    userId,
    textColumn(deviceId),
    textColumn(scope),
    made.eventId,
    made.ts,
  );
}

/**
 * Forgets the oldest transactions of before `ts`, in milliseconds since 1970: `limit`, and those of the same
 * millisecond as the last, or all where there are fewer. Answers how many.
 */
export async function deleteBefore(tx: Tx, ts: number, limit: number): Promise<number> {
  const last = await tx.get(NTH_OLDEST, ts, limit - 1);
  return tx.run(DELETE_BEFORE, last === undefined ? ts : last.created_ts + 1);
}

function joined(...columns: readonly string[]): string {
  return columns.join('\0');
}

import type { ServerName } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';
import { textColumn } from './text-column.ts';

const ANSWER = sql<[string, string], { answer: string }>(
  'inboundTransactions.answer',
  'SELECT answer FROM inbound_transactions WHERE origin = ? AND txn_id = ?',
);
const INSERT = sql<[string, string, number, string]>(
  'inboundTransactions.insert',
  `INSERT INTO inbound_transactions (origin, txn_id, received_ts, answer) VALUES (?, ?, ?, ?)
   ON CONFLICT (origin, txn_id) DO NOTHING`,
);
const FORGET = sql<[number]>(
  'inboundTransactions.forget',
  'DELETE FROM inbound_transactions WHERE received_ts < ?',
);

/** "The sending server must wait and retry for a 200 OK response": it has long had it after this time. */
const REMEMBERED_MS = 60 * 60 * 1000;

/** How a transaction of a server was answered, as JSON; undefined for one that is new. */
export async function answerOf(
  reader: Reader,
  origin: ServerName,
  txnId: string,
): Promise<string | undefined> {
  return (await reader.get(ANSWER, origin, textColumn(txnId)))?.answer;
}

/** Remembers how a transaction was answered, for an hour; `now` in milliseconds since 1970. */
export async function remember(
  tx: Tx,
  transaction: { readonly origin: ServerName; readonly txnId: string; readonly answer: string },
  now: number,
): Promise<void> {
  const { origin, txnId, answer } = transaction;
  await tx.run(FORGET, now - REMEMBERED_MS);
  await tx.run(INSERT, origin, textColumn(txnId), now, answer);
}

/** Apps that show codes (RFC 6238), one for each user. */

import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** Times are in milliseconds since 1970. */
export interface TotpSecret {
  readonly sealedSecret: string;
  readonly createdTs: number;
  /** Undefined until the person has shown a code. */
  readonly confirmedTs: number | undefined;
  readonly lastStep: number;
}

interface Row {
  sealed_secret: string;
  created_ts: number;
  confirmed_ts: number | null;
  last_step: number;
}

const OF = sql<[string], Row>(
  'totpSecrets.of',
  'SELECT sealed_secret, created_ts, confirmed_ts, last_step FROM totp_secrets WHERE user_id = ?',
);
const BEGIN = sql<[string, string, number]>(
  'totpSecrets.begin',
  `INSERT INTO totp_secrets (user_id, sealed_secret, created_ts, confirmed_ts, last_step) VALUES (?, ?, ?, NULL, 0)
   ON CONFLICT (user_id) DO UPDATE SET sealed_secret = excluded.sealed_secret, created_ts = excluded.created_ts
   WHERE totp_secrets.confirmed_ts IS NULL`,
);
const ACCEPT = sql<[number, string, number]>(
  'totpSecrets.accept',
  'UPDATE totp_secrets SET last_step = ? WHERE user_id = ? AND last_step < ?',
);
const CONFIRM = sql<[number, string]>(
  'totpSecrets.confirm',
  'UPDATE totp_secrets SET confirmed_ts = ? WHERE user_id = ? AND confirmed_ts IS NULL',
);
const REMOVE = sql<[string]>('totpSecrets.remove', 'DELETE FROM totp_secrets WHERE user_id = ?');

export async function of(reader: Reader, userId: UserId): Promise<TotpSecret | undefined> {
  const row = await reader.get(OF, userId);
  if (row === undefined) return undefined;
  return {
    sealedSecret: row.sealed_secret,
    createdTs: row.created_ts,
    confirmedTs: row.confirmed_ts ?? undefined,
    lastStep: row.last_step,
  };
}

/** Begins to set an app up; changes nothing where one is set up. */
export async function begin(
  tx: Tx,
  userId: UserId,
  { sealedSecret, createdTs }: Pick<TotpSecret, 'sealedSecret' | 'createdTs'>,
): Promise<void> {
  await tx.run(BEGIN, userId, sealedSecret, createdTs);
}

/** Notes that the code of a time step was shown; false where that one or a later one was before. */
export async function accept(tx: Tx, userId: UserId, step: number): Promise<boolean> {
  return (await tx.run(ACCEPT, step, userId, step)) === 1;
}

/** The person has shown a code: the app is set up from now on. */
export async function confirm(tx: Tx, userId: UserId, now: number): Promise<void> {
  await tx.run(CONFIRM, now, userId);
}

export async function remove(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE, userId);
}

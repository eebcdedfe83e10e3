import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

const ADD = sql<[string, number, number, number]>(
  'registrationTokens.add',
  'INSERT INTO registration_tokens (token_hash, uses_left, created_ts, expires_ts) VALUES (?, ?, ?, ?)',
);

const VALID = sql<[string, number], { uses_left: number }>(
  'registrationTokens.valid',
  'SELECT uses_left FROM registration_tokens WHERE token_hash = ? AND uses_left > 0 AND expires_ts > ?',
);

const USE = sql<[string, number]>(
  'registrationTokens.use',
  `UPDATE registration_tokens SET uses_left = uses_left - 1
   WHERE token_hash = ? AND uses_left > 0 AND expires_ts > ?`,
);

const REMOVE_SPENT = sql<[number]>(
  'registrationTokens.removeSpent',
  'DELETE FROM registration_tokens WHERE uses_left <= 0 OR expires_ts <= ?',
);

/** Adds a token that admits `uses` accounts until `expiresTs`, and removes those that admit none any more. */
export async function add(
  tx: Tx,
  token: { hash: string; uses: number; now: number; expiresTs: number },
): Promise<void> {
  await tx.run(REMOVE_SPENT, token.now);
  await tx.run(ADD, token.hash, token.uses, token.now, token.expiresTs);
}

/** Whether a token admits an account at `now`. */
export async function isValid(reader: Reader, hash: string, now: number): Promise<boolean> {
  return (await reader.get(VALID, hash, now)) !== undefined;
}

/** Uses a token once; false where it is not known, used up or expired. */
export async function use(tx: Tx, hash: string, now: number): Promise<boolean> {
  return (await tx.run(USE, hash, now)) === 1;
}

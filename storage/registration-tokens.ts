import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A token that admits accounts, known by its hash. Times are in milliseconds since 1970. */
export interface RegistrationToken {
  readonly hash: string;
  /** How many accounts it still admits; undefined for any number. */
  readonly usesLeft: number | undefined;
  readonly used: number;
  readonly createdTs: number;
  /** Undefined where it does not end. */
  readonly expiresTs: number | undefined;
  readonly note: string;
}

interface TokenRow {
  token_hash: string;
  uses_left: number | null;
  used: number;
  created_ts: number;
  expires_ts: number | null;
  note: string;
}

const ADMITS = '(uses_left IS NULL OR uses_left > 0) AND (expires_ts IS NULL OR expires_ts > ?)';

const ADD = sql<[string, number | null, number, number | null, string]>(
  'registrationTokens.add',
  `INSERT INTO registration_tokens (token_hash, uses_left, used, created_ts, expires_ts, note)
   VALUES (?, ?, 0, ?, ?, ?)`,
);

const VALID = sql<[string, number], { token_hash: string }>(
  'registrationTokens.valid',
  `SELECT token_hash FROM registration_tokens WHERE token_hash = ? AND ${ADMITS}`,
);

const USE = sql<[string, number]>(
  'registrationTokens.use',
  `UPDATE registration_tokens SET uses_left = uses_left - 1, used = used + 1 WHERE token_hash = ? AND ${ADMITS}`,
);

const LIST = sql<[number], TokenRow>(
  'registrationTokens.list',
  `SELECT token_hash, uses_left, used, created_ts, expires_ts, note FROM registration_tokens
   WHERE ${ADMITS} ORDER BY created_ts, token_hash LIMIT 1000`,
);

const REMOVE = sql<[string]>(
  'registrationTokens.remove',
  'DELETE FROM registration_tokens WHERE token_hash = ?',
);

const REMOVE_SPENT = sql<[number]>(
  'registrationTokens.removeSpent',
  'DELETE FROM registration_tokens WHERE uses_left <= 0 OR expires_ts <= ?',
);

export interface NewToken {
  readonly hash: string;
  /** How many accounts it admits; any number unless given. */
  readonly uses?: number;
  readonly now: number;
  /** It does not end unless given. */
  readonly expiresTs?: number;
  readonly note?: string;
}

/** Adds a token, and removes those that admit nobody any more. */
export async function add(tx: Tx, token: NewToken): Promise<void> {
  const { hash, uses = null, now, expiresTs = null, note = '' } = token;
  await tx.run(REMOVE_SPENT, now);
  await tx.run(ADD, hash, uses, now, expiresTs, note);
}

/** Whether a token admits an account at `now`. */
export async function isValid(reader: Reader, hash: string, now: number): Promise<boolean> {
  return (await reader.get(VALID, hash, now)) !== undefined;
}

/** Uses a token once; false where it is not known, used up or expired. */
export async function use(tx: Tx, hash: string, now: number): Promise<boolean> {
  return (await tx.run(USE, hash, now)) === 1;
}

/** The tokens that admit an account at `now`, the oldest first, at most 1,000. */
export async function list(reader: Reader, now: number): Promise<RegistrationToken[]> {
  const rows = await reader.all(LIST, now);
  return rows.map((row) => ({
    hash: row.token_hash,
    usesLeft: row.uses_left ?? undefined,
    used: row.used,
    createdTs: row.created_ts,
    expiresTs: row.expires_ts ?? undefined,
    note: row.note,
  }));
}

/** Ends a token; false where there is none. */
export async function remove(tx: Tx, hash: string): Promise<boolean> {
  return (await tx.run(REMOVE, hash)) === 1;
}

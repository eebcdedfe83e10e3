/** Proofs under way that an e-mail address is somebody's. Tokens and secrets are stored as hashes. */

import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** What a proof is good for: to register, to set a new password, to add the address to an account. */
export type Purpose = 'register' | 'password' | 'add';

/** A proof under way. Times are in milliseconds since 1970. */
export interface EmailValidation {
  readonly sid: string;
  readonly purpose: Purpose;
  readonly address: string;
  readonly clientSecretHash: string;
  readonly tokenHash: string;
  readonly nextLink: string | undefined;
  /** Of the last letter that was sent; 0 for none yet. */
  readonly sendAttempt: number;
  /** When the token came back. */
  readonly validatedTs: number | undefined;
  readonly expiresTs: number;
}

interface Row {
  sid: string;
  purpose: Purpose;
  address: string;
  client_secret_hash: string;
  token_hash: string;
  next_link: string | null;
  send_attempt: number;
  validated_ts: number | null;
  expires_ts: number;
}

const COLUMNS =
  'sid, purpose, address, client_secret_hash, token_hash, next_link, send_attempt, validated_ts, expires_ts';

const FORGET = sql<[number]>(
  'emailValidations.forget',
  'DELETE FROM email_validations WHERE expires_ts <= ?',
);

const BEGIN = sql<[string, string, string, string, string, string | null, number]>(
  'emailValidations.begin',
  `INSERT INTO email_validations
     (sid, purpose, address, client_secret_hash, token_hash, next_link, send_attempt, validated_ts, expires_ts)
   VALUES (?, ?, ?, ?, ?, ?, 0, NULL, ?)
   ON CONFLICT (address, purpose, client_secret_hash) DO UPDATE SET token_hash = excluded.token_hash,
     next_link = excluded.next_link, expires_ts = excluded.expires_ts, validated_ts = NULL`,
);

const OF_CLIENT = sql<[string, string, string, number], Row>(
  'emailValidations.ofClient',
  `SELECT ${COLUMNS} FROM email_validations
   WHERE purpose = ? AND address = ? AND client_secret_hash = ? AND expires_ts > ?`,
);

const OF = sql<[string, number], Row>(
  'emailValidations.of',
  `SELECT ${COLUMNS} FROM email_validations WHERE sid = ? AND expires_ts > ?`,
);

const SENT = sql<[number, string]>(
  'emailValidations.sent',
  'UPDATE email_validations SET send_attempt = {greatest}(send_attempt, ?) WHERE sid = ?',
);

const CONFIRM = sql<[number, number, string, string, number]>(
  'emailValidations.confirm',
  `UPDATE email_validations SET validated_ts = ?, expires_ts = ?
   WHERE sid = ? AND token_hash = ? AND expires_ts > ? AND validated_ts IS NULL`,
);

const REMOVE = sql<[string]>('emailValidations.remove', 'DELETE FROM email_validations WHERE sid = ?');

const CLEAR = sql<[string]>('emailValidations.clear', 'DELETE FROM email_validations WHERE address = ?');

/**
 * Begins a proof, or begins it anew with another token where the same client has one for the same; and forgets those
 * that have ended. Answers the session id, of the first time.
 */
export async function begin(
  tx: Tx,
  proof: Omit<EmailValidation, 'sendAttempt' | 'validatedTs'>,
  now: number,
): Promise<string> {
  const { sid, purpose, address, clientSecretHash, tokenHash, nextLink = null, expiresTs } = proof;
  await tx.run(FORGET, now);
  await tx.run(BEGIN, sid, purpose, address, clientSecretHash, tokenHash, nextLink, expiresTs);
  const begun = await ofClient(tx, { purpose, address, clientSecretHash }, now);
  return begun?.sid ?? sid;
}

/** The proof that a client has under way for an address. */
export async function ofClient(
  reader: Reader,
  proof: Pick<EmailValidation, 'purpose' | 'address' | 'clientSecretHash'>,
  now: number,
): Promise<EmailValidation | undefined> {
  const { purpose, address, clientSecretHash } = proof;
  const row = await reader.get(OF_CLIENT, purpose, address, clientSecretHash, now);
  return row && validationOf(row);
}

/** The proof of a session id, if it has not ended. */
export async function of(reader: Reader, sid: string, now: number): Promise<EmailValidation | undefined> {
  const row = await reader.get(OF, sid, now);
  return row && validationOf(row);
}

/** Notes that a letter was sent. */
export async function sent(tx: Tx, sid: string, sendAttempt: number): Promise<void> {
  await tx.run(SENT, sendAttempt, sid);
}

/** Notes that the token came back; the proof then holds until `expiresTs`. False where there is nothing to confirm. */
export async function confirm(
  tx: Tx,
  { sid, tokenHash, now, expiresTs }: { sid: string; tokenHash: string; now: number; expiresTs: number },
): Promise<boolean> {
  return (await tx.run(CONFIRM, now, expiresTs, sid, tokenHash, now)) === 1;
}

/** Uses a proof up; false where somebody else did meanwhile. */
export async function remove(tx: Tx, sid: string): Promise<boolean> {
  return (await tx.run(REMOVE, sid)) === 1;
}

/** Ends all proofs for an address. */
export async function clear(tx: Tx, address: string): Promise<void> {
  await tx.run(CLEAR, address);
}

function validationOf(row: Row): EmailValidation {
  return {
    sid: row.sid,
    purpose: row.purpose,
    address: row.address,
    clientSecretHash: row.client_secret_hash,
    tokenHash: row.token_hash,
    nextLink: row.next_link ?? undefined,
    sendAttempt: row.send_attempt,
    validatedTs: row.validated_ts ?? undefined,
    expiresTs: row.expires_ts,
  };
}

import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import type { Origin } from './device-origins.ts';
import { sql } from './sql.ts';

/** Who is signed in in a browser. Times are in milliseconds since 1970. */
export interface BrowserSession {
  readonly userId: UserId;
  readonly createdTs: number;
  /** When the person last proved who they are. */
  readonly authTs: number;
  /** When they did so with a second factor, if they did. */
  readonly factorTs: number | undefined;
  readonly expiresTs: number;
  /** The session of the identity provider that said who they are, if one did. */
  readonly origin: Origin | undefined;
}

interface Row {
  user_id: UserId;
  created_ts: number;
  auth_ts: number;
  factor_ts: number | null;
  expires_ts: number;
  provider: string | null;
  subject: string | null;
  sid: string | null;
}

const ADD = sql<
  [string, string, number, number, number | null, number, string | null, string | null, string | null]
>(
  'browserSessions.add',
  `INSERT INTO browser_sessions
     (token_hash, user_id, created_ts, auth_ts, factor_ts, expires_ts, provider, subject, sid)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
);
const OF = sql<[string], Row>(
  'browserSessions.of',
  `SELECT user_id, created_ts, auth_ts, factor_ts, expires_ts, provider, subject, sid
   FROM browser_sessions WHERE token_hash = ?`,
);
const REMOVE = sql<[string]>('browserSessions.remove', 'DELETE FROM browser_sessions WHERE token_hash = ?');
const REMOVE_OF_USER = sql<[string]>(
  'browserSessions.removeOfUser',
  'DELETE FROM browser_sessions WHERE user_id = ?',
);
const REMOVE_OF_SUBJECT = sql<[string, string]>(
  'browserSessions.removeOfSubject',
  'DELETE FROM browser_sessions WHERE provider = ? AND subject = ?',
);
const REMOVE_OF_SID = sql<[string, string]>(
  'browserSessions.removeOfSid',
  'DELETE FROM browser_sessions WHERE provider = ? AND sid = ?',
);
const FORGET = sql<[number]>('browserSessions.forget', 'DELETE FROM browser_sessions WHERE expires_ts <= ?');

/** Stores a session by its token's hash, and forgets those that have expired. */
export async function add(tx: Tx, hash: string, session: BrowserSession): Promise<void> {
  const { userId, createdTs, authTs, factorTs, expiresTs, origin } = session;
  await tx.run(FORGET, createdTs);
  await tx.run(
    ADD,
    hash,
    userId,
    createdTs,
    authTs,
    factorTs ?? null,
    expiresTs,
    origin?.provider ?? null,
    origin?.subject ?? null,
    origin?.sid ?? null,
  );
}

/** The session of a token, though it may have expired. */
export async function of(reader: Reader, hash: string): Promise<BrowserSession | undefined> {
  const row = await reader.get(OF, hash);
  if (row === undefined) return undefined;
  const { provider, subject, sid } = row;
  return {
    userId: row.user_id,
    createdTs: row.created_ts,
    authTs: row.auth_ts,
    factorTs: row.factor_ts ?? undefined,
    expiresTs: row.expires_ts,
    origin: provider === null || subject === null ? undefined : { provider, subject, sid: sid ?? undefined },
  };
}

export async function remove(tx: Tx, hash: string): Promise<void> {
  await tx.run(REMOVE, hash);
}

export async function removeOfUser(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE_OF_USER, userId);
}

/** Removes those that an identity provider opened for one of its users. */
export async function removeOfSubject(tx: Tx, provider: string, subject: string): Promise<void> {
  await tx.run(REMOVE_OF_SUBJECT, provider, subject);
}

/** Removes those that belong to one session of an identity provider. */
export async function removeOfSid(tx: Tx, provider: string, sid: string): Promise<void> {
  await tx.run(REMOVE_OF_SID, provider, sid);
}

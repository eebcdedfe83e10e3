import type { UserId } from '#keys/ids.ts';
import type { Tx } from './database.ts';
import type { Origin } from './device-origins.ts';
import { sql } from './sql.ts';

/** What a user has granted to a client. Times are in milliseconds since 1970. */
export interface OAuthCode {
  readonly clientId: string;
  readonly userId: UserId;
  readonly scope: string;
  readonly redirectUri: string;
  readonly codeChallenge: string;
  readonly expiresTs: number;
  /** When the client has taken it, if it has. */
  readonly usedTs: number | undefined;
  /** The session of the identity provider that said who the user is, if one did. */
  readonly origin: Origin | undefined;
}

interface Row {
  client_id: string;
  user_id: UserId;
  scope: string;
  redirect_uri: string;
  code_challenge: string;
  expires_ts: number;
  used_ts: number | null;
  provider: string | null;
  subject: string | null;
  sid: string | null;
}

type AddParams = [
  ...[string, string, string, string, string, string, number],
  ...[string | null, string | null, string | null],
];

const ADD = sql<AddParams>(
  'oauthCodes.add',
  `INSERT INTO oauth_codes
     (code_hash, client_id, user_id, scope, redirect_uri, code_challenge, expires_ts, provider, subject, sid)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
);
const OF = sql<[string], Row>(
  'oauthCodes.of',
  `SELECT client_id, user_id, scope, redirect_uri, code_challenge, expires_ts, used_ts, provider, subject, sid
   FROM oauth_codes WHERE code_hash = ? {forUpdate}`,
);
const USE = sql<[number, string]>('oauthCodes.use', 'UPDATE oauth_codes SET used_ts = ? WHERE code_hash = ?');
const REMOVE_UNUSED = sql<[string]>(
  'oauthCodes.removeUnused',
  'DELETE FROM oauth_codes WHERE user_id = ? AND used_ts IS NULL',
);
const FORGET = sql<[number]>('oauthCodes.forget', 'DELETE FROM oauth_codes WHERE expires_ts < ?');

/** Stores a code by its hash, and forgets those that have expired before `forgetBefore`. */
export async function add(
  tx: Tx,
  hash: string,
  code: Omit<OAuthCode, 'usedTs'>,
  forgetBefore: number,
): Promise<void> {
  const { clientId, userId, scope, redirectUri, codeChallenge, expiresTs, origin } = code;
  const { provider = null, subject = null, sid = null } = origin ?? {};
  await tx.run(FORGET, forgetBefore);
  await tx.run(
    ADD,
    ...[hash, clientId, userId, scope, redirectUri, codeChallenge, expiresTs, provider, subject, sid],
  );
}

/** A code, which nobody else uses as long as the caller writes. */
export async function of(tx: Tx, hash: string): Promise<OAuthCode | undefined> {
  const row = await tx.get(OF, hash);
  if (row === undefined) return undefined;
  const { provider, subject, sid } = row;
  return {
    clientId: row.client_id,
    userId: row.user_id,
    scope: row.scope,
    redirectUri: row.redirect_uri,
    codeChallenge: row.code_challenge,
    expiresTs: row.expires_ts,
    usedTs: row.used_ts ?? undefined,
    origin: provider === null || subject === null ? undefined : { provider, subject, sid: sid ?? undefined },
  };
}

/** Notes that the client has taken it. */
export async function use(tx: Tx, hash: string, now: number): Promise<void> {
  await tx.run(USE, now, hash);
}

/** Removes what a user has granted and no client has taken. */
export async function removeUnused(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE_UNUSED, userId);
}

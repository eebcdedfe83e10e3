import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A device that is signed in by OAuth 2.0. */
export interface OAuthSession {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly clientId: string;
  readonly scope: string;
  /** In milliseconds since 1970. */
  readonly createdTs: number;
  /** The hash of the authorisation code that it was opened for, if it was one. */
  readonly codeHash: string | undefined;
}

type DeviceKey = Pick<OAuthSession, 'userId' | 'deviceId'>;

interface Row {
  client_id: string;
  scope: string;
  created_ts: number;
  code_hash: string | null;
}

const OF = sql<[string, string], Row>(
  'oauthSessions.of',
  'SELECT client_id, scope, created_ts, code_hash FROM oauth_sessions WHERE user_id = ? AND device_id = ?',
);
const SET = sql<[string, string, string, string, number, string | null]>(
  'oauthSessions.set',
  `INSERT INTO oauth_sessions (user_id, device_id, client_id, scope, created_ts, code_hash)
   VALUES (?, ?, ?, ?, ?, ?)
   ON CONFLICT (user_id, device_id) DO UPDATE SET client_id = excluded.client_id, scope = excluded.scope,
     created_ts = excluded.created_ts, code_hash = excluded.code_hash`,
);
const REMOVE = sql<[string, string]>(
  'oauthSessions.remove',
  'DELETE FROM oauth_sessions WHERE user_id = ? AND device_id = ?',
);

/** How a device was signed in; undefined for one that was so by another API. */
export async function of(reader: Reader, { userId, deviceId }: DeviceKey): Promise<OAuthSession | undefined> {
  const row = await reader.get(OF, userId, deviceId);
  if (row === undefined) return undefined;
  const { client_id: clientId, scope, created_ts: createdTs, code_hash: codeHash } = row;
  return { userId, deviceId, clientId, scope, createdTs, codeHash: codeHash ?? undefined };
}

export async function set(tx: Tx, session: OAuthSession): Promise<void> {
  const { userId, deviceId, clientId, scope, createdTs, codeHash = null } = session;
  await tx.run(SET, userId, deviceId, clientId, scope, createdTs, codeHash);
}

export async function remove(tx: Tx, { userId, deviceId }: DeviceKey): Promise<void> {
  await tx.run(REMOVE, userId, deviceId);
}

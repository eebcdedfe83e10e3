import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import type { Origin } from './device-origins.ts';
import { sql } from './sql.ts';

/** A device that waits until somebody signs it in on another one. Times are in milliseconds since 1970. */
export interface OAuthDeviceGrant {
  readonly clientId: string;
  readonly scope: string;
  /** From where the device asked. */
  readonly address: string;
  readonly expiresTs: number;
  /** When somebody has decided, if anybody has. */
  readonly decidedTs: number | undefined;
  /** Who has granted it. */
  readonly userId: UserId | undefined;
  /** The session of the identity provider that said who that is, if one did. */
  readonly origin: Origin | undefined;
}

interface Row {
  client_id: string;
  scope: string;
  address: string;
  expires_ts: number;
  decided_ts: number | null;
  user_id: UserId | null;
  provider: string | null;
  subject: string | null;
  sid: string | null;
}

const COLUMNS = 'client_id, scope, address, expires_ts, decided_ts, user_id, provider, subject, sid';

const ADD = sql<[string, string, string, string, string, number]>(
  'oauthDeviceGrants.add',
  `INSERT INTO oauth_device_grants (device_code_hash, user_code_hash, client_id, scope, address, expires_ts)
   VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
);
const BY_DEVICE_CODE = sql<[string], Row>(
  'oauthDeviceGrants.byDeviceCode',
  `SELECT ${COLUMNS} FROM oauth_device_grants WHERE device_code_hash = ?`,
);
const BY_USER_CODE = sql<[string], Row>(
  'oauthDeviceGrants.byUserCode',
  `SELECT ${COLUMNS} FROM oauth_device_grants WHERE user_code_hash = ?`,
);
const DECIDE = sql<[number, string | null, string | null, string | null, string | null, string, number]>(
  'oauthDeviceGrants.decide',
  `UPDATE oauth_device_grants SET decided_ts = ?, user_id = ?, provider = ?, subject = ?, sid = ?
   WHERE user_code_hash = ? AND decided_ts IS NULL AND expires_ts > ?`,
);
const REMOVE = sql<[string]>(
  'oauthDeviceGrants.remove',
  'DELETE FROM oauth_device_grants WHERE device_code_hash = ?',
);
const REMOVE_OF_USER = sql<[string]>(
  'oauthDeviceGrants.removeOfUser',
  'DELETE FROM oauth_device_grants WHERE user_id = ?',
);
const COUNT = sql<[number], { n: number }>(
  'oauthDeviceGrants.count',
  'SELECT COUNT(*) AS n FROM oauth_device_grants WHERE expires_ts > ?',
);
const FORGET = sql<[number]>(
  'oauthDeviceGrants.forget',
  'DELETE FROM oauth_device_grants WHERE expires_ts < ?',
);

export interface NewDeviceGrant
  extends Pick<OAuthDeviceGrant, 'clientId' | 'scope' | 'address' | 'expiresTs'> {
  readonly deviceCodeHash: string;
  readonly userCodeHash: string;
}

/** Stores a grant; false where its user code is taken. Forgets those that have expired before `forgetBefore`. */
export async function add(tx: Tx, grant: NewDeviceGrant, forgetBefore: number): Promise<boolean> {
  const { deviceCodeHash, userCodeHash, clientId, scope, address, expiresTs } = grant;
  await tx.run(FORGET, forgetBefore);
  return (await tx.run(ADD, deviceCodeHash, userCodeHash, clientId, scope, address, expiresTs)) === 1;
}

/** How many wait, or were decided and not taken, at `now`. */
export async function count(reader: Reader, now: number): Promise<number> {
  return (await reader.get(COUNT, now))?.n ?? 0;
}

export async function byDeviceCode(reader: Reader, hash: string): Promise<OAuthDeviceGrant | undefined> {
  return grantOf(await reader.get(BY_DEVICE_CODE, hash));
}

export async function byUserCode(reader: Reader, hash: string): Promise<OAuthDeviceGrant | undefined> {
  return grantOf(await reader.get(BY_USER_CODE, hash));
}

/** Grants or denies; false where somebody has already, or it has expired. */
export async function decide(
  tx: Tx,
  userCodeHash: string,
  by: { readonly userId: UserId; readonly origin: Origin | undefined } | undefined,
  now: number,
): Promise<boolean> {
  const { provider = null, subject = null, sid = null } = by?.origin ?? {};
  const changed = await tx.run(DECIDE, now, by?.userId ?? null, provider, subject, sid, userCodeHash, now);
  return changed === 1;
}

/** True for the one who removes it. */
export async function remove(tx: Tx, deviceCodeHash: string): Promise<boolean> {
  return (await tx.run(REMOVE, deviceCodeHash)) === 1;
}

/** Removes what a user has granted and no device has taken. */
export async function removeOfUser(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE_OF_USER, userId);
}

function grantOf(row: Row | undefined): OAuthDeviceGrant | undefined {
  if (row === undefined) return undefined;
  const { provider, subject, sid } = row;
  return {
    clientId: row.client_id,
    scope: row.scope,
    address: row.address,
    expiresTs: row.expires_ts,
    decidedTs: row.decided_ts ?? undefined,
    userId: row.user_id ?? undefined,
    origin: provider === null || subject === null ? undefined : { provider, subject, sid: sid ?? undefined },
  };
}

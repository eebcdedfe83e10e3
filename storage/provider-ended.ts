/** What has ended at identity providers: logout tokens that were used, and sessions. Times since 1970 in milliseconds. */

import type { Reader, Tx } from './database.ts';
import type { Origin } from './device-origins.ts';
import { sql } from './sql.ts';

export interface Ended {
  readonly provider: string;
  readonly kind: 'jti' | 'sid';
  readonly id: string;
}

const ADD = sql<[string, string, string, number]>(
  'providerEnded.add',
  `INSERT INTO provider_ended (provider, kind, id, expires_ts) VALUES (?, ?, ?, ?)
   ON CONFLICT (provider, kind, id) DO NOTHING`,
);
const IS = sql<[string, string, string], { id: string }>(
  'providerEnded.is',
  'SELECT id FROM provider_ended WHERE provider = ? AND kind = ? AND id = ?',
);
const FORGET = sql<[number]>('providerEnded.forget', 'DELETE FROM provider_ended WHERE expires_ts <= ?');

/** Notes that something has ended, and forgets what need not be known any more; false where it was noted before. */
export async function add(
  tx: Tx,
  { provider, kind, id }: Ended,
  { expiresTs, now }: { readonly expiresTs: number; readonly now: number },
): Promise<boolean> {
  await tx.run(FORGET, now);
  return (await tx.run(ADD, provider, kind, id, expiresTs)) === 1;
}

/** Whether a session of a provider has ended of late, where it is known which one it is. */
export async function isSessionEnded(
  reader: Reader,
  { provider, sid }: Pick<Origin, 'provider' | 'sid'>,
): Promise<boolean> {
  return sid !== undefined && (await reader.get(IS, provider, 'sid', sid)) !== undefined;
}

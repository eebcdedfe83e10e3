/** Who may replace their cross-signing keys: https://spec.matrix.org/v1.19/client-server-api/#oauth-authentication */

import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

const ALLOW = sql<[string, number]>(
  'crossSigningResets.allow',
  `INSERT INTO cross_signing_resets (user_id, until_ts) VALUES (?, ?)
   ON CONFLICT (user_id) DO UPDATE SET until_ts = excluded.until_ts`,
);
const OF = sql<[string], { until_ts: number }>(
  'crossSigningResets.of',
  'SELECT until_ts FROM cross_signing_resets WHERE user_id = ?',
);
const REMOVE = sql<[string]>(
  'crossSigningResets.remove',
  'DELETE FROM cross_signing_resets WHERE user_id = ?',
);

/** Lets a user replace the keys until then (milliseconds). */
export async function allowReset(tx: Tx, userId: UserId, untilTs: number): Promise<void> {
  await tx.run(ALLOW, userId, untilTs);
}

export async function isResetAllowed(reader: Reader, userId: UserId, now: number): Promise<boolean> {
  const row = await reader.get(OF, userId);
  return row !== undefined && row.until_ts > now;
}

/** Ends the permission, as when it has been used. */
export async function endReset(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE, userId);
}

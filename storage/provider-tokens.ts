/** Refresh tokens of identity providers, sealed by the caller. Times are in milliseconds since 1970. */

import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

export interface ProviderToken {
  readonly provider: string;
  readonly subject: string;
  readonly sealedToken: string;
}

const SET = sql<[string, string, string, number]>(
  'providerTokens.set',
  `INSERT INTO provider_tokens (provider, subject, sealed_token, checked_ts) VALUES (?, ?, ?, ?)
   ON CONFLICT (provider, subject)
   DO UPDATE SET sealed_token = excluded.sealed_token, checked_ts = excluded.checked_ts`,
);
const REPLACE = sql<[string, number, string, string, string]>(
  'providerTokens.replace',
  `UPDATE provider_tokens SET sealed_token = ?, checked_ts = ?
   WHERE provider = ? AND subject = ? AND sealed_token = ?`,
);
const DUE = sql<[string, number, number], { provider: string; subject: string; sealed_token: string }>(
  'providerTokens.due',
  `SELECT provider, subject, sealed_token FROM provider_tokens WHERE provider = ? AND checked_ts <= ?
   ORDER BY checked_ts, subject LIMIT ?`,
);
const REMOVE = sql<[string, string]>(
  'providerTokens.remove',
  'DELETE FROM provider_tokens WHERE provider = ? AND subject = ?',
);

/** Stores the token of a person's newest sign-in. */
export async function set(tx: Tx, token: ProviderToken, now: number): Promise<void> {
  await tx.run(SET, token.provider, token.subject, token.sealedToken, now);
}

/** Notes a check, and the token to use from now on; nothing where the person has signed in anew meanwhile. */
export async function replace(
  tx: Tx,
  before: ProviderToken,
  { sealedToken, now }: { readonly sealedToken: string; readonly now: number },
): Promise<boolean> {
  const { provider, subject } = before;
  return (await tx.run(REPLACE, sealedToken, now, provider, subject, before.sealedToken)) === 1;
}

/** Those of a provider that were not checked since `before`, the longest unchecked first. */
export async function due(
  reader: Reader,
  provider: string,
  { before, limit }: { readonly before: number; readonly limit: number },
): Promise<ProviderToken[]> {
  const rows = await reader.all(DUE, provider, before, limit);
  return rows.map((row) => ({
    provider: row.provider,
    subject: row.subject,
    sealedToken: row.sealed_token,
  }));
}

export async function remove(tx: Tx, provider: string, subject: string): Promise<void> {
  await tx.run(REMOVE, provider, subject);
}

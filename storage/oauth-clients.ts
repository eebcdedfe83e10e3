import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A program that has registered. `metadata` is JSON; times are in milliseconds since 1970. */
export interface StoredClient {
  readonly clientId: string;
  readonly metadata: string;
  readonly usedTs: number;
}

interface Row {
  client_id: string;
  metadata: string;
  used_ts: number;
}

const OF = sql<[string], Row>(
  'oauthClients.of',
  'SELECT client_id, metadata, used_ts FROM oauth_clients WHERE client_id = ?',
);
const ADD = sql<[string, string, number]>(
  'oauthClients.add',
  `INSERT INTO oauth_clients (client_id, metadata, used_ts) VALUES (?, ?, ?)
   ON CONFLICT (client_id) DO UPDATE SET used_ts = excluded.used_ts`,
);
const TOUCH = sql<[number, string]>(
  'oauthClients.touch',
  'UPDATE oauth_clients SET used_ts = ? WHERE client_id = ?',
);
const FORGET_UNUSED = sql<[number]>(
  'oauthClients.forgetUnused',
  `DELETE FROM oauth_clients WHERE used_ts < ? AND NOT EXISTS (
     SELECT 1 FROM oauth_sessions s WHERE s.client_id = oauth_clients.client_id)`,
);
const FORGET_SURPLUS = sql<[number]>(
  'oauthClients.forgetSurplus',
  `DELETE FROM oauth_clients WHERE client_id IN (
     SELECT c.client_id FROM oauth_clients c WHERE NOT EXISTS (
       SELECT 1 FROM oauth_sessions s WHERE s.client_id = c.client_id)
     ORDER BY c.used_ts DESC, c.client_id LIMIT 1000 OFFSET ?)`,
);

export async function of(reader: Reader, clientId: string): Promise<StoredClient | undefined> {
  const row = await reader.get(OF, clientId);
  return row && { clientId: row.client_id, metadata: row.metadata, usedTs: row.used_ts };
}

/** Adds a client, or notes that it is in use. */
export async function add(tx: Tx, client: StoredClient): Promise<void> {
  await tx.run(ADD, client.clientId, client.metadata, client.usedTs);
}

/** Forgets those that were used longest ago, of more than `mostUnused` that nobody is signed in by. */
export async function forgetSurplus(tx: Tx, mostUnused: number): Promise<void> {
  await tx.run(FORGET_SURPLUS, mostUnused);
}

/** Notes that a client is in use. */
export async function touch(tx: Tx, clientId: string, now: number): Promise<void> {
  await tx.run(TOUCH, now, clientId);
}

/** "The server MUST NOT delete client registrations that have an active session." */
export async function forgetUnused(tx: Tx, before: number): Promise<number> {
  return await tx.run(FORGET_UNUSED, before);
}

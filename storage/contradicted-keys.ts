import type { KeyId, ServerName } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** Keys that a server published, and that are not believed as others have their ids. */
export interface ContradictedKeys {
  readonly server: ServerName;
  /** Unpadded Base64 by key id. */
  readonly keys: ReadonlyMap<KeyId, string>;
  /** When they were seen first, in milliseconds since 1970. */
  readonly notedTs: number;
}

interface Row {
  server: ServerName;
  keys: string;
  noted_ts: number;
}

const LIST = sql<[number], Row>(
  'contradictedKeys.list',
  'SELECT server, keys, noted_ts FROM contradicted_keys ORDER BY server LIMIT ?',
);
const OF = sql<[string], Row>(
  'contradictedKeys.of',
  'SELECT server, keys, noted_ts FROM contradicted_keys WHERE server = ?',
);
const SET = sql<[string, string, number]>(
  'contradictedKeys.set',
  `INSERT INTO contradicted_keys (server, keys, noted_ts) VALUES (?, ?, ?)
   ON CONFLICT (server) DO UPDATE SET keys = excluded.keys`,
);
const REMOVE = sql<[string]>('contradictedKeys.remove', 'DELETE FROM contradicted_keys WHERE server = ?');

/** The first `limit` servers by name. */
export async function list(reader: Reader, limit: number): Promise<ContradictedKeys[]> {
  return (await reader.all(LIST, limit)).map(decoded);
}

/** Those of one server; undefined where there are none. */
export async function of(reader: Reader, server: ServerName): Promise<ContradictedKeys | undefined> {
  const row = await reader.get(OF, server);
  return row === undefined ? undefined : decoded(row);
}

/** Notes keys that are not believed, in place of those noted before. */
export async function set(tx: Tx, { server, keys, notedTs }: ContradictedKeys): Promise<void> {
  await tx.run(SET, server, JSON.stringify([...keys]), notedTs);
}

/** Forgets them: the server's document is believed again. */
export async function remove(tx: Tx, server: ServerName): Promise<void> {
  await tx.run(REMOVE, server);
}

function decoded({ server, keys, noted_ts: notedTs }: Row): ContradictedKeys {
  return { server, keys: new Map(JSON.parse(keys) as [KeyId, string][]), notedTs };
}

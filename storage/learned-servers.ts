/** What other servers were seen to be and to be able to. */

import type { ServerName } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

export interface LearnedRow {
  readonly server: ServerName;
  /** The name of a profile, where what it did gives it away. */
  readonly profile: string | undefined;
  /** As its `version` says it. */
  readonly software: string | undefined;
  /** Room versions that it said it knows. */
  readonly versions: readonly string[] | undefined;
  /** Room versions that it has refused since. */
  readonly refused: readonly string[];
  /** When it was last asked what it is, and when anything of this last changed; in milliseconds since 1970. */
  readonly askedTs: number;
  readonly learnedTs: number;
}

interface Row {
  server: ServerName;
  profile: string | null;
  software: string | null;
  versions: string | null;
  refused: string;
  asked_ts: number;
  learned_ts: number;
}

const COLUMNS = 'server, profile, software, versions, refused, asked_ts, learned_ts';
const NEWEST = sql<[number], Row>(
  'learnedServers.newest',
  `SELECT ${COLUMNS} FROM learned_servers ORDER BY learned_ts DESC, server LIMIT ?`,
);
const SET = sql<[string, string | null, string | null, string | null, string, number, number]>(
  'learnedServers.set',
  `INSERT INTO learned_servers (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
   ON CONFLICT (server) DO UPDATE SET profile = excluded.profile, software = excluded.software,
     versions = excluded.versions, refused = excluded.refused, asked_ts = excluded.asked_ts,
     learned_ts = excluded.learned_ts`,
);
const REMOVE = sql<[string]>('learnedServers.remove', 'DELETE FROM learned_servers WHERE server = ?');

/** What was learned last, the newest first. */
export async function newest(reader: Reader, limit: number): Promise<LearnedRow[]> {
  return (await reader.all(NEWEST, limit)).map((row) => ({
    server: row.server,
    profile: row.profile ?? undefined,
    software: row.software ?? undefined,
    versions: row.versions === null ? undefined : (JSON.parse(row.versions) as string[]),
    refused: JSON.parse(row.refused) as string[],
    askedTs: row.asked_ts,
    learnedTs: row.learned_ts,
  }));
}

/** Writes what is known of a server in place of what was. */
export async function set(tx: Tx, learned: LearnedRow): Promise<void> {
  const { server, profile = null, software = null, versions, refused, askedTs, learnedTs } = learned;
  const said = versions === undefined ? null : JSON.stringify(versions);
  const text = software?.replaceAll('\0', '') ?? null;
  await tx.run(SET, server, profile, text, said, JSON.stringify(refused), askedTs, learnedTs);
}

/** Forgets a server. */
export async function remove(tx: Tx, server: ServerName): Promise<void> {
  await tx.run(REMOVE, server);
}

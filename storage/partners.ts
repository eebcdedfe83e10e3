/** The servers that the operator has named as partners by command; those of the configuration are not here. */

import type { KeyId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A partner as it is stored; what its words mean is `federation/partners/partner.ts`. */
export interface PartnerRow {
  /** A server name, or a suffix such as `*.example.org`. */
  readonly name: string;
  readonly direction: string;
  readonly profile: string | undefined;
  /** Pinned signing keys: unpadded Base64 by key id. */
  readonly keys: ReadonlyMap<KeyId, string>;
  /** PEM certificates. */
  readonly ca: string | undefined;
  readonly note: string;
}

interface Row {
  name: string;
  direction: string;
  profile: string | null;
  keys: string;
  ca: string | null;
  note: string;
}

const COLUMNS = 'name, direction, profile, keys, ca, note';
const ALL = sql<[number], Row>('partners.all', `SELECT ${COLUMNS} FROM partners ORDER BY name LIMIT ?`);
const SET = sql<[string, string, string | null, string, string | null, string]>(
  'partners.set',
  `INSERT INTO partners (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)
   ON CONFLICT (name) DO UPDATE SET direction = excluded.direction, profile = excluded.profile,
     keys = excluded.keys, ca = excluded.ca, note = excluded.note`,
);
const REMOVE = sql<[string]>('partners.remove', 'DELETE FROM partners WHERE name = ?');

/** The partners in the order of their names. */
export async function all(reader: Reader, limit: number): Promise<PartnerRow[]> {
  return (await reader.all(ALL, limit)).map((row) => ({
    name: row.name,
    direction: row.direction,
    profile: row.profile ?? undefined,
    keys: new Map(Object.entries(JSON.parse(row.keys) as Record<KeyId, string>) as [KeyId, string][]),
    ca: row.ca ?? undefined,
    note: row.note,
  }));
}

/** Writes a partner in place of what was stored under its name. */
export async function set(tx: Tx, partner: PartnerRow): Promise<void> {
  const { name, direction, profile = null, ca = null, note } = partner;
  await tx.run(SET, name, direction, profile, JSON.stringify(Object.fromEntries(partner.keys)), ca, note);
}

/** Removes a partner. False where there was none. */
export async function remove(tx: Tx, name: string): Promise<boolean> {
  return (await tx.run(REMOVE, name)) === 1;
}

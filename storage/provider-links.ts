import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** Somebody at an issuer, and their account here. Times are in milliseconds since 1970. */
export interface ProviderLink {
  readonly issuer: string;
  /** The permanent id of the person there. */
  readonly subject: string;
  readonly userId: UserId;
  /** What logout tokens of the issuer call them. */
  readonly sub: string;
  readonly createdTs: number;
  readonly usedTs: number | undefined;
}

interface Row {
  issuer: string;
  subject: string;
  user_id: UserId;
  sub: string;
  created_ts: number;
  used_ts: number | null;
}

const COLUMNS = 'issuer, subject, user_id, sub, created_ts, used_ts';

const OF = sql<[string, string], Row>(
  'providerLinks.of',
  `SELECT ${COLUMNS} FROM provider_links WHERE issuer = ? AND subject = ?`,
);
const OF_SUB = sql<[string, string], Row>(
  'providerLinks.ofSub',
  `SELECT ${COLUMNS} FROM provider_links WHERE issuer = ? AND sub = ? ORDER BY subject LIMIT 100`,
);
const OF_USER = sql<[string], Row>(
  'providerLinks.ofUser',
  `SELECT ${COLUMNS} FROM provider_links WHERE user_id = ? ORDER BY issuer, subject LIMIT 100`,
);
const SIGNED_IN = sql<[string, string, number], Row>(
  'providerLinks.signedIn',
  `SELECT ${COLUMNS} FROM provider_links
   WHERE issuer = ? AND subject > ?
     AND (EXISTS (SELECT 1 FROM devices WHERE devices.user_id = provider_links.user_id)
       OR EXISTS (SELECT 1 FROM browser_sessions WHERE browser_sessions.user_id = provider_links.user_id))
   ORDER BY subject LIMIT ?`,
);
const ADD = sql<[string, string, string, string, number, number | null]>(
  'providerLinks.add',
  `INSERT INTO provider_links (issuer, subject, user_id, sub, created_ts, used_ts) VALUES (?, ?, ?, ?, ?, ?)
   ON CONFLICT (issuer, subject) DO NOTHING`,
);
const USED = sql<[number, string, string, string]>(
  'providerLinks.used',
  'UPDATE provider_links SET used_ts = ?, sub = ? WHERE issuer = ? AND subject = ?',
);
const REMOVE = sql<[string, string, string]>(
  'providerLinks.remove',
  'DELETE FROM provider_links WHERE user_id = ? AND issuer = ? AND subject = ?',
);

/** The account of somebody, if they have one. */
export async function of(reader: Reader, issuer: string, subject: string): Promise<ProviderLink | undefined> {
  const row = await reader.get(OF, issuer, subject);
  return row && linkOf(row);
}

/** The links of whom the issuer's logout tokens call so: one, where nobody has linked by hand. */
export async function ofSub(reader: Reader, issuer: string, sub: string): Promise<ProviderLink[]> {
  return (await reader.all(OF_SUB, issuer, sub)).map(linkOf);
}

/** By whom a user signs in. */
export async function ofUser(reader: Reader, userId: UserId): Promise<ProviderLink[]> {
  return (await reader.all(OF_USER, userId)).map(linkOf);
}

/** Those of an issuer who are signed in here in some way, in the order of their subjects, those after `after`. */
export async function signedIn(
  reader: Reader,
  issuer: string,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<ProviderLink[]> {
  return (await reader.all(SIGNED_IN, issuer, after, limit)).map(linkOf);
}

/** Links somebody to an account; false where they are linked to one already. */
export async function add(tx: Tx, link: ProviderLink): Promise<boolean> {
  const { issuer, subject, userId, sub, createdTs, usedTs = null } = link;
  return (await tx.run(ADD, issuer, subject, userId, sub, createdTs, usedTs)) === 1;
}

/** Notes a sign-in, and what the issuer calls them now. */
export async function used(
  tx: Tx,
  { issuer, subject, sub }: Pick<ProviderLink, 'issuer' | 'subject' | 'sub'>,
  now: number,
): Promise<void> {
  await tx.run(USED, now, sub, issuer, subject);
}

/** Ends a link; false where there is none. */
export async function remove(
  tx: Tx,
  { userId, issuer, subject }: Pick<ProviderLink, 'userId' | 'issuer' | 'subject'>,
): Promise<boolean> {
  return (await tx.run(REMOVE, userId, issuer, subject)) === 1;
}

function linkOf(row: Row): ProviderLink {
  const { issuer, subject, sub } = row;
  return {
    issuer,
    subject,
    sub,
    userId: row.user_id,
    createdTs: row.created_ts,
    usedTs: row.used_ts ?? undefined,
  };
}

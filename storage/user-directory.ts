/**
 * Who finds whom: https://spec.matrix.org/v1.19/client-server-api/#user-directory
 *
 * A user finds those with whom they share a room, and those in rooms that are open to all; where the operator wishes
 * it, every account of the server.
 */

import type { UserId } from '#keys/ids.ts';
import type { Database, Reader } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** Who searches, and who may be found. */
export interface Searcher {
  readonly userId: UserId;
  /** Our own. */
  readonly serverName: string;
  readonly findsAllAccounts: boolean;
}

/** A name that somebody has, as the searcher may know it. */
export interface NamedUser {
  readonly userId: UserId;
  readonly displayName: string | undefined;
  readonly avatarUrl: string | undefined;
}

/** Words that begin so are looked at, in the order of the alphabet, whoever has them. */
const MOST_LOOKED_AT = 50_000;
/** Behind every word that begins so. */
const LAST_LETTER = '\u{10FFFF}';
/** So many words are compared here, and what there are more by whoever asks. */
const WORDS = 3;

const KNOWN = `EXISTS (SELECT 1 FROM memberships ours
       WHERE ours.room_nid = theirs.room_nid AND ours.user_id = ? AND ours.membership = 'join')
     OR (EXISTS (SELECT 1 FROM open_rooms o WHERE o.room_nid = theirs.room_nid)
       AND EXISTS (SELECT 1 FROM memberships here
         WHERE here.room_nid = theirs.room_nid AND here.membership = 'join' AND here.server_name = ?))`;

type FindParams = [
  ...[from: string, upto: string, most: number],
  ...[second: string, secondUpto: string, third: string, thirdUpto: string],
  ...[userId: string, all: number, searcher: string, serverName: string, limit: number],
];

const FIND = sql<FindParams, { user_id: UserId }>(
  'userDirectory.find',
  `SELECT found.user_id FROM (
     SELECT word, user_id FROM directory_words WHERE word >= ? AND word < ? ORDER BY word, user_id LIMIT ?) found
   WHERE EXISTS (SELECT 1 FROM directory_words w WHERE w.user_id = found.user_id AND w.word >= ? AND w.word < ?)
     AND EXISTS (SELECT 1 FROM directory_words w WHERE w.user_id = found.user_id AND w.word >= ? AND w.word < ?)
     AND found.user_id <> ?
     AND ((CAST(? AS {int}) = 1 AND EXISTS (SELECT 1 FROM users u WHERE u.user_id = found.user_id))
       OR EXISTS (SELECT 1 FROM memberships theirs
         WHERE theirs.user_id = found.user_id AND theirs.membership = 'join' AND (${KNOWN})))
   ORDER BY found.word, found.user_id LIMIT ?`,
);
const IN_ROOMS = sql<
  [string, string, string],
  { user_id: UserId; display_name: string | null; avatar_url: string | null }
>(
  'userDirectory.inRooms',
  `SELECT theirs.user_id, theirs.display_name, theirs.avatar_url FROM memberships theirs
   WHERE theirs.user_id {anyOf} AND theirs.membership = 'join' AND (${KNOWN})
   ORDER BY theirs.user_id, theirs.position DESC, theirs.room_nid`,
);
const ACCOUNTS = sql<[string], { user_id: UserId; field: string | null; value_json: string | null }>(
  'userDirectory.accounts',
  `SELECT u.user_id, p.field, p.value_json FROM users u
   LEFT JOIN profile_fields p ON p.user_id = u.user_id AND p.field IN ('displayname', 'avatar_url')
   WHERE u.user_id {anyOf} AND u.deactivated_ts IS NULL ORDER BY u.user_id, p.field`,
);

/**
 * The users of whom a word begins with each of these, as far as the searcher may find them, the nearest words first.
 * Of users of other servers the word may be of a name that the searcher does not know. Not on the main thread.
 */
export async function find(
  db: Database,
  searcher: Searcher,
  beginnings: readonly string[],
  limit: number,
): Promise<UserId[]> {
  const [first, second, third] = mostTelling(beginnings);
  if (first === undefined) return [];
  const rows = await db.scan(
    FIND,
    ...([...range(first), MOST_LOOKED_AT, ...range(second), ...range(third)] as const),
    ...([
      searcher.userId,
      searcher.findsAllAccounts ? 1 : 0,
      searcher.userId,
      searcher.serverName,
      limit,
    ] as const),
  );
  return [...new Set(rows.map((row) => row.user_id))];
}

/** The names that users have in the rooms by which the searcher knows them, the latest first. */
export async function namesInRooms(
  db: Database,
  { userId, serverName }: Searcher,
  users: Iterable<UserId>,
): Promise<NamedUser[]> {
  const rows = await db.scan(IN_ROOMS, anyOf(users), userId, serverName);
  return rows.map((row) => ({
    userId: row.user_id,
    displayName: row.display_name ?? undefined,
    avatarUrl: row.avatar_url ?? undefined,
  }));
}

/** Those of the users who have an account in use, by the names of their profiles. */
export async function accountsAmong(reader: Reader, users: Iterable<UserId>): Promise<NamedUser[]> {
  const rows = await reader.all(ACCOUNTS, anyOf(users));
  return [...Map.groupBy(rows, (row) => row.user_id)].map(([userId, fields]) => {
    const textAt = (field: string): string | undefined => {
      const json = fields.find((row) => row.field === field)?.value_json ?? null;
      const value: unknown = json === null ? undefined : JSON.parse(json);
      return typeof value === 'string' ? value : undefined;
    };
    return { userId, displayName: textAt('displayname'), avatarUrl: textAt('avatar_url') };
  });
}

/** The longest first: fewer words begin so. */
function mostTelling(beginnings: readonly string[]): string[] {
  return [...new Set(beginnings)].sort((a, b) => b.length - a.length || (a < b ? -1 : 1)).slice(0, WORDS);
}

/** All words where nothing is given. */
function range(beginning = ''): [string, string] {
  return [beginning, `${beginning}${LAST_LETTER}`];
}

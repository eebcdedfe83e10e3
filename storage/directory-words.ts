/** The words by which users are found in the directory. Who may find whom is another question: `user-directory.ts`. */

import { localpartOf, type UserId } from '#keys/ids.ts';
import { wordsOf } from '#keys/words.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, rows, sql } from './sql.ts';

/** More of one user are not of interest. */
const MOST_WORDS = 40;

const OF = sql<[string], { user_id: UserId; word: string }>(
  'directoryWords.of',
  'SELECT user_id, word FROM directory_words WHERE user_id {anyOf} ORDER BY user_id, word',
);
const ADD = sql<[string]>(
  'directoryWords.add',
  `INSERT INTO directory_words (user_id, word)
   SELECT value ->> 0, value ->> 1 FROM {rows} WHERE true ON CONFLICT (user_id, word) DO NOTHING`,
);
const REMOVE = sql<[string, string]>(
  'directoryWords.remove',
  'DELETE FROM directory_words WHERE user_id = ? AND word {anyOf}',
);
const ACCOUNT = sql<[string], { deactivated_ts: number | null; value_json: string | null }>(
  'directoryWords.account',
  `SELECT u.deactivated_ts, p.value_json FROM users u
   LEFT JOIN profile_fields p ON p.user_id = u.user_id AND p.field = 'displayname' WHERE u.user_id = ?`,
);
const NAMES = sql<[string, number], { user_id: UserId; display_name: string }>(
  'directoryWords.names',
  `SELECT user_id, display_name FROM (
     SELECT user_id, display_name, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY display_name) AS nth
     FROM memberships WHERE user_id {anyOf} AND membership = 'join' AND display_name IS NOT NULL
     GROUP BY user_id, display_name
   ) AS names WHERE nth <= ? ORDER BY user_id, display_name`,
);
const MEMBERS = sql<[string, number, string, number], { user_id: UserId; is_wordless: number }>(
  'directoryWords.members',
  `SELECT m.user_id, CASE WHEN m.membership = 'join' AND m.server_name <> ?
       AND NOT EXISTS (SELECT 1 FROM directory_words w WHERE w.user_id = m.user_id) THEN 1 ELSE 0 END AS is_wordless
   FROM memberships m WHERE m.room_nid = ? AND m.user_id > ? ORDER BY m.user_id LIMIT ?`,
);

/** Brings the words of an account of ours up to date; none are left of one that is no more. */
export async function refreshAccount(tx: Tx, userId: UserId): Promise<void> {
  const account = await tx.get(ACCOUNT, userId);
  if (account === undefined || account.deactivated_ts !== null)
    return write(tx, new Map([[userId, new Set<string>()]]));
  const name: unknown = account.value_json === null ? undefined : JSON.parse(account.value_json);
  await write(tx, new Map([[userId, wordsFor(userId, typeof name === 'string' ? [name] : [])]]));
}

/** Brings the words of users of other servers up to date, by the names that they have in rooms. */
export async function refreshRemote(tx: Tx, userIds: readonly UserId[]): Promise<void> {
  const names = Map.groupBy(await tx.all(NAMES, anyOf(userIds), MOST_WORDS), (row) => row.user_id);
  const wanted = new Map(
    userIds.map((userId) => {
      const ofUser = names.get(userId)?.map((row) => row.display_name) ?? [];
      return [userId, wordsFor(userId, ofUser)];
    }),
  );
  await write(tx, wanted);
}

export interface MembersPage {
  /** The joined users of other servers who cannot be found yet. */
  readonly wordless: readonly UserId[];
  /** Where the next page begins; undefined after the last one. */
  readonly next: UserId | undefined;
}

/** Looks through so many members of a room, those after `after` in the order of their ids. */
export async function membersPage(
  reader: Reader,
  of: { readonly roomNid: number; readonly ourServer: string },
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<MembersPage> {
  const members = await reader.all(MEMBERS, of.ourServer, of.roomNid, after, limit);
  return {
    wordless: members.filter((row) => row.is_wordless === 1).map((row) => row.user_id),
    next: members.length === limit ? members.at(-1)?.user_id : undefined,
  };
}

/** The localpart of a user's id, in words. */
export function idWords(userId: UserId): readonly string[] {
  return wordsOf(localpartOf(userId));
}

function wordsFor(userId: UserId, names: readonly string[]): ReadonlySet<string> {
  return new Set([...idWords(userId), ...names.flatMap(wordsOf)].slice(0, MOST_WORDS));
}

/** Makes these the words of the users. */
async function write(tx: Tx, wanted: ReadonlyMap<UserId, ReadonlySet<string>>): Promise<void> {
  const before = Map.groupBy(await tx.all(OF, anyOf(wanted.keys())), (row) => row.user_id);
  const added: [UserId, string][] = [];
  for (const [userId, words] of wanted) {
    const known = new Set(before.get(userId)?.map((row) => row.word));
    const gone = known.difference(words);
    // One statement for each: few lose a word.
    if (gone.size > 0) await tx.run(REMOVE, userId, anyOf(gone));
    for (const word of words.difference(known)) added.push([userId, word]);
  }
  if (added.length > 0) await tx.run(ADD, rows(added));
}

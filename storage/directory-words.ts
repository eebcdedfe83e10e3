/** The words by which users are found in the directory. Who may find whom is another question: `user-directory.ts`. */

import { localpartOf, type UserId } from '#keys/ids.ts';
import { wordsOf } from '#keys/words.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql, sqlPair } from './sql.ts';

/** More of one user are not of interest. */
const MOST_WORDS = 40;
/** Written at once, or a few more: some milliseconds in which nobody else writes. */
const WORDS_AT_ONCE = 4_000;

const OF = sql<[string], { user_id: UserId; word: string }>(
  'directoryWords.of',
  'SELECT user_id, word FROM directory_words WHERE user_id {anyOf} ORDER BY user_id, word',
);
/** Takes an object, of each user a list of words: so a user's id is read once, not with each word. */
const ADD = sqlPair<[string]>('directoryWords.add', {
  sqlite: `INSERT INTO directory_words (user_id, word)
   SELECT users.key, words.value FROM json_each(?) users, json_each(users.value) words
   WHERE true ON CONFLICT (user_id, word) DO NOTHING`,
  postgres: `INSERT INTO directory_words (user_id, word)
   SELECT users.key, words.value FROM json_each(?::json) users, json_array_elements_text(users.value) words
   WHERE true ON CONFLICT (user_id, word) DO NOTHING`,
});
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
/** Who is in no other room, as most members of a large room are, has no other name. */
const MEMBERS = sql<
  [string, number, string, number],
  { user_id: UserId; display_name: string | null; is_wordless: number; is_elsewhere: number }
>(
  'directoryWords.members',
  `SELECT m.user_id, m.display_name,
     CASE WHEN m.membership = 'join' AND m.server_name <> ?
       AND NOT EXISTS (SELECT 1 FROM directory_words w WHERE w.user_id = m.user_id) THEN 1 ELSE 0 END AS is_wordless,
     CASE WHEN EXISTS (SELECT 1 FROM memberships o WHERE o.user_id = m.user_id AND o.room_nid <> m.room_nid)
       THEN 1 ELSE 0 END AS is_elsewhere
   FROM memberships m WHERE m.room_nid = ? AND m.user_id > ? ORDER BY m.user_id LIMIT ?`,
);

/** A user's words, none twice. */
type WordsOfUser = readonly [UserId, readonly string[]];

/** Brings the words of an account of ours up to date; none are left of one that is no more. */
export async function refreshAccount(tx: Tx, userId: UserId): Promise<void> {
  const account = await tx.get(ACCOUNT, userId);
  if (account === undefined || account.deactivated_ts !== null) return write(tx, [[userId, []]]);
  const name: unknown = account.value_json === null ? undefined : JSON.parse(account.value_json);
  await write(tx, [[userId, wordsFor(userId, typeof name === 'string' ? [name] : [])]]);
}

/** Brings the words of users of other servers up to date, by the names that they have in rooms. */
export async function refreshRemote(tx: Tx, userIds: readonly UserId[]): Promise<void> {
  const names = await namesOf(tx, userIds);
  await write(
    tx,
    userIds.map((userId) => [userId, wordsFor(userId, names.get(userId) ?? [])]),
  );
}

export interface MembersPage {
  /** The joined users of other servers who cannot be found yet, with the words by which they will be. */
  readonly wordless: readonly WordsOfUser[];
  /** Where the next page begins; undefined after the last one. */
  readonly next: UserId | undefined;
}

/** Looks through so many members of a room, those after `after` in the order of their ids; fewer where they have many words. */
export async function membersPage(
  reader: Reader,
  of: { readonly roomNid: number; readonly ourServer: string },
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<MembersPage> {
  const members = await reader.all(MEMBERS, of.ourServer, of.roomNid, after, limit);
  const wordless = members.filter((row) => row.is_wordless === 1);
  const elsewhere = wordless.filter((row) => row.is_elsewhere === 1).map((row) => row.user_id);
  const names = await namesOf(reader, elsewhere);
  const page: WordsOfUser[] = [];
  let words = 0;
  for (const { user_id: userId, display_name: name, is_elsewhere } of wordless) {
    const here = name === null ? [] : [name];
    const ofUser = wordsFor(userId, is_elsewhere === 1 ? (names.get(userId) ?? []) : here);
    page.push([userId, ofUser]);
    words += ofUser.length;
    if (words >= WORDS_AT_ONCE) return { wordless: page, next: userId };
  }
  return { wordless: page, next: members.length === limit ? members.at(-1)?.user_id : undefined };
}

/** Writes the words of users who have none. */
export async function add(tx: Tx, words: readonly WordsOfUser[]): Promise<void> {
  // In text: an object of so many keys takes longer to make than its JSON.
  const lists = words.map(([userId, ofUser]) => `${JSON.stringify(userId)}:${JSON.stringify(ofUser)}`);
  await tx.run(ADD, `{${lists.join(',')}}`);
}

/** The localpart of a user's id, in words. */
export function idWords(userId: UserId): readonly string[] {
  return wordsOf(localpartOf(userId));
}

/** The names of users in the rooms that they are in. */
async function namesOf(
  reader: Reader,
  userIds: readonly UserId[],
): Promise<ReadonlyMap<UserId, readonly string[]>> {
  if (userIds.length === 0) return new Map();
  const rows = await reader.all(NAMES, anyOf(userIds), MOST_WORDS);
  const byUser = Map.groupBy(rows, (row) => row.user_id);
  return new Map([...byUser].map(([userId, named]) => [userId, named.map((row) => row.display_name)]));
}

function wordsFor(userId: UserId, names: readonly string[]): readonly string[] {
  // All at once: no word reaches over the end of a line, and no letter is another one for it.
  const words = wordsOf([localpartOf(userId), ...names].join('\n'));
  return [...new Set(words.slice(0, MOST_WORDS))];
}

/** Makes these the words of the users. */
async function write(tx: Tx, wanted: readonly WordsOfUser[]): Promise<void> {
  const userIds = wanted.map(([userId]) => userId);
  const before = Map.groupBy(await tx.all(OF, anyOf(userIds)), (row) => row.user_id);
  const added: WordsOfUser[] = [];
  for (const [userId, words] of wanted) {
    const known = new Set(before.get(userId)?.map((row) => row.word));
    const gone = known.difference(new Set(words));
    // One statement for each: few lose a word.
    if (gone.size > 0) await tx.run(REMOVE, userId, anyOf(gone));
    const others = words.filter((word) => !known.has(word));
    if (others.length > 0) added.push([userId, others]);
  }
  if (added.length > 0) await add(tx, added);
}

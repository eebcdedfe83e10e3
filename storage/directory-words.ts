/** The words by which users are found in the directory. Who may find whom is another question: `user-directory.ts`. */

import { localpartOf, type UserId } from '#keys/ids.ts';
import { wordsOf } from '#keys/words.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** More of one user are not of interest. */
const MOST_WORDS = 40;

const OF = sql<[string], { word: string }>(
  'directoryWords.of',
  'SELECT word FROM directory_words WHERE user_id = ? ORDER BY word',
);
const ADD = sql<[string, string]>(
  'directoryWords.add',
  'INSERT INTO directory_words (user_id, word) VALUES (?, ?) ON CONFLICT (user_id, word) DO NOTHING',
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
const NAMES = sql<[string, number], { display_name: string }>(
  'directoryWords.names',
  `SELECT DISTINCT display_name FROM memberships
   WHERE user_id = ? AND membership = 'join' AND display_name IS NOT NULL ORDER BY display_name LIMIT ?`,
);
const WORDLESS = sql<[number, string], { user_id: UserId }>(
  'directoryWords.wordless',
  `SELECT m.user_id FROM memberships m WHERE m.room_nid = ? AND m.membership = 'join' AND m.server_name <> ?
     AND NOT EXISTS (SELECT 1 FROM directory_words w WHERE w.user_id = m.user_id) ORDER BY m.user_id`,
);

/** Brings the words of an account of ours up to date; none are left of one that is no more. */
export async function refreshAccount(tx: Tx, userId: UserId): Promise<void> {
  const account = await tx.get(ACCOUNT, userId);
  if (account === undefined || account.deactivated_ts !== null) return write(tx, userId, new Set());
  const name: unknown = account.value_json === null ? undefined : JSON.parse(account.value_json);
  await write(tx, userId, wordsFor(userId, typeof name === 'string' ? [name] : []));
}

/** Brings the words of a user of another server up to date, by the names that they have in rooms. */
export async function refreshRemote(tx: Tx, userId: UserId): Promise<void> {
  const names = await tx.all(NAMES, userId, MOST_WORDS);
  await write(
    tx,
    userId,
    wordsFor(
      userId,
      names.map((row) => row.display_name),
    ),
  );
}

/** The joined users of other servers in a room who cannot be found yet. Not on the main thread: it may have many. */
export async function wordless(
  reader: { scan: Reader['all'] },
  roomNid: number,
  serverName: string,
): Promise<UserId[]> {
  return (await reader.scan(WORDLESS, roomNid, serverName)).map((row) => row.user_id);
}

/** The localpart of a user's id, in words. */
export function idWords(userId: UserId): readonly string[] {
  return wordsOf(localpartOf(userId));
}

function wordsFor(userId: UserId, names: readonly string[]): ReadonlySet<string> {
  return new Set([...idWords(userId), ...names.flatMap(wordsOf)].slice(0, MOST_WORDS));
}

async function write(tx: Tx, userId: UserId, words: ReadonlySet<string>): Promise<void> {
  const before = new Set((await tx.all(OF, userId)).map((row) => row.word));
  const gone = before.difference(words);
  if (gone.size > 0) await tx.run(REMOVE, userId, anyOf(gone));
  // Few: the words of a name.
  for (const word of words.difference(before)) await tx.run(ADD, userId, word);
}

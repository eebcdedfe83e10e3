import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

const OF = sql<[string], { language: string }>(
  'userLanguages.of',
  'SELECT language FROM user_languages WHERE user_id = ?',
);
const SET = sql<[string, string]>(
  'userLanguages.set',
  `INSERT INTO user_languages (user_id, language) VALUES (?, ?)
   ON CONFLICT (user_id) DO UPDATE SET language = excluded.language`,
);
const REMOVE = sql<[string]>('userLanguages.remove', 'DELETE FROM user_languages WHERE user_id = ?');

/** The language that a user has chosen for pages and letters. */
export async function of(reader: Reader, userId: UserId): Promise<string | undefined> {
  return (await reader.get(OF, userId))?.language;
}

export async function set(tx: Tx, userId: UserId, language: string): Promise<void> {
  await tx.run(SET, userId, language);
}

export async function remove(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(REMOVE, userId);
}

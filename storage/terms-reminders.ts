import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

const OF = sql<[string], { versions: string }>(
  'termsReminders.of',
  'SELECT versions FROM terms_reminders WHERE user_id = ?',
);

const SET = sql<[string, string, number]>(
  'termsReminders.set',
  `INSERT INTO terms_reminders (user_id, versions, reminded_ts) VALUES (?, ?, ?)
   ON CONFLICT (user_id) DO UPDATE SET versions = excluded.versions, reminded_ts = excluded.reminded_ts`,
);

/** Of which versions of policies a user was reminded last; undefined for one who was not. */
export async function of(reader: Reader, userId: UserId): Promise<string | undefined> {
  return (await reader.get(OF, userId))?.versions;
}

/** Notes that a user was reminded. */
export async function set(tx: Tx, userId: UserId, versions: string, remindedTs: number): Promise<void> {
  await tx.run(SET, userId, versions, remindedTs);
}

import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** Whose bytes are counted: a user's of ours, or those that are kept of other servers. */
export type MediaOwner = UserId | 'remote';

const REMOTE = '';
const ALL_USERS = '*';

const OF = sql<[string], { bytes: number }>(
  'mediaUsage.of',
  'SELECT bytes FROM media_usage WHERE user_id = ?',
);
const ADD = sql<[string, number]>(
  'mediaUsage.add',
  `INSERT INTO media_usage (user_id, bytes) VALUES (?, ?)
   ON CONFLICT (user_id) DO UPDATE SET bytes = media_usage.bytes + excluded.bytes`,
);

/** How many bytes of media an owner has. */
export async function of(reader: Reader, owner: MediaOwner): Promise<number> {
  return (await reader.get(OF, column(owner)))?.bytes ?? 0;
}

/** How many bytes of media all users of ours have together. */
export async function ofAllUsers(reader: Reader): Promise<number> {
  return (await reader.get(OF, ALL_USERS))?.bytes ?? 0;
}

/** Counts bytes that came, or, below zero, that went. */
export async function add(tx: Tx, owner: MediaOwner, bytes: number): Promise<void> {
  await tx.run(ADD, column(owner), bytes);
  if (owner !== 'remote') await tx.run(ADD, ALL_USERS, bytes);
}

function column(owner: MediaOwner): string {
  return owner === 'remote' ? REMOTE : owner;
}

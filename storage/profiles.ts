import type { UserId } from '#keys/ids.ts';
import type { Json, JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import * as directoryWords from './directory-words.ts';
import { anyOf, sql } from './sql.ts';

/** A profile: the display name, the avatar and any further fields. */
export type Profile = JsonObject & { readonly displayname?: string; readonly avatar_url?: string };

const OF = sql<[string], { field: string; value_json: string }>(
  'profiles.of',
  'SELECT field, value_json FROM profile_fields WHERE user_id = ? ORDER BY field',
);

const SET = sql<[string, string, string]>(
  'profiles.set',
  `INSERT INTO profile_fields (user_id, field, value_json) VALUES (?, ?, ?)
   ON CONFLICT (user_id, field) DO UPDATE SET value_json = excluded.value_json`,
);

const REMOVE = sql<[string, string]>(
  'profiles.remove',
  'DELETE FROM profile_fields WHERE user_id = ? AND field = ?',
);

const AVATARS_AMONG = sql<[string], { value_json: string }>(
  'profiles.avatarsAmong',
  `SELECT value_json FROM profile_fields WHERE field = 'avatar_url' AND value_json {anyOf} ORDER BY value_json`,
);

const CLEAR = sql<[string]>('profiles.clear', 'DELETE FROM profile_fields WHERE user_id = ?');

/** A user's profile, without the fields that are not set. */
export async function of(reader: Reader, userId: UserId): Promise<Profile> {
  const rows = await reader.all(OF, userId);
  return Object.fromEntries(rows.map((row) => [row.field, JSON.parse(row.value_json) as Json])) as Profile;
}

/** Sets one field. */
export async function set(tx: Tx, userId: UserId, field: string, value: Json): Promise<void> {
  await tx.run(SET, userId, field, JSON.stringify(value));
  if (field === 'displayname') await directoryWords.refreshAccount(tx, userId);
}

/** Removes one field, if it is set. */
export async function remove(tx: Tx, userId: UserId, field: string): Promise<void> {
  await tx.run(REMOVE, userId, field);
  if (field === 'displayname') await directoryWords.refreshAccount(tx, userId);
}

/** Those of the addresses that are somebody's avatar. */
export async function avatarsAmong(reader: Reader, urls: Iterable<string>): Promise<ReadonlySet<string>> {
  const rows = await reader.all(AVATARS_AMONG, anyOf([...urls].map((url) => JSON.stringify(url))));
  return new Set(rows.map((row) => String(JSON.parse(row.value_json))));
}

/** Removes the whole profile. */
export async function clear(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(CLEAR, userId);
  await directoryWords.refreshAccount(tx, userId);
}

import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

export const usages = ['master', 'self_signing', 'user_signing'] as const;
export type Usage = (typeof usages)[number];

/** A cross-signing key of one of our users. */
export interface CrossSigningKey {
  readonly usage: Usage;
  /** In unpadded Base64; with `ed25519:` before it, the id of the key. */
  readonly publicKey: string;
  /** As it was uploaded. */
  readonly key: JsonObject;
}

interface Row {
  user_id: UserId;
  usage: Usage;
  public_key: string;
  key_json: string;
}

const OF = sql<[string], Row>(
  'crossSigningKeys.of',
  `SELECT user_id, usage, public_key, key_json FROM cross_signing_keys
   WHERE user_id {anyOf} ORDER BY user_id, usage`,
);
const SET = sql<[string, string, string, string]>(
  'crossSigningKeys.set',
  `INSERT INTO cross_signing_keys (user_id, usage, public_key, key_json) VALUES (?, ?, ?, ?)
   ON CONFLICT (user_id, usage) DO UPDATE SET public_key = excluded.public_key, key_json = excluded.key_json`,
);
const REMOVE = sql<[string, string]>(
  'crossSigningKeys.remove',
  'DELETE FROM cross_signing_keys WHERE user_id = ? AND usage = ?',
);
const CLEAR = sql<[string]>('crossSigningKeys.clear', 'DELETE FROM cross_signing_keys WHERE user_id = ?');

/** The cross-signing keys of users, by user and usage; a user without any is absent. */
export async function ofUsers(
  reader: Reader,
  userIds: readonly UserId[],
): Promise<ReadonlyMap<UserId, ReadonlyMap<Usage, CrossSigningKey>>> {
  const found = new Map<UserId, Map<Usage, CrossSigningKey>>();
  for (const { user_id: userId, usage, public_key: publicKey, key_json: json } of await reader.all(
    OF,
    anyOf(userIds),
  )) {
    const keys = found.get(userId) ?? new Map<Usage, CrossSigningKey>();
    keys.set(usage, { usage, publicKey, key: JSON.parse(json) as JsonObject });
    found.set(userId, keys);
  }
  return found;
}

/** The cross-signing keys of one user. */
export async function ofUser(reader: Reader, userId: UserId): Promise<ReadonlyMap<Usage, CrossSigningKey>> {
  return (await ofUsers(reader, [userId])).get(userId) ?? new Map();
}

/** Stores a key in place of the user's earlier one of the same usage. */
export async function set(tx: Tx, userId: UserId, { usage, publicKey, key }: CrossSigningKey): Promise<void> {
  await tx.run(SET, userId, usage, publicKey, JSON.stringify(key));
}

/** Removes the user's key of a usage. */
export async function remove(tx: Tx, userId: UserId, usage: Usage): Promise<void> {
  await tx.run(REMOVE, userId, usage);
}

/** Removes all cross-signing keys of a user. */
export async function clear(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(CLEAR, userId);
}

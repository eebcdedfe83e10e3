import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** What is signed: a device of a user by its id, or a cross-signing key by its public key. */
export interface SignedKey {
  readonly userId: UserId;
  readonly id: string;
}

/** A signature that one of our users has put on a key. */
export interface KeySignature {
  readonly target: SignedKey;
  readonly signer: UserId;
  /** Of the signing key, such as `ed25519:DEVICE`. */
  readonly keyId: string;
  /** In unpadded Base64. */
  readonly signature: string;
}

interface Row {
  target_user_id: UserId;
  target_id: string;
  user_id: UserId;
  key_id: string;
  signature: string;
}

const SET = sql<[string, string, string, string, string, number]>(
  'keySignatures.set',
  `INSERT INTO key_signatures (target_user_id, target_id, user_id, key_id, signature, position)
   VALUES (?, ?, ?, ?, ?, ?)
   ON CONFLICT (target_user_id, target_id, user_id, key_id)
   DO UPDATE SET signature = excluded.signature, position = excluded.position`,
);
/** Those of the targets' users themselves, and those of one more user. */
const ON_KEYS_OF = sql<[string, string], Row>(
  'keySignatures.onKeysOf',
  `SELECT target_user_id, target_id, user_id, key_id, signature FROM key_signatures
   WHERE target_user_id {anyOf} AND (user_id = target_user_id OR user_id = ?)
   ORDER BY target_user_id, target_id, user_id, key_id`,
);
const REMOVE_ON = sql<[string, string]>(
  'keySignatures.removeOn',
  'DELETE FROM key_signatures WHERE target_user_id = ? AND target_id = ?',
);

/** Stores a signature; the signer's other devices hear of it at `position`. */
export async function set(tx: Tx, { target, signer, keyId, signature }: KeySignature, position: number) {
  await tx.run(SET, target.userId, target.id, signer, keyId, signature, position);
}

/**
 * The signatures on the keys of users that a viewer may see: those that the users have put on their own, and the
 * viewer's. Without a viewer only the former.
 */
export async function onKeysOf(
  reader: Reader,
  userIds: readonly UserId[],
  viewer: UserId | undefined,
): Promise<KeySignature[]> {
  const rows = await reader.all(ON_KEYS_OF, anyOf(userIds), viewer ?? '');
  return rows.map((row) => ({
    target: { userId: row.target_user_id, id: row.target_id },
    signer: row.user_id,
    keyId: row.key_id,
    signature: row.signature,
  }));
}

/** Removes all signatures on a key that is no more. */
export async function removeOn(tx: Tx, target: SignedKey): Promise<void> {
  await tx.run(REMOVE_ON, target.userId, target.id);
}

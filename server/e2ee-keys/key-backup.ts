/** Backups of room keys: https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups */

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { UserId } from '#keys/ids.ts';
import type { BackedUpKey } from '#storage/backed-up-keys.ts';
import * as backedUpKeys from '#storage/backed-up-keys.ts';
import type { Database } from '#storage/database.ts';
import type { KeyBackup } from '#storage/key-backups.ts';
import * as keyBackups from '#storage/key-backups.ts';

const MOST_BACKUPS = 100;
/** Of a user, in all backups. */
const MOST_KEYS = 500_000;
const KEYS_AT_ONCE = 1_000;

/** What becomes of keys that are to be stored. */
export type StoreOutcome =
  | { readonly kind: 'stored'; readonly backup: KeyBackup }
  | { readonly kind: 'wrong_version'; readonly current: number }
  | { readonly kind: 'not_found' | 'full' };

/** Makes a backup, which is the newest then; undefined where the user has too many. */
export async function createBackup(
  db: Database,
  userId: UserId,
  told: Pick<KeyBackup, 'algorithm' | 'authData'>,
): Promise<number | undefined> {
  return db.write('keyBackups.create', async (tx) => {
    if ((await keyBackups.totals(tx, userId)).backups >= MOST_BACKUPS) return undefined;
    return keyBackups.create(tx, userId, told);
  });
}

/** Stores the keys that are better than those there are, in the newest backup. */
export async function storeKeys(
  db: Database,
  userId: UserId,
  { version, keys }: { readonly version: number; readonly keys: readonly BackedUpKey[] },
): Promise<StoreOutcome> {
  return db.write('keyBackups.store', async (tx): Promise<StoreOutcome> => {
    const current = await keyBackups.newest(tx, userId);
    if (current === undefined) return { kind: 'not_found' };
    if (current.version !== version) {
      const wasGiven = await keyBackups.wasGiven(tx, userId, version);
      return wasGiven ? { kind: 'wrong_version', current: current.version } : { kind: 'not_found' };
    }
    const { backupNid } = current;
    const more = keys.length - (await backedUpKeys.howManyOf(tx, backupNid, keys));
    if (more > 0 && (await keyBackups.totals(tx, userId)).keys + more > MOST_KEYS) return { kind: 'full' };
    const stored = await backedUpKeys.add(tx, backupNid, keys);
    if (stored > 0) await keyBackups.keysChanged(tx, backupNid, more);
    return { kind: 'stored', backup: (await keyBackups.of(tx, userId, version)) ?? current };
  });
}

/** Deletes the key of a session, the keys of a room, or all of a backup; undefined where there is no such backup. */
export async function deleteKeys(
  db: Database,
  userId: UserId,
  wanted: { readonly version: number; readonly roomId?: string; readonly sessionId?: string },
): Promise<KeyBackup | undefined> {
  const { version, ...keys } = wanted;
  for (;;) {
    // In portions, so that nobody waits long for the one writer.
    const { backup, deleted } = await db.write('keyBackups.deleteKeys', async (tx) => {
      const before = await keyBackups.of(tx, userId, version);
      if (before === undefined) return { backup: undefined, deleted: 0 };
      const count = await backedUpKeys.deleteSome(tx, { ...keys, backupNid: before.backupNid }, KEYS_AT_ONCE);
      if (count > 0) await keyBackups.keysChanged(tx, before.backupNid, -count);
      return { backup: await keyBackups.of(tx, userId, version), deleted: count };
    });
    if (deleted < KEYS_AT_ONCE) return backup;
    await nextTurn();
  }
}

/** Deletes a backup, of which `removeDeletedBackups` removes the keys. False for a version that there never was. */
export async function deleteBackup(db: Database, userId: UserId, version: number): Promise<boolean> {
  return db.write('keyBackups.delete', async (tx) => {
    await keyBackups.markDeleted(tx, userId, version);
    return keyBackups.wasGiven(tx, userId, version);
  });
}

/** Removes what is left of deleted backups. */
export async function removeDeletedBackups(db: Database, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const isDone = await db.write('keyBackups.removeDeleted', async (tx) => {
      const backupNid = await keyBackups.firstDeleted(tx);
      if (backupNid === undefined) return true;
      const count = await backedUpKeys.deleteSome(tx, { backupNid }, KEYS_AT_ONCE);
      if (count < KEYS_AT_ONCE) await keyBackups.remove(tx, backupNid);
      return false;
    });
    if (isDone) return;
    await nextTurn();
  }
}

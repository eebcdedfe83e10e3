/** A user's cross-signing keys: https://spec.matrix.org/v1.19/client-server-api/#cross-signing */

import { faultOfSigningKey, publicKeyOf } from '#federation/e2ee-keys/device-keys.ts';
import { invalidParam, missingParam } from '#federation/errors.ts';
import { publicKeyFrom } from '#keys/ed25519.ts';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { signableBytes, verifyJson } from '#keys/sign-json.ts';
import * as crossSigningKeys from '#storage/cross-signing-keys.ts';
import { type CrossSigningKey, type Usage, usages } from '#storage/cross-signing-keys.ts';
import type { Tx } from '#storage/database.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as devices from '#storage/devices.ts';
import * as keySignatures from '#storage/key-signatures.ts';
import { optionalObject } from '../body.ts';
import type { ServerContext } from '../context.ts';

export type SigningKeysOutcome = 'stored' | 'not_confirmed' | 'no_master_key' | 'bad_signature' | 'id_in_use';

const NAMES: Readonly<Record<Usage, string>> = {
  master: 'master_key',
  self_signing: 'self_signing_key',
  user_signing: 'user_signing_key',
};

/** The keys in the body of a request; throws `M_INVALID_PARAM` where one is malformed. */
export function parseSigningKeys(body: JsonObject, userId: UserId): CrossSigningKey[] {
  const keys = usages.flatMap((usage): CrossSigningKey[] => {
    const key = optionalObject(body, NAMES[usage]);
    if (key === undefined) return [];
    const fault = faultOfSigningKey(key, userId, usage);
    const publicKey = publicKeyOf(key);
    if (fault !== undefined || publicKey === undefined) throw invalidParam(`${NAMES[usage]}: ${fault}`);
    return [{ usage, publicKey, key }];
  });
  if (keys.length === 0) throw missingParam('master_key');
  if (new Set(keys.map(({ publicKey }) => publicKey)).size < keys.length) {
    throw invalidParam('Two of the keys are the same');
  }
  return keys;
}

/**
 * Stores keys of a user in place of earlier ones. Without confirmation only where the user "has no existing master
 * signing key" or "the request contains no new keys".
 */
export async function storeSigningKeys(
  ctx: ServerContext,
  userId: UserId,
  upload: { readonly keys: readonly CrossSigningKey[]; readonly isConfirmed: boolean },
): Promise<SigningKeysOutcome> {
  const { keys, isConfirmed } = upload;
  const before = await crossSigningKeys.ofUser(ctx.db, userId);
  const newKeys = keys.filter((key) => !isSame(before.get(key.usage), key));
  if (newKeys.length === 0) return 'stored';
  if (before.has('master') && !isConfirmed) return 'not_confirmed';
  const master = keys.find(({ usage }) => usage === 'master') ?? before.get('master');
  if (master === undefined) return 'no_master_key';
  for (const key of newKeys) {
    // Three at most.
    if (key.usage !== 'master' && !(await isSignedBy(key, userId, master))) return 'bad_signature';
  }
  return ctx.db.write('signingKeys.set', async (tx) => {
    const now = await crossSigningKeys.ofUser(tx, userId);
    // Another request was faster: what was decided here may not hold any more.
    if (now.get('master')?.publicKey !== before.get('master')?.publicKey) return 'not_confirmed';
    for (const { publicKey } of newKeys) {
      if ((await devices.of(tx, userId, publicKey)) !== undefined) return 'id_in_use';
    }
    await replace(tx, userId, { newKeys, before: now });
    await deviceLists.signingKeysChanged(tx, ctx.streams, userId);
    return 'stored';
  });
}

async function replace(
  tx: Tx,
  userId: UserId,
  {
    newKeys,
    before,
  }: { readonly newKeys: readonly CrossSigningKey[]; readonly before: ReadonlyMap<Usage, CrossSigningKey> },
): Promise<void> {
  const isNewMaster = newKeys.some(({ usage }) => usage === 'master');
  for (const usage of usages) {
    const earlier = before.get(usage);
    const later = newKeys.find((key) => key.usage === usage);
    // A new master key has not signed the other keys that there were: nobody would accept them.
    const isEnded = isNewMaster && earlier !== undefined && later === undefined && usage !== 'master';
    if (earlier !== undefined && (later !== undefined || isEnded)) {
      await keySignatures.removeOn(tx, { userId, id: earlier.publicKey });
    }
    if (later !== undefined) await crossSigningKeys.set(tx, userId, later);
    else if (isEnded) await crossSigningKeys.remove(tx, userId, usage);
  }
}

/** "it exactly matches the master signing key provided"; signatures are added by another request. */
function isSame(stored: CrossSigningKey | undefined, given: CrossSigningKey): boolean {
  return stored !== undefined && signableBytes(stored.key) === signableBytes(given.key);
}

function isSignedBy({ key }: CrossSigningKey, userId: UserId, master: CrossSigningKey): Promise<boolean> {
  const publicKey = publicKeyFrom(master.publicKey);
  if (publicKey === undefined) return Promise.resolve(false);
  return verifyJson(key, userId, `ed25519:${master.publicKey}`, publicKey);
}

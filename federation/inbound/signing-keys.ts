/** https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption */

import { encodeCanonical } from '#keys/canonical-json.ts';
import { belongsTo, isUserId, type ServerName, type UserId } from '#keys/ids.ts';
import { type JsonObject, own } from '#keys/json.ts';
import type { Tx } from '#storage/database.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as remoteDeviceLists from '#storage/remote-device-lists.ts';
import { MISSED } from '../e2ee-keys/device-lists-remote.ts';
import { signingKeyIn } from '../remote/keys.ts';
import { isOfItsJoin, isShared } from './device-lists.ts';
import type { EduContext, EduWrite } from './edu-source.ts';

/** Takes in an `m.signing_key_update`: only of the origin's own users, only of those who share a room with ours. */
export async function receiveSigningKeyUpdate(
  ctx: EduContext,
  origin: ServerName,
  content: JsonObject,
): Promise<EduWrite | undefined> {
  const userId = own(content, 'user_id');
  if (!isUserId(userId) || !belongsTo(userId, origin)) return undefined;
  const masterKey = signingKeyIn(content, 'master_key', { userId, usage: 'master' });
  const selfSigningKey = signingKeyIn(content, 'self_signing_key', { userId, usage: 'self_signing' });
  if (masterKey === undefined && selfSigningKey === undefined) return undefined;
  return { rows: 1, write: (tx) => writeUpdate(ctx, tx, userId, { masterKey, selfSigningKey }) };
}

async function writeUpdate(ctx: EduContext, tx: Tx, userId: UserId, told: SigningKeys): Promise<void> {
  if (!(await isShared(ctx, tx, userId))) return;
  const state = (await remoteDeviceLists.statesOf(tx, ctx.serverName, [userId])).get(userId);
  if (state === undefined && (await isOfItsJoin(ctx, tx, userId))) return;
  const before = (await remoteDeviceLists.keysOf(tx, [userId])).get(userId);
  if (before !== undefined) {
    const after = {
      masterKey: told.masterKey ?? before.masterKey,
      selfSigningKey: told.selfSigningKey ?? before.selfSigningKey,
    };
    if (state?.isStale === false && isSame(before, after)) return;
    await remoteDeviceLists.setSigningKeys(tx, userId, after);
  }
  await deviceLists.markChanged(tx, ctx.streams, userId, state?.isStale === true ? [MISSED] : []);
}

type SigningKeys = Pick<remoteDeviceLists.RemoteKeys, 'masterKey' | 'selfSigningKey'>;

function isSame(a: SigningKeys, b: SigningKeys): boolean {
  const text = (keys: SigningKeys) => encodeCanonical([keys.masterKey ?? null, keys.selfSigningKey ?? null]);
  return text(a) === text(b);
}

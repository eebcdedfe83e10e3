/** Signatures on keys: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload */

import { publicKeyOf } from '#federation/e2ee-keys/device-keys.ts';
import { ownAndBridgedKeys } from '#federation/e2ee-keys/device-lists-own.ts';
import { remoteKeys } from '#federation/e2ee-keys/device-lists-remote.ts';
import { invalidParam } from '#federation/errors.ts';
import { publicKeyFrom } from '#keys/ed25519.ts';
import { belongsTo, isUserId, type KeyId, type UserId } from '#keys/ids.ts';
import { isObject, type JsonObject, objectAt, stringAt } from '#keys/json.ts';
import { signableBytes, signaturesOf, verifyJson } from '#keys/sign-json.ts';
import type { Tx } from '#storage/database.ts';
import * as deviceLists from '#storage/device-lists.ts';
import type { KeySignature } from '#storage/key-signatures.ts';
import * as keySignatures from '#storage/key-signatures.ts';
import type { RemoteKeys } from '#storage/remote-device-lists.ts';
import type { ServerContext } from '../context.ts';

/** A key with signatures that are to be added to it. */
interface Upload {
  readonly userId: UserId;
  /** A device id, or a public key. */
  readonly id: string;
  readonly object: JsonObject;
}

interface Failure {
  readonly errcode: string;
  readonly error: string;
}

/** What the signer may sign, as it is stored: the keys of others only as far as their master keys. */
interface Signable {
  readonly object: JsonObject;
  /** The keys that may sign it, in Base64 by their ids. */
  readonly signers: ReadonlyMap<KeyId, string>;
  readonly kind: 'own_device' | 'own_key' | 'other_key';
}

type Keys = RemoteKeys & { readonly userSigningKey?: JsonObject | undefined };

const MOST_UPLOADS = 500;
const MOST_SIGNATURES = 20;
const REMOTE_TIMEOUT_MS = 10_000;

/** Stores the signatures that hold; answers the failures of the others, as `{user_id: {id: error}}`. */
export async function uploadSignatures(
  ctx: ServerContext,
  signer: UserId,
  body: JsonObject,
): Promise<JsonObject> {
  const uploads = parseUploads(body);
  const keys = await keysOf(ctx, signer, [...new Set([signer, ...uploads.map(({ userId }) => userId)])]);
  const failures = new Map<UserId, Map<string, JsonObject>>();
  const accepted: { readonly kind: Signable['kind']; readonly signatures: readonly KeySignature[] }[] = [];
  for (const upload of uploads) {
    // One key after the other: each has a signature or two.
    const outcome = await check(signer, upload, keys);
    if (!('errcode' in outcome)) {
      accepted.push(outcome);
      continue;
    }
    const ofUser = failures.get(upload.userId) ?? new Map<string, JsonObject>();
    failures.set(upload.userId, ofUser.set(upload.id, { ...outcome }));
  }
  await ctx.db.write('keySignatures.set', async (tx) => {
    for (const { kind, signatures } of accepted) await store(ctx, tx, { signer, kind, signatures });
  });
  return Object.fromEntries([...failures].map(([userId, ofUser]) => [userId, Object.fromEntries(ofUser)]));
}

function parseUploads(body: JsonObject): Upload[] {
  const uploads: Upload[] = [];
  for (const [userId, byId] of Object.entries(body)) {
    if (!isUserId(userId) || !isObject(byId)) throw invalidParam(`${userId} is not a user with keys`);
    for (const [id, object] of Object.entries(byId)) {
      if (!isObject(object)) throw invalidParam(`${userId} ${id} is not a key`);
      uploads.push({ userId, id, object });
    }
  }
  if (uploads.length > MOST_UPLOADS) throw invalidParam('Too many keys');
  return uploads;
}

async function keysOf(
  ctx: ServerContext,
  viewer: UserId,
  userIds: readonly UserId[],
): Promise<ReadonlyMap<UserId, Keys>> {
  const ours = new Map<UserId, readonly string[]>();
  for (const userId of userIds) if (belongsTo(userId, ctx.serverName)) ours.set(userId, []);
  const others = userIds.filter((userId) => !belongsTo(userId, ctx.serverName));
  const own = await ownAndBridgedKeys(ctx, ours, viewer);
  const remote = await remoteKeys(ctx, others, { timeoutMs: REMOTE_TIMEOUT_MS });
  return new Map<UserId, Keys>([...own, ...remote.keys]);
}

/** The signatures that are new and hold, or why there are none. */
async function check(
  signer: UserId,
  { userId, id, object }: Upload,
  keys: ReadonlyMap<UserId, Keys>,
): Promise<{ kind: Signable['kind']; signatures: KeySignature[] } | Failure> {
  const signable = signableFor(signer, { userId, id }, keys);
  if (signable === undefined) return { errcode: 'M_NOT_FOUND', error: 'There is no such key to be signed' };
  if (signableBytes(object) !== signableBytes(signable.object)) {
    return { errcode: 'M_INVALID_SIGNATURE', error: 'The key is not the one that was uploaded' };
  }
  const known = signaturesOf(signable.object, signer);
  const signatures: KeySignature[] = [];
  const given = [...signaturesOf(object, signer)].filter(([keyId, text]) => known.get(keyId) !== text);
  for (const [keyId, signature] of given.slice(0, MOST_SIGNATURES)) {
    const publicKey = publicKeyFrom(signable.signers.get(keyId) ?? '');
    const holds = publicKey !== undefined && (await verifyJson(object, signer, keyId, publicKey));
    if (!holds) return { errcode: 'M_INVALID_SIGNATURE', error: `The signature of ${keyId} does not hold` };
    signatures.push({ target: { userId, id }, signer, keyId, signature });
  }
  if (signatures.length === 0 && known.size === 0) {
    return { errcode: 'M_INVALID_SIGNATURE', error: 'The key has no signature of yours' };
  }
  return { kind: signable.kind, signatures };
}

/** What one may sign: one's devices by the self-signing key, one's master key by devices, those of others by the user-signing key. */
function signableFor(
  signer: UserId,
  { userId, id }: { readonly userId: UserId; readonly id: string },
  keys: ReadonlyMap<UserId, Keys>,
): Signable | undefined {
  const mine = keys.get(signer);
  const { masterKey, devices } = keys.get(userId) ?? {};
  const isMasterKey = masterKey !== undefined && publicKeyOf(masterKey) === id;
  if (userId !== signer) {
    if (!isMasterKey) return undefined;
    return { kind: 'other_key', object: masterKey, signers: named(mine?.userSigningKey) };
  }
  if (isMasterKey) return { kind: 'own_key', object: masterKey, signers: deviceSigners(mine) };
  const device = devices?.get(id);
  return device && { kind: 'own_device', object: device, signers: named(mine?.selfSigningKey) };
}

function named(key: JsonObject | undefined): Map<KeyId, string> {
  const publicKey = key && publicKeyOf(key);
  return new Map<KeyId, string>(publicKey === undefined ? [] : [[`ed25519:${publicKey}`, publicKey]]);
}

function deviceSigners(keys: Keys | undefined): Map<KeyId, string> {
  const signers = new Map<KeyId, string>();
  for (const [deviceId, device] of keys?.devices ?? []) {
    const publicKey = stringAt(objectAt(device, 'keys') ?? {}, `ed25519:${deviceId}`);
    if (publicKey !== undefined) signers.set(`ed25519:${deviceId}`, publicKey);
  }
  return signers;
}

/** Stores the signatures on one key, and tells those who can see them. */
async function store(
  { streams }: ServerContext,
  tx: Tx,
  accepted: {
    readonly signer: UserId;
    readonly kind: Signable['kind'];
    readonly signatures: readonly KeySignature[];
  },
): Promise<void> {
  const { signer, kind, signatures } = accepted;
  const [first] = signatures;
  if (first === undefined) return;
  // Signatures on others' keys are seen by the signer's own devices only.
  const position = streams.allocate(tx, [`user:${signer}`, 'device_lists']);
  for (const signature of signatures) await keySignatures.set(tx, signature, position);
  if (kind === 'own_device') await deviceLists.devicesChanged(tx, streams, signer, [first.target.id]);
  if (kind === 'own_key') await deviceLists.signingKeysChanged(tx, streams, signer);
}

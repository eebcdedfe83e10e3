/** Keys of devices and users as clients make them, signed by hand. */

import { generateSeed, keyPairFromSeed, type SigningKeyPair } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import { signableBytes } from '#keys/sign-json.ts';
import type { Body, TestClient } from './client.ts';

/** A key pair, and the name that it signs under. */
export interface Signer {
  readonly userId: string;
  /** Such as `ed25519:DEVICE`. */
  readonly keyId: string;
  readonly pair: SigningKeyPair;
}

/** The object with one more signature. */
export function signedBy(object: JsonObject, { userId, keyId, pair }: Signer): JsonObject {
  const { signatures = {} } = object as { signatures?: Record<string, JsonObject> };
  const signature = pair.sign(signableBytes(object));
  return {
    ...object,
    signatures: { ...signatures, [userId]: { ...signatures[userId], [keyId]: signature } },
  };
}

/** A key pair for a device. */
export function deviceSigner({ userId, deviceId }: Pick<TestClient, 'userId' | 'deviceId'>): Signer {
  return { userId, keyId: `ed25519:${deviceId}`, pair: keyPairFromSeed('device', generateSeed()) };
}

/** The keys of a device, signed by it. */
export function deviceKeysOf(
  { userId, deviceId }: Pick<TestClient, 'userId' | 'deviceId'>,
  signer = deviceSigner({ userId, deviceId }),
): JsonObject {
  const keys = {
    user_id: userId,
    device_id: deviceId,
    algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
    keys: { [signer.keyId]: signer.pair.publicKey, [`curve25519:${deviceId}`]: 'curve' },
  };
  return signedBy(keys, signer);
}

/** A one-time or fallback key, as good as signed. */
export function oneTimeKey(key: string): JsonObject {
  return { key, signatures: {} };
}

/** Uploads keys of the client's device, and answers them. */
export async function uploadDeviceKeys(client: TestClient, signer?: Signer): Promise<JsonObject> {
  const deviceKeys = deviceKeysOf(client, signer);
  await client.post('/keys/upload', { device_keys: deviceKeys });
  return deviceKeys;
}

/** A user's cross-signing keys, and what signs by each. */
export interface CrossSigning {
  readonly master: Signer;
  readonly selfSigning: Signer;
  readonly userSigning: Signer;
  /** The body of `keys/device_signing/upload`. */
  readonly body: { readonly [name in 'master_key' | 'self_signing_key' | 'user_signing_key']: JsonObject };
}

export function crossSigningOf(userId: string): CrossSigning {
  const signerOf = (): Signer => {
    const pair = keyPairFromSeed('key', generateSeed());
    return { userId, keyId: `ed25519:${pair.publicKey}`, pair };
  };
  const [master, selfSigning, userSigning] = [signerOf(), signerOf(), signerOf()];
  const keyOf = ({ keyId, pair }: Signer, usage: string): JsonObject => ({
    user_id: userId,
    usage: [usage],
    keys: { [keyId]: pair.publicKey },
  });
  return {
    ...{ master, selfSigning, userSigning },
    body: {
      master_key: keyOf(master, 'master'),
      self_signing_key: signedBy(keyOf(selfSigning, 'self_signing'), master),
      user_signing_key: signedBy(keyOf(userSigning, 'user_signing'), master),
    },
  };
}

/** What `/keys/query` says of users. */
export function queryKeys(client: TestClient, userIds: readonly string[]): Promise<Body> {
  return client.post('/keys/query', {
    device_keys: Object.fromEntries(userIds.map((userId) => [userId, []])),
  });
}

/** The ids of a user's devices, as somebody is told them. */
export async function devicesSeen(viewer: TestClient, userId: string): Promise<string[]> {
  const { device_keys: devices } = await queryKeys(viewer, [userId]);
  return Object.keys(devices[userId] ?? {}).sort();
}

/** Syncs until `userId` is among those whose devices changed; answers where to go on. */
export async function untilChanged(viewer: TestClient, userId: string, since: string): Promise<string> {
  const answer = await viewer.syncUntil(
    ({ device_lists: lists }) => lists?.changed?.includes(userId) === true,
    { since },
  );
  return answer.next_batch;
}

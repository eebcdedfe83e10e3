/**
 * Keys and devices of users of other servers: https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption
 * and #device-management. What is told of others than those asked for, or is malformed, is left out.
 */

import { belongsTo, type ServerName, type UserId } from '#keys/ids.ts';
import { integerAt, isObject, type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import type { Usage } from '#storage/cross-signing-keys.ts';
import type { RemoteKeys } from '#storage/remote-device-lists.ts';
import { faultOfDeviceKeys, faultOfSigningKey, isDeviceId, isOneTimeKey } from '../e2ee-keys/device-keys.ts';
import type { Claim, ClaimedKey } from '../e2ee-keys/key-claims.ts';
import { type Remote, readObject } from './answer.ts';
import { encode, FEDERATION, type RemoteContext, type RemoteOptions } from './request.ts';

/** Far more than users have. */
export const MOST_DEVICES = 1_000;
const KEYS_TIMEOUT_MS = 20_000;
const MAX_BYTES = 16 * 1024 * 1024;
const MAX_NAME_CHARACTERS = 255;

const LIMITS = { timeoutMs: KEYS_TIMEOUT_MS, maxBytes: MAX_BYTES };

/** `POST v1/user/keys/query`: all devices of users of `server`, who are all in the answer. */
export async function queryKeys(
  ctx: RemoteContext,
  server: ServerName,
  userIds: readonly UserId[],
  options: RemoteOptions = {},
): Promise<Remote<ReadonlyMap<UserId, RemoteKeys>>> {
  const body = { device_keys: Object.fromEntries(userIds.map((userId) => [userId, []])) };
  const path = `${FEDERATION}/v1/user/keys/query`;
  const request = { server, method: 'POST', path, body, ...LIMITS, ...options } as const;
  return readObject(await ctx.client.request(request), (answer) => {
    const devices = objectAt(answer, 'device_keys');
    if (devices === undefined) return undefined;
    const masterKeys = objectAt(answer, 'master_keys') ?? {};
    const selfSigningKeys = objectAt(answer, 'self_signing_keys') ?? {};
    const keysOf = (userId: UserId): RemoteKeys => ({
      devices: devicesIn(userId, Object.entries(objectAt(devices, userId) ?? {})),
      masterKey: signingKeyIn(masterKeys, userId, { userId, usage: 'master' }),
      selfSigningKey: signingKeyIn(selfSigningKeys, userId, { userId, usage: 'self_signing' }),
    });
    return new Map(userIds.map((userId) => [userId, keysOf(userId)]));
  });
}

/** `GET v1/user/devices/{userId}`: all devices of a user of `server`, and up to which update the list goes. */
export async function userDevices(
  ctx: RemoteContext,
  server: ServerName,
  userId: UserId,
  options: RemoteOptions = {},
): Promise<Remote<{ readonly streamId: number; readonly keys: RemoteKeys }>> {
  const path = `${FEDERATION}/v1/user/devices/${encode(userId)}`;
  const request = { server, method: 'GET', path, ...LIMITS, ...options } as const;
  return readObject(await ctx.client.request(request), (answer) => {
    const streamId = integerAt(answer, 'stream_id');
    const devices = own(answer, 'devices');
    if (streamId === undefined || !Array.isArray(devices) || own(answer, 'user_id') !== userId)
      return undefined;
    const entries = devices.filter(isObject).map((device): [string, Json] => {
      const keys = objectAt(device, 'keys') ?? {};
      const name = own(device, 'device_display_name');
      return [stringAt(device, 'device_id') ?? '', withName(keys, name)];
    });
    const keys = {
      devices: devicesIn(userId, entries),
      masterKey: signingKeyIn(answer, 'master_key', { userId, usage: 'master' }),
      selfSigningKey: signingKeyIn(answer, 'self_signing_key', { userId, usage: 'self_signing' }),
    };
    return { streamId, keys };
  });
}

/** `POST v1/user/keys/claim`: one-time keys of users of `server`; at most one for each claim. */
export async function claimKeys(
  ctx: RemoteContext,
  server: ServerName,
  claims: readonly Claim[],
  options: RemoteOptions = {},
): Promise<Remote<readonly ClaimedKey[]>> {
  const wanted = Map.groupBy(
    claims.filter(({ userId }) => belongsTo(userId, server)),
    ({ userId }) => userId,
  );
  const users = [...wanted].map(([userId, ofUser]) => {
    return [
      userId,
      Object.fromEntries(ofUser.map(({ deviceId, algorithm }) => [deviceId, algorithm])),
    ] as const;
  });
  const body = { one_time_keys: Object.fromEntries(users) };
  const path = `${FEDERATION}/v1/user/keys/claim`;
  const request = { server, method: 'POST', path, body, ...LIMITS, ...options } as const;
  return readObject(await ctx.client.request(request), (answer) => {
    const keys = objectAt(answer, 'one_time_keys');
    if (keys === undefined) return undefined;
    return [...wanted.values()].flat().flatMap((claim) => {
      const found = claimedIn(objectAt(objectAt(keys, claim.userId) ?? {}, claim.deviceId) ?? {}, claim);
      return found === undefined ? [] : [found];
    });
  });
}

/** The keys of a device as clients get them; undefined where they are malformed or there are none. */
export function deviceKeysFrom(
  userId: UserId,
  deviceId: string,
  told: Json | undefined,
): JsonObject | undefined {
  if (!isObject(told) || !isDeviceId(deviceId)) return undefined;
  const { unsigned, ...keys } = told;
  if (faultOfDeviceKeys(keys, { userId, deviceId }) !== undefined) return undefined;
  const name = isObject(unsigned) ? own(unsigned, 'device_display_name') : undefined;
  return withName(keys, name);
}

/** The cross-signing key under a name; undefined where it is malformed or there is none. */
export function signingKeyIn(
  object: JsonObject,
  name: string,
  { userId, usage }: { readonly userId: UserId; readonly usage: Usage },
): JsonObject | undefined {
  const key = objectAt(object, name);
  return key !== undefined && faultOfSigningKey(key, userId, usage) === undefined ? key : undefined;
}

/** "device_display_name: The display name which the user set on the device", in `unsigned`. */
export function withName(keys: JsonObject, name: Json | undefined): JsonObject {
  if (typeof name !== 'string' || name.length > MAX_NAME_CHARACTERS) return keys;
  return { ...keys, unsigned: { device_display_name: name } };
}

/** The devices of a user that are sound, as clients get them. */
export function devicesIn(
  userId: UserId,
  entries: readonly (readonly [string, Json])[],
): Map<string, JsonObject> {
  const devices = new Map<string, JsonObject>();
  for (const [deviceId, told] of entries) {
    if (devices.size >= MOST_DEVICES) break;
    const keys = deviceKeysFrom(userId, deviceId, told);
    if (keys !== undefined) devices.set(deviceId, keys);
  }
  return devices;
}

/** The first key of the algorithm of a claim, where it is sound. */
export function claimedIn(keys: JsonObject, claim: Claim): ClaimedKey | undefined {
  for (const [name, key] of Object.entries(keys)) {
    if (!isOneTimeKey(key) || !name.startsWith(`${claim.algorithm}:`)) continue;
    if (name.length <= MAX_NAME_CHARACTERS) return { claim, name, key };
  }
  return undefined;
}

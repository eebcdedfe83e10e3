/** https://spec.matrix.org/v1.19/client-server-api/#key-management-api */

import type { FastifyInstance } from 'fastify';
import { badJson, invalidParam } from '#federation/errors.ts';
import { isUserId, serverNameOf, type UserId } from '#keys/ids.ts';
import { isObject, isStringArray, type Json, type JsonObject, objectAt, own } from '#keys/json.ts';
import * as deviceLists from '#storage/device-lists.ts';
import type { DeviceRef, UploadedKey } from '#storage/e2ee-keys.ts';
import * as e2eeKeys from '#storage/e2ee-keys.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { checkDeviceKeys } from '../device-keys.ts';
import { parseToken } from '../sync/token.ts';

const BODY_LIMIT = 1024 * 1024;
/** Far more than clients upload: they keep about 50 on the server. */
const MOST_ONE_TIME_KEYS = 200;
const MOST_USERS_PER_QUERY = 5_000;

/** Device keys, one-time keys and fallback keys of this server's users. */
export function keysRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post('/_matrix/client/v3/keys/upload', { bodyLimit: BODY_LIMIT }, async (request) => {
    const { userId, deviceId } = await requireRequester(ctx, request);
    ctx.limits.take('keys', `${userId} ${deviceId}`);
    const upload = parseUpload(bodyObject(request), { userId, deviceId });
    await storeUpload(ctx, { userId, deviceId }, upload);
    const counts = await e2eeKeys.oneTimeKeyCounts(ctx.db, userId, deviceId);
    return { one_time_key_counts: { signed_curve25519: 0, ...Object.fromEntries(counts) } };
  });

  app.post('/_matrix/client/v3/keys/query', { bodyLimit: BODY_LIMIT }, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('keys', userId);
    return queryKeys(ctx, bodyObject(request));
  });

  app.post('/_matrix/client/v3/keys/claim', { bodyLimit: BODY_LIMIT }, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('keys', userId);
    return claimKeys(ctx, bodyObject(request));
  });

  app.get<{ Querystring: { from?: unknown; to?: unknown } }>(
    '/_matrix/client/v3/keys/changes',
    async (request) => {
      const { userId } = await requireRequester(ctx, request);
      const after = positionOf(request.query.from, 'from');
      const upto = Math.min(positionOf(request.query.to, 'to'), ctx.streams.upto());
      return deviceLists.changedSince(ctx.db, userId, { after, upto });
    },
  );
}

interface Upload {
  readonly deviceKeys: JsonObject | undefined;
  readonly oneTimeKeys: readonly UploadedKey[];
  readonly fallbackKeys: readonly UploadedKey[];
}

function parseUpload(body: JsonObject, device: DeviceRef): Upload {
  const deviceKeys = optionalObject(body, 'device_keys');
  if (deviceKeys !== undefined) checkDeviceKeys(deviceKeys, device);
  const oneTimeKeys = parseKeys(own(body, 'one_time_keys'), 'one_time_keys');
  if (oneTimeKeys.length > MOST_ONE_TIME_KEYS) throw invalidParam('one_time_keys: too many');
  return { deviceKeys, oneTimeKeys, fallbackKeys: parseKeys(own(body, 'fallback_keys'), 'fallback_keys') };
}

/** Keys are named `algorithm:key_id`; their values are strings or signed objects. */
function parseKeys(keys: Json | undefined, field: string): UploadedKey[] {
  if (keys === undefined || keys === null) return [];
  if (!isObject(keys)) throw badJson(`${field} is not an object`);
  return Object.entries(keys).map(([name, key]) => {
    const colon = name.indexOf(':');
    if (colon < 1 || colon === name.length - 1 || name.length > 255) {
      throw invalidParam(`${field}: ${name} is not <algorithm>:<key_id>`);
    }
    if (typeof key !== 'string' && !isObject(key)) throw invalidParam(`${field}: ${name} is not a key`);
    return { algorithm: name.slice(0, colon), keyId: name.slice(colon + 1), key };
  });
}

async function storeUpload(ctx: ServerContext, device: DeviceRef, upload: Upload): Promise<void> {
  const { deviceKeys, oneTimeKeys, fallbackKeys } = upload;
  await ctx.db.write('keys.upload', async (tx) => {
    if (deviceKeys !== undefined) {
      const known = (await e2eeKeys.deviceKeys(tx, [device.userId])).get(device.userId)?.get(device.deviceId);
      await e2eeKeys.setDeviceKeys(tx, device, deviceKeys);
      const isNew = JSON.stringify(known) !== JSON.stringify(deviceKeys);
      if (isNew) await deviceLists.markChanged(tx, ctx.streams, device.userId);
    }
    const conflict = await e2eeKeys.addOneTimeKeys(tx, device, oneTimeKeys);
    if (conflict !== undefined)
      throw invalidParam(`One-time key ${conflict} already exists with another value`);
    await e2eeKeys.setFallbackKeys(tx, device, fallbackKeys);
    // The device hears of its new counts by its next sync.
    ctx.streams.allocate(tx, [`user:${device.userId}`]);
  });
}

async function queryKeys(ctx: ServerContext, body: JsonObject): Promise<JsonObject> {
  const wanted = objectAt(body, 'device_keys');
  if (wanted === undefined) throw badJson('device_keys is not an object');
  const users = Object.entries(wanted);
  if (users.length > MOST_USERS_PER_QUERY) throw invalidParam('device_keys: too many users');
  for (const [userId, deviceIds] of users) {
    if (!isUserId(userId)) throw invalidParam(`device_keys: ${userId} is not a user ID`);
    if (!isStringArray(deviceIds)) throw invalidParam(`device_keys: ${userId} has no list of device IDs`);
  }
  const local = users.map(([userId]) => userId).filter((userId) => isLocal(ctx, userId));
  const stored = await e2eeKeys.deviceKeys(ctx.db, local);
  const answer: Record<string, Record<string, JsonObject>> = {};
  for (const [userId, devices] of stored) {
    const ids = own(wanted, userId);
    const chosen = [...devices].filter(([id]) => !Array.isArray(ids) || ids.length === 0 || ids.includes(id));
    answer[userId] = Object.fromEntries(chosen);
  }
  return { device_keys: answer, failures: failuresOf(ctx, Object.keys(wanted)) };
}

async function claimKeys(ctx: ServerContext, body: JsonObject): Promise<JsonObject> {
  const wanted = objectAt(body, 'one_time_keys');
  if (wanted === undefined) throw badJson('one_time_keys is not an object');
  const claims: { device: DeviceRef; algorithm: string }[] = [];
  for (const [userId, devices] of Object.entries(wanted)) {
    if (!isUserId(userId) || !isObject(devices)) throw invalidParam(`one_time_keys: ${userId}`);
    for (const [deviceId, algorithm] of Object.entries(devices)) {
      if (typeof algorithm !== 'string') throw invalidParam(`one_time_keys: ${userId} ${deviceId}`);
      if (isLocal(ctx, userId)) claims.push({ device: { userId, deviceId }, algorithm });
    }
  }
  const claimed = await ctx.db.write('keys.claim', (tx) => takeKeys(tx, claims, ctx));
  const answer: Record<string, Record<string, JsonObject>> = {};
  for (const { device, name, key } of claimed) {
    answer[device.userId] = { ...answer[device.userId], [device.deviceId]: { [name]: key } };
  }
  return { one_time_keys: answer, failures: failuresOf(ctx, Object.keys(wanted)) };
}

async function takeKeys(
  tx: Parameters<typeof e2eeKeys.claim>[0],
  claims: readonly { device: DeviceRef; algorithm: string }[],
  ctx: ServerContext,
): Promise<{ device: DeviceRef; name: string; key: JsonObject | string }[]> {
  const taken = [];
  // One key at a time: two claims of one request for the same device must not be given the same key.
  for (const { device, algorithm } of claims) {
    const key = await e2eeKeys.claim(tx, device, algorithm);
    if (key === undefined) continue;
    taken.push({ device, name: `${algorithm}:${key.keyId}`, key: key.key });
    ctx.streams.allocate(tx, [`user:${device.userId}`]);
  }
  return taken;
}

function isLocal(ctx: ServerContext, userId: string): userId is UserId {
  return serverNameOf(userId) === ctx.serverName;
}

/** Servers whose users' keys were asked for and could not be had. */
function failuresOf(ctx: ServerContext, userIds: readonly string[]): JsonObject {
  const servers = new Set(userIds.map((userId) => serverNameOf(userId)));
  servers.delete(ctx.serverName);
  const failure = { errcode: 'M_UNRECOGNIZED', error: 'Device keys of other servers are not fetched' };
  return Object.fromEntries(
    [...servers].flatMap((server) => (server === undefined ? [] : [[server, failure]])),
  );
}

function positionOf(token: unknown, name: string): number {
  const position = typeof token === 'string' ? parseToken(token) : undefined;
  if (position === undefined) throw invalidParam(`${name} is not a token of this server`);
  return position;
}

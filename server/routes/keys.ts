/** https://spec.matrix.org/v1.19/client-server-api/#key-management-api */

import type { FastifyInstance } from 'fastify';
import type { FederationFailure } from '#federation/client.ts';
import { publicKeyOf } from '#federation/e2ee-keys/device-keys.ts';
import { ownAndBridgedKeys, signed } from '#federation/e2ee-keys/device-lists-own.ts';
import { remoteKeys } from '#federation/e2ee-keys/device-lists-remote.ts';
import {
  claimedJson,
  claimOwnKeys,
  claimRemoteKeys,
  MOST_CLAIMS,
  parseClaims,
} from '#federation/e2ee-keys/key-claims.ts';
import { keysJson } from '#federation/e2ee-keys/keys-answer.ts';
import { badJson, invalidParam } from '#federation/errors.ts';
import { belongsTo, isUserId, type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import { isStringArray, type JsonObject, objectAt } from '#keys/json.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as e2eeKeys from '#storage/e2ee-keys.ts';
import * as keySignatures from '#storage/key-signatures.ts';
import type { RemoteKeys } from '#storage/remote-device-lists.ts';
import { requiredDevice } from '../appservices/masquerade.ts';
import { requireRequester, requireStillSignedIn } from '../auth/requester.ts';
import { deviceKey } from '../auth/sessions.ts';
import { bodyObject, optionalInteger } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { parseUpload, storeUpload } from '../e2ee-keys/key-upload.ts';
import { parseToken } from '../sync/token.ts';

const BODY_LIMIT = 1024 * 1024;
const MOST_USERS_PER_QUERY = 5_000;
const DEFAULT_TIMEOUT_MS = 10_000;
const LONGEST_TIMEOUT_MS = 30_000;

/** Keys of devices: uploaded by our users, and those of all users to ask for. */
export function keysRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post('/_matrix/client/v3/keys/upload', { bodyLimit: BODY_LIMIT }, async (request) => {
    const requester = await requireRequester(ctx, request);
    const { userId } = requester;
    const deviceId = requiredDevice(requester);
    ctx.limits.take('keys', deviceKey(requester));
    const upload = parseUpload(bodyObject(request), { userId, deviceId });
    await ctx.db.write('keys.upload', async (tx) => {
      await requireStillSignedIn(tx, requester);
      await storeUpload(ctx, tx, { userId, deviceId }, upload);
    });
    const counts = await e2eeKeys.oneTimeKeyCounts(ctx.db, userId, deviceId);
    return { one_time_key_counts: { signed_curve25519: 0, ...Object.fromEntries(counts) } };
  });

  app.post('/_matrix/client/v3/keys/query', { bodyLimit: BODY_LIMIT }, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('keys', userId);
    return queryKeys(ctx, bodyObject(request), userId);
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
      ctx.limits.take('keys', userId);
      const after = positionOf(request.query.from, 'from');
      const upto = Math.min(positionOf(request.query.to, 'to'), ctx.streams.upto());
      return deviceLists.changedSince(ctx.db, userId, { after, upto });
    },
  );
}

async function queryKeys(ctx: ServerContext, body: JsonObject, viewer: UserId): Promise<JsonObject> {
  const wanted = objectAt(body, 'device_keys');
  if (wanted === undefined) throw badJson('device_keys is not an object');
  const ours = new Map<UserId, readonly string[]>();
  const others: UserId[] = [];
  for (const [userId, deviceIds] of Object.entries(wanted)) {
    if (!isUserId(userId)) throw invalidParam(`device_keys: ${userId} is not a user ID`);
    if (!isStringArray(deviceIds)) throw badJson(`device_keys: ${userId} has no list of device IDs`);
    if (belongsTo(userId, ctx.serverName)) ours.set(userId, deviceIds);
    else others.push(userId);
  }
  if (ours.size + others.length > MOST_USERS_PER_QUERY) throw invalidParam('device_keys: too many users');
  const [ownFound, remote] = await Promise.all([
    ownAndBridgedKeys(ctx, ours, viewer),
    remoteKeys(ctx, others, { timeoutMs: timeoutOf(body) }),
  ]);
  const remoteFound = await withSignaturesOf(ctx, viewer, remote.keys);
  return {
    ...keysJson(new Map<UserId, RemoteKeys>([...ownFound, ...remoteFound]), wanted),
    failures: failuresJson(remote.failures),
  };
}

/** "signatures made by the user's own [...] user-signing keys" are known here, and to nobody else. */
async function withSignaturesOf(
  ctx: ServerContext,
  viewer: UserId,
  keys: ReadonlyMap<UserId, RemoteKeys>,
): Promise<[UserId, RemoteKeys][]> {
  const given = await keySignatures.onKeysOf(ctx.db, [...keys.keys()], viewer);
  const byTarget = Map.groupBy(given, ({ target }) => `${target.userId} ${target.id}`);
  return [...keys].map(([userId, ofUser]) => {
    const { masterKey } = ofUser;
    if (masterKey === undefined) return [userId, ofUser];
    const signatures = byTarget.get(`${userId} ${publicKeyOf(masterKey)}`);
    return [userId, { ...ofUser, masterKey: signed(masterKey, signatures) }];
  });
}

async function claimKeys(ctx: ServerContext, body: JsonObject): Promise<JsonObject> {
  const wanted = objectAt(body, 'one_time_keys');
  if (wanted === undefined) throw badJson('one_time_keys is not an object');
  const parsed = parseClaims(wanted, isUserId);
  if ('fault' in parsed) throw invalidParam(`one_time_keys: ${parsed.fault}`);
  if (parsed.claims.length > MOST_CLAIMS) throw invalidParam('one_time_keys: too many');
  const byServer = Map.groupBy(parsed.claims, ({ userId }) => serverNameOf(userId) ?? '');
  const ours = byServer.get(ctx.serverName) ?? [];
  byServer.delete(ctx.serverName);
  const [own, remote] = await Promise.all([
    claimOwnKeys(ctx, ours),
    claimRemoteKeys(ctx, byServer, { timeoutMs: timeoutOf(body) }),
  ]);
  return {
    one_time_keys: claimedJson([...own, ...remote.claimed]),
    failures: failuresJson(remote.failures),
  };
}

/** "The time (in milliseconds) to wait when downloading keys from remote servers. 10 seconds is the recommended default." */
function timeoutOf(body: JsonObject): number {
  const timeoutMs = optionalInteger(body, 'timeout') ?? DEFAULT_TIMEOUT_MS;
  return Math.min(Math.max(timeoutMs, 0), LONGEST_TIMEOUT_MS);
}

/** "If any remote homeservers could not be reached, they are recorded here." */
function failuresJson(failures: ReadonlyMap<ServerName, FederationFailure>): JsonObject {
  const entries = [...failures].map(([server, { errcode = 'M_UNKNOWN', reason, status }]) => {
    const error = `The server could not be asked: ${reason}`;
    return [server, { errcode, error, ...(status !== undefined && { status }) }] as const;
  });
  return Object.fromEntries(entries);
}

function positionOf(token: unknown, name: string): number {
  const position = typeof token === 'string' ? parseToken(token) : undefined;
  if (position === undefined) throw invalidParam(`${name} is not a token of this server`);
  return position;
}

/** https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups */

import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  badJson,
  invalidParam,
  type MatrixError,
  missingParam,
  notFound,
  tooLarge,
  wrongRoomKeysVersion,
} from '#federation/errors.ts';
import { MAX_ID_BYTES, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import * as backedUpKeys from '#storage/backed-up-keys.ts';
import type { KeyBackup } from '#storage/key-backups.ts';
import * as keyBackups from '#storage/key-backups.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { backedUpKeysText, keyText, parseBackedUpKeys } from '../e2ee-keys/backed-up-keys.ts';
import {
  createBackup,
  deleteBackup,
  deleteKeys,
  removeDeletedBackups,
  type StoreOutcome,
  storeKeys,
} from '../e2ee-keys/key-backup.ts';
import { type Query, requiredQuery } from '../query.ts';

type VersionRequest = FastifyRequest<{ Params: { version: string } }>;
/** Of one key, the keys of a room, or all keys. */
type KeysRequest = FastifyRequest<{
  Params: { readonly roomId?: string; readonly sessionId?: string };
  Querystring: Query;
}>;

const BODY_LIMIT = 5 * 1024 * 1024;
const LARGEST_AUTH_DATA = 64 * 1024;
const VERSION = /^[1-9]\d{0,14}$/;
const VERSIONS = '/_matrix/client/v3/room_keys/version';
const KEYS = '/_matrix/client/v3/room_keys/keys';

/** Backups of the keys of rooms, which only clients can read. */
export function keyBackupRoutes(app: FastifyInstance, ctx: ServerContext): void {
  versionsRoutes(app, ctx);
  for (const path of [KEYS, `${KEYS}/:roomId`, `${KEYS}/:roomId/:sessionId`]) keysRoutes(app, ctx, path);
}

function versionsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post(VERSIONS, async (request) => {
    const userId = await requireOwner(ctx, request);
    const version = await createBackup(ctx.db, userId, parseBackup(bodyObject(request)));
    if (version === undefined) throw invalidParam('You have too many backups: delete one');
    return { version: String(version) };
  });

  app.get(VERSIONS, async (request) => {
    const backup = await keyBackups.newest(ctx.db, await requireOwner(ctx, request));
    if (backup === undefined) throw notFound('No current backup version');
    return backupJson(backup);
  });

  app.get(`${VERSIONS}/:version`, async (request: VersionRequest) => {
    const userId = await requireOwner(ctx, request);
    return backupJson(await requireBackup(ctx, userId, request.params.version));
  });

  app.put(`${VERSIONS}/:version`, async (request: VersionRequest) => {
    const userId = await requireOwner(ctx, request);
    const body = bodyObject(request);
    const { algorithm, authData } = parseBackup(body);
    const { version } = request.params;
    if ((optionalString(body, 'version') ?? version) !== version)
      throw invalidParam('Version does not match');
    const backup = await requireBackup(ctx, userId, version);
    if (algorithm !== backup.algorithm) throw invalidParam('Algorithm does not match');
    const isSet = await ctx.db.write('keyBackups.setAuthData', (tx) =>
      keyBackups.setAuthData(tx, backup.backupNid, authData),
    );
    if (!isSet) throw unknownVersion();
    return {};
  });

  app.delete(`${VERSIONS}/:version`, async (request: VersionRequest) => {
    const userId = await requireOwner(ctx, request);
    const isKnown = await deleteBackup(ctx.db, userId, versionOf(request.params.version));
    if (!isKnown) throw unknownVersion();
    ctx.background.run(
      removeDeletedBackups(ctx.db, ctx.shutdown),
      'the keys of a deleted backup could not be removed',
    );
    return {};
  });
}

function keysRoutes(app: FastifyInstance, ctx: ServerContext, path: string): void {
  app.put(path, { bodyLimit: BODY_LIMIT }, async (request: KeysRequest) => {
    const userId = await requireOwner(ctx, request);
    const version = versionOf(requiredQuery(request.query, 'version'));
    const keys = parseBackedUpKeys(bodyObject(request), request.params);
    return storedAnswer(await storeKeys(ctx.db, userId, { version, keys }));
  });

  app.get(path, async (request: KeysRequest, reply) => {
    const userId = await requireOwner(ctx, request);
    const { backupNid } = await requireBackup(ctx, userId, requiredQuery(request.query, 'version'));
    return sendKeys(ctx, reply, { ...request.params, backupNid });
  });

  app.delete(path, async (request: KeysRequest) => {
    const userId = await requireOwner(ctx, request);
    const version = versionOf(requiredQuery(request.query, 'version'));
    const backup = await deleteKeys(ctx.db, userId, { ...request.params, version });
    if (backup === undefined) throw unknownVersion();
    return countJson(backup);
  });
}

async function requireOwner(ctx: ServerContext, request: FastifyRequest): Promise<UserId> {
  const { userId } = await requireRequester(ctx, request);
  ctx.limits.take('key_backup', userId);
  return userId;
}

function parseBackup(body: JsonObject): Pick<KeyBackup, 'algorithm' | 'authData'> {
  const algorithm = requiredString(body, 'algorithm');
  const authData = optionalObject(body, 'auth_data');
  if (authData === undefined) throw missingParam('auth_data');
  if (Buffer.byteLength(algorithm) > MAX_ID_BYTES || algorithm.includes('\0')) {
    throw badJson('algorithm is not the name of an algorithm');
  }
  if (Buffer.byteLength(JSON.stringify(authData)) > LARGEST_AUTH_DATA)
    throw tooLarge('auth_data is over 64 KiB');
  return { algorithm, authData };
}

/** What is none of our versions is the version of no backup: 0. */
function versionOf(text: string): number {
  return VERSION.test(text) ? Number(text) : 0;
}

async function requireBackup(ctx: ServerContext, userId: UserId, version: string): Promise<KeyBackup> {
  const backup = await keyBackups.of(ctx.db, userId, versionOf(version));
  if (backup === undefined) throw unknownVersion();
  return backup;
}

async function sendKeys(
  ctx: ServerContext,
  reply: FastifyReply,
  keysOf: backedUpKeys.KeysOf,
): Promise<FastifyReply> {
  reply.type('application/json');
  if (keysOf.sessionId === undefined) return reply.send(Readable.from(backedUpKeysText(ctx.db, keysOf)));
  const key = await backedUpKeys.ofSession(ctx.db, keysOf);
  if (key === undefined) throw notFound('Key not found');
  return reply.send(keyText(key));
}

function storedAnswer(outcome: StoreOutcome): JsonObject {
  switch (outcome.kind) {
    case 'stored':
      return countJson(outcome.backup);
    case 'wrong_version':
      throw wrongRoomKeysVersion(String(outcome.current));
    case 'not_found':
      throw unknownVersion();
    case 'full':
      throw tooLarge('You have backed up too many keys');
  }
}

function backupJson(backup: KeyBackup): JsonObject {
  const { algorithm, authData, version } = backup;
  return { algorithm, auth_data: authData, version: String(version), ...countJson(backup) };
}

function countJson({ count, etag }: KeyBackup): JsonObject {
  return { count, etag: String(etag) };
}

function unknownVersion(): MatrixError {
  return notFound('Unknown backup version');
}

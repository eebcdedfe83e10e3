import type { FastifyInstance } from 'fastify';
import { belongsTo, isUserId, type UserId } from '#keys/ids.ts';
import { isObject, isStringArray, type JsonObject, objectAt } from '#keys/json.ts';
import { authenticateOrigin } from '../auth.ts';
import { ownAndBridgedKeys, serverViewer } from '../e2ee-keys/device-lists-own.ts';
import type { KeysContext } from '../e2ee-keys/key-claims.ts';
import { keysJson } from '../e2ee-keys/keys-answer.ts';
import { badJson, invalidParam } from '../errors.ts';

const MOST_USERS = 5_000;

/** `POST user/keys/query`: https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption */
export function userKeysQueryRoutes(app: FastifyInstance, ctx: KeysContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.post('/_matrix/federation/v1/user/keys/query', { preHandler }, async ({ origin, body }) => {
    ctx.limits.take('server_keys', origin);
    const wanted = isObject(body) ? objectAt(body, 'device_keys') : undefined;
    if (wanted === undefined) throw badJson('device_keys is not an object');
    const asked = new Map(Object.entries(wanted));
    if (asked.size > MOST_USERS) throw invalidParam('device_keys: too many users');
    const ours = new Map<UserId, readonly string[]>();
    for (const [userId, deviceIds] of asked) {
      if (!isStringArray(deviceIds)) throw badJson(`device_keys: ${userId} has no list of device IDs`);
      // "Requested users must be local to the receiving homeserver": of others we say nothing.
      if (isUserId(userId) && belongsTo(userId, ctx.serverName)) ours.set(userId, deviceIds);
    }
    const keys = await ownAndBridgedKeys(ctx, ours, serverViewer(ctx));
    const answer: JsonObject = keysJson(keys, wanted);
    return answer;
  });
}

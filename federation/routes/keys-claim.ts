import type { FastifyInstance } from 'fastify';
import { belongsTo, isUserId, type UserId } from '#keys/ids.ts';
import { isObject, objectAt } from '#keys/json.ts';
import { authenticateOrigin } from '../auth.ts';
import {
  claimedJson,
  claimOwnKeys,
  type KeysContext,
  MOST_CLAIMS,
  parseClaims,
} from '../e2ee-keys/key-claims.ts';
import { badJson, invalidParam } from '../errors.ts';

/** `POST user/keys/claim`: https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption */
export function keysClaimRoutes(app: FastifyInstance, ctx: KeysContext): void {
  const preHandler = authenticateOrigin(ctx);
  const isOurs = (userId: string): userId is UserId => isUserId(userId) && belongsTo(userId, ctx.serverName);

  app.post('/_matrix/federation/v1/user/keys/claim', { preHandler }, async ({ origin, body }) => {
    ctx.limits.take('server_keys', origin);
    const wanted = isObject(body) ? objectAt(body, 'one_time_keys') : undefined;
    if (wanted === undefined) throw badJson('one_time_keys is not an object');
    // "Requested users must be local to the receiving homeserver."
    const parsed = parseClaims(wanted, isOurs);
    if ('fault' in parsed) throw invalidParam(`one_time_keys: ${parsed.fault}`);
    if (parsed.claims.length > MOST_CLAIMS) throw invalidParam('one_time_keys: too many');
    return { one_time_keys: claimedJson(await claimOwnKeys(ctx, parsed.claims)) };
  });
}

import type { FastifyInstance } from 'fastify';
import { forbidden } from '#federation/errors.ts';
import { hmacSha1Base64 } from '#keys/tokens.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';

/**
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver
 *
 * The credentials are those of the "REST API For Access To TURN Services", which coturn and eturnal take: the name says
 * until when it is good, the password proves that this server has made it.
 */
export function voipRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/client/v3/voip/turnServer', async (request) => {
    const { userId, isGuest } = await requireRequester(ctx, request);
    if (isGuest) throw forbidden('Guests make no calls');
    const { turnUris, turnSecret, turnLifetime } = ctx.config;
    // "The homeserver MAY provide a TURN server": without one clients take an answer without addresses for that.
    if (turnSecret === undefined) return {};
    const ttl = Math.floor(turnLifetime / 1_000);
    const username = `${Math.floor(ctx.clock.now() / 1_000) + ttl}:${userId}`;
    return { username, password: hmacSha1Base64(turnSecret, username), uris: turnUris, ttl };
  });
}

import type { FastifyInstance } from 'fastify';
import { belongsTo, isUserId } from '#keys/ids.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { ownDeviceList } from '../e2ee-keys/device-lists-own.ts';
import { invalidParam } from '../errors.ts';

/** `GET user/devices/{userId}`: https://spec.matrix.org/v1.19/server-server-api/#device-management */
export function userDevicesRoutes(app: FastifyInstance, ctx: FederationContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.get<{ Params: { userId: string } }>(
    '/_matrix/federation/v1/user/devices/:userId',
    { preHandler },
    async ({ params: { userId } }) => {
      // "Must be a user local to the receiving homeserver."
      if (!isUserId(userId) || !belongsTo(userId, ctx.serverName))
        throw invalidParam('Not a user of this server');
      return ownDeviceList(ctx, userId);
    },
  );
}

/** https://spec.matrix.org/v1.19/application-service-api/#published-room-directories */

import type { FastifyInstance } from 'fastify';
import { forbidden, invalidParam, missingParam, notFound } from '#federation/errors.ts';
import { getRoom } from '#rooms/room.ts';
import * as roomDirectory from '#storage/room-directory.ts';
import { requireService } from '../appservices/masquerade.ts';
import { networkOf } from '../appservices/networks.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { roomIdParam } from '../room-params.ts';

interface Listing {
  Params: { networkId: string; roomId: string };
}

const LONGEST_NETWORK_ID = 255;

/** The rooms that a service publishes in the directory of a network that it bridges. */
export function appserviceRoomDirectoryRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.put<Listing>(
    '/_matrix/client/v3/directory/list/appservice/:networkId/:roomId',
    async (request): Promise<Record<string, never>> => {
      const { id, policy } = requireService(await requireRequester(ctx, request));
      const { networkId } = request.params;
      if (networkId === '' || networkId.length > LONGEST_NETWORK_ID || networkId.includes('\0')) {
        throw invalidParam('The network ID is empty or too long');
      }
      const visibility = optionalString(bodyObject(request), 'visibility');
      if (visibility === undefined) throw missingParam('visibility');
      if (visibility !== 'public' && visibility !== 'private') {
        throw invalidParam('visibility is neither public nor private');
      }
      const room = await getRoom(ctx, roomIdParam(request.params.roomId));
      if (room === undefined) throw notFound('Room not found');
      const isPublic = visibility === 'public';
      if (isPublic && !policy.publicRooms)
        throw forbidden('The policy of this service allows no public rooms');
      const network = networkOf(id, networkId);
      await ctx.db.write('roomDirectory.setNetwork', (tx) =>
        roomDirectory.setInNetwork(tx, { network, roomNid: room.roomNid, isPublished: isPublic }),
      );
      return {};
    },
  );
}

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade */

import type { FastifyInstance } from 'fastify';
import { forbidden, invalidParam, invalidRoomState, unsupportedRoomVersion } from '#federation/errors.ts';
import { refusalOfUpgrade } from '#federation/partners/preflight.ts';
import { policyRefusal } from '#federation/policy/not-signed.ts';
import { isUserId } from '#keys/ids.ts';
import { upgradeRoom } from '#rooms/upgrade/upgrade-room.ts';
import { refuseReplacement } from '../appservices/restraint.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, requiredString, stringList } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { joinedRoom } from '../room-params.ts';
import { refuseUnstable } from '../rooms/unstable-versions.ts';

const MOST_CREATORS = 100;

/** Replacing of a room by one of another version. */
export function roomUpgradesRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { roomId: string } }>('/_matrix/client/v3/rooms/:roomId/upgrade', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('room_creation', userId);
    const body = bodyObject(request);
    const newVersion = requiredString(body, 'new_version');
    refuseUnstable(ctx, newVersion);
    const additionalCreators = stringList(body, 'additional_creators');
    if (!additionalCreators.every(isUserId)) {
      throw invalidParam('additional_creators is not a list of user IDs');
    }
    if (additionalCreators.length > MOST_CREATORS) {
      throw invalidParam(`additional_creators names more than ${MOST_CREATORS} users`);
    }
    const room = await joinedRoom(ctx, userId, request.params.roomId);
    const { roomId } = room;
    await refuseReplacement(ctx, userId, room);
    const refusal = await refusalOfUpgrade(ctx, roomId, newVersion);
    if (refusal !== undefined) throw unsupportedRoomVersion(newVersion, refusal);
    const upgraded = await upgradeRoom(ctx, { roomId, sender: userId, newVersion, additionalCreators });
    switch (upgraded.kind) {
      case 'upgraded':
        await ctx.circles.follow(roomId, upgraded.roomId);
        await ctx.groupRooms.follow(roomId, upgraded.roomId);
        return { replacement_room: upgraded.roomId };
      case 'unsupported_version':
        throw unsupportedRoomVersion(newVersion);
      case 'forbidden':
        throw forbidden(upgraded.reason);
      case 'not_signed':
        throw policyRefusal(upgraded.unsigned);
      case 'invalid':
        throw invalidRoomState(upgraded.reason);
    }
  });
}

/** https://spec.matrix.org/v1.19/client-server-api/#presence */

import type { FastifyInstance } from 'fastify';
import { badJson, forbidden, invalidParam } from '#federation/errors.ts';
import { isUserId } from '#keys/ids.ts';
import * as memberships from '#storage/memberships.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { presenceContent } from '../profiles/presence-content.ts';

type UserParams = { Params: { userId: string } };

const PATH = '/_matrix/client/v3/presence/:userId/status';
const LONGEST_STATUS = 1_000;

/** How a user is: set by themselves, read by those who share a room with them. */
export function presenceRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<UserParams>(PATH, async (request) => {
    const requester = await requireRequester(ctx, request);
    const { userId } = request.params;
    if (!isUserId(userId)) throw invalidParam('Not a user ID');
    // Alike for a user who does not exist and for one who is a stranger.
    const mayRead =
      userId === requester.userId || (await memberships.shareARoom(ctx.db, requester.userId, userId));
    if (!mayRead) throw forbidden('You are not allowed to see their presence');
    return presenceContent(ctx.presence.of(userId), ctx.clock.now());
  });

  app.put<UserParams>(PATH, async (request) => {
    const { userId, deviceId } = await requireRequester(ctx, request);
    if (request.params.userId !== userId) throw forbidden('You can set your own presence only');
    ctx.limits.take('ephemeral', userId);
    const body = bodyObject(request);
    const state = requiredString(body, 'presence');
    if (state !== 'online' && state !== 'unavailable' && state !== 'offline') {
      throw badJson('presence must be online, unavailable or offline');
    }
    const statusMsg = optionalString(body, 'status_msg') || undefined;
    if (statusMsg !== undefined && statusMsg.length > LONGEST_STATUS) {
      throw invalidParam(`status_msg is longer than ${LONGEST_STATUS} characters`);
    }
    await ctx.presence.set({ userId, deviceId }, { state, statusMsg });
    return {};
  });
}

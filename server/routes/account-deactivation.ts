import type { FastifyInstance } from 'fastify';
import { deactivate } from '../auth/accounts.ts';
import { confirmByPassword } from '../auth/confirm-password.ts';
import { leaveRooms } from '../auth/leave-rooms.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalBoolean } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { unbindAll } from '../identity/bindings.ts';

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate */
export function accountDeactivationRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post('/_matrix/client/v3/account/deactivate', async (request) => {
    const requester = await requireRequester(ctx, request);
    const body = bodyObject(request);
    const erase = optionalBoolean(body, 'erase') ?? false;
    const action = 'deactivate';
    const session = await confirmByPassword(ctx, body, { requester, action, address: request.ip });
    await deactivate(ctx, requester.userId, { erase });
    ctx.interactiveAuth.finish(session);
    const result = await unbindAll(ctx, requester.userId);
    ctx.background.run(leaveRooms(ctx, requester.userId), 'a deactivated user could not leave all rooms');
    return { id_server_unbind_result: result };
  });
}

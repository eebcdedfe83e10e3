/** Notices to users, by the paths that administrators' tools know. */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { badJson, invalidParam, missingParam } from '#federation/errors.ts';
import { isUserId, serverNameOf } from '#keys/ids.ts';
import { requireAdmin } from '../auth/requester.ts';
import { bodyObject, optionalObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { sendNotice } from '../notices.ts';

const PATH = '/_synapse/admin/v1/send_server_notice';

/** Sending of notices by administrators. */
export function serverNoticesRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const send = async (request: FastifyRequest, txnId?: string) => {
    const { userId: admin, deviceId } = await requireAdmin(ctx, request);
    ctx.limits.take('moderation', admin);
    const body = bodyObject(request);
    const userId = requiredString(body, 'user_id');
    if (!isUserId(userId)) throw invalidParam('user_id is not a user ID');
    if (serverNameOf(userId) !== ctx.serverName)
      throw invalidParam('Server notices can only be sent to local users');
    const type = optionalString(body, 'type');
    if (type === '') throw badJson('type is empty');
    const stateKey = optionalString(body, 'state_key');
    const content = optionalObject(body, 'content');
    if (content === undefined) throw missingParam('content');
    const txn = txnId === undefined ? {} : { txn: { deviceId, txnId } };
    return sendNotice(ctx, userId, { content, type, stateKey, ...txn });
  };
  app.post(PATH, (request) => send(request));
  app.put<{ Params: { txnId: string } }>(`${PATH}/:txnId`, (request) => send(request, request.params.txnId));
}

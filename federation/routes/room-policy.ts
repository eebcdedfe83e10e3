import type { FastifyInstance } from 'fastify';
import type { ServerName } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import { eventFrom } from '#rooms/event.ts';
import { checkFormat } from '#rooms/format.ts';
import { needsPolicy, policyOf } from '#rooms/policy.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { badJson, MatrixError, notFound, notJson, notPolicyServer } from '../errors.ts';
import { pduOf } from '../handshakes/handed-in.ts';
import { residentRoom } from '../room-params.ts';

export interface RoomPolicyContext extends FederationContext {
  /** `take` throws where a server asks too often. */
  readonly limits: { take(kind: 'policy_sign', key: ServerName): void };
}

/**
 * `POST /_matrix/policy/v1/sign`: judges an event of a room that has made this server its policy server.
 * https://spec.matrix.org/v1.19/server-server-api/#post_matrixpolicyv1sign
 */
export function roomPolicyRoutes(app: FastifyInstance, ctx: RoomPolicyContext): void {
  const preHandler = authenticateOrigin(ctx);
  app.post<{ Body: unknown }>('/_matrix/policy/v1/sign', { preHandler }, async (request) => {
    const { ownPolicy } = ctx;
    if (ownPolicy === undefined) throw notPolicyServer();
    const { origin, rawBody } = request as typeof request & { rawBody?: Buffer };
    ctx.limits.take('policy_sign', origin);
    const event = await eventOf(ctx, origin, rawBody?.toString() ?? '');
    const answer = await ownPolicy.judge(event);
    if (answer.kind === 'signed') return ownPolicy.answer(answer.signature);
    if (answer.kind === 'unanswered') throw notFound('No answer');
    const { status, body } = answer;
    throw new MatrixError(status, stringAt(body, 'errcode') ?? 'M_FORBIDDEN', stringAt(body, 'error') ?? '');
  });
}

/** The event, of a room that uses this server; throws for any other. */
async function eventOf(ctx: FederationContext, origin: ServerName, text: string) {
  const named = roomIdIn(text);
  // Rooms of version 12 have their id from their first event, which nobody is asked for.
  if (named === undefined) throw badJson('room_id is missing');
  const room = await residentRoom(ctx, origin, named);
  const policy = await policyOf(ctx, room);
  if (policy?.server !== ctx.serverName) throw notFound('The room has another policy server, or none');
  const pdu = pduOf(text, room.rules);
  const reason = checkFormat(pdu, room.rules);
  if (reason !== undefined) throw badJson(reason);
  const event = eventFrom(pdu, room.rules);
  // "This endpoint MUST NOT be called for events which have a type of `m.room.policy` and an empty string `state_key`."
  if (!needsPolicy(event)) throw badJson('The policy of a room is not signed');
  return event;
}

function roomIdIn(text: string): string | undefined {
  try {
    const body: unknown = JSON.parse(text);
    return body !== null && typeof body === 'object' && 'room_id' in body && typeof body.room_id === 'string'
      ? body.room_id
      : undefined;
  } catch {
    throw notJson();
  }
}

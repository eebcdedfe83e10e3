import type { FastifyRequest } from 'fastify';
import type { UserId } from '#keys/ids.ts';
import { changeMembership } from '#rooms/membership-local.ts';
import { bodyObject, optionalString, requiredString } from './body.ts';
import type { ServerContext } from './context.ts';
import { joinedRoom, userIdParam } from './room-params.ts';
import { sentAnswer } from './sent.ts';

/** Kicks, bans or unbans the user whom the request's body names, by the authorisation rules of the room. */
export async function moderate(
  ctx: ServerContext,
  sender: UserId,
  change: {
    readonly request: FastifyRequest<{ Params: { roomId: string } }>;
    readonly membership: 'kick' | 'ban' | 'unban';
  },
): Promise<Record<string, never>> {
  ctx.limits.take('moderation', sender);
  const body = bodyObject(change.request);
  const target = userIdParam(requiredString(body, 'user_id'));
  const reason = optionalString(body, 'reason');
  const { roomId } = await joinedRoom(ctx, sender, change.request.params.roomId);
  const { membership } = change;
  const content = reason === undefined ? {} : { reason };
  sentAnswer(await changeMembership(ctx, { roomId, sender, target, membership, content }));
  return {};
}

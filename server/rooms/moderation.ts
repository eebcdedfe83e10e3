import type { FastifyRequest } from 'fastify';
import { forbidden } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { changeMembership } from '#rooms/membership-local.ts';
import * as memberships from '#storage/memberships.ts';
import { bodyObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { joinedRoom, userIdParam } from '../room-params.ts';
import { sentAnswer } from '../sending/sent.ts';

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
  const { roomId, roomNid } = await joinedRoom(ctx, sender, change.request.params.roomId);
  const { membership } = change;
  if (membership === 'kick') await requirePresent(ctx, roomNid, target);
  const content = reason === undefined ? {} : { reason };
  sentAnswer(await changeMembership(ctx, { roomId, sender, target, membership, content }));
  return {};
}

/** "The kickee is not currently in the room": without an invitation or a knock to take back, too. */
async function requirePresent(ctx: ServerContext, roomNid: number, target: UserId): Promise<void> {
  const member = await memberships.of(ctx.db, roomNid, target);
  const isGone = member === undefined || member.membership === 'leave' || member.membership === 'ban';
  if (isGone) throw forbidden('The user is not in the room');
}

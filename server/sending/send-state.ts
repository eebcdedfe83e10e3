/** Setting of a room's state for a client: what may need another server, or somebody of ours to authorise it, goes its own way. */

import { notFound } from '#federation/errors.ts';
import { type EventId, isUserId, type UserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import { loadNid } from '#rooms/load.ts';
import { getRoom, isInRoom } from '#rooms/room.ts';
import type { Draft } from '#rooms/send.ts';
import * as memberships from '#storage/memberships.ts';
import { refusePublicState } from '../appservices/restraint.ts';
import type { ServerContext } from '../context.ts';
import { refuseToDecline } from '../notices.ts';
import { joinedRoom } from '../room-params.ts';
import { inviteUser, joinRoom, leaveRoom } from '../rooms/membership.ts';
import { checkCanonicalAlias } from './canonical-alias.ts';
import { sendForClient } from './sent.ts';

/** Sets one key of the state; throws the client's error where that is refused. */
export async function sendStateForClient(
  ctx: ServerContext,
  draft: Draft & { readonly stateKey: string },
): Promise<{ event_id: EventId }> {
  const { roomId, sender, type, stateKey, content, originServerTs } = draft;
  if (type === 'm.room.canonical_alias' && stateKey === '') {
    await checkCanonicalAlias(ctx, await joinedRoom(ctx, sender, roomId), content);
  }
  refusePublicState(ctx, sender, draft);
  if (type !== 'm.room.member' || !isUserId(stateKey)) return sendForClient(ctx, draft);
  const membership = stringAt(content, 'membership');
  if (membership === 'invite') {
    ctx.limits.take('invite', sender);
    ctx.limits.take('invite_user', stateKey, sender);
    const { roomNid } = await joinedRoom(ctx, sender, roomId);
    await inviteUser(ctx, sender, { roomId, target: stateKey, content, originServerTs });
    return memberEvent(ctx, roomNid, stateKey);
  }
  if (membership === 'join' && stateKey === sender) {
    ctx.limits.take('join', sender);
    await joinRoom(ctx, sender, { room: roomId, via: [], content, originServerTs });
    return memberEvent(ctx, (await joinedRoom(ctx, sender, roomId)).roomNid, stateKey);
  }
  // To decline an invitation, or to take back a knock, in a room that only others are in.
  if (membership === 'leave' && stateKey === sender) {
    await refuseToDecline(ctx, sender, roomId);
    const room = await getRoom(ctx, roomId);
    if (room !== undefined && !(await isInRoom(ctx, room)) && (await isAsked(ctx, room.roomNid, sender))) {
      await leaveRoom(ctx, sender, { roomId, reason: stringAt(content, 'reason') });
      return memberEvent(ctx, room.roomNid, stateKey);
    }
  }
  return sendForClient(ctx, draft);
}

/** True for one who is invited to a room, or asks to be let in. */
async function isAsked(ctx: ServerContext, roomNid: number, userId: UserId): Promise<boolean> {
  const member = await memberships.of(ctx.db, roomNid, userId);
  return member?.membership === 'invite' || member?.membership === 'knock';
}

async function memberEvent(
  ctx: ServerContext,
  roomNid: number,
  userId: UserId,
): Promise<{ event_id: EventId }> {
  const member = await memberships.of(ctx.db, roomNid, userId);
  const stored = member && (await loadNid(ctx, member.eventNid));
  if (stored === undefined) throw notFound('The membership is gone already');
  return { event_id: stored.event.eventId };
}

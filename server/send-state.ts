/** Setting of a room's state for a client: what may need another server, or somebody of ours to authorise it, goes its own way. */

import { notFound } from '#federation/errors.ts';
import { type EventId, isUserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import type { Draft } from '#rooms/send.ts';
import { currentStateEvent } from '#rooms/state.ts';
import { checkCanonicalAlias } from './canonical-alias.ts';
import type { ServerContext } from './context.ts';
import { inviteUser, joinRoom } from './membership.ts';
import { joinedRoom } from './room-params.ts';
import { sendForClient } from './sent.ts';

/** Sets one key of the state; throws the client's error where that is refused. */
export async function sendStateForClient(
  ctx: ServerContext,
  draft: Draft & { readonly stateKey: string },
): Promise<{ event_id: EventId }> {
  const { roomId, sender, type, stateKey, content } = draft;
  if (type === 'm.room.canonical_alias' && stateKey === '') {
    await checkCanonicalAlias(ctx, await joinedRoom(ctx, sender, roomId), content);
  }
  if (type !== 'm.room.member' || !isUserId(stateKey)) return sendForClient(ctx, draft);
  const membership = stringAt(content, 'membership');
  if (membership === 'invite') {
    ctx.limits.take('invite', sender);
    ctx.limits.take('invite_user', stateKey);
    const { roomNid } = await joinedRoom(ctx, sender, roomId);
    await inviteUser(ctx, sender, { roomId, target: stateKey, content });
    return memberEvent(ctx, roomNid, stateKey);
  }
  if (membership === 'join' && stateKey === sender) {
    ctx.limits.take('join', sender);
    await joinRoom(ctx, sender, { room: roomId, via: [], content });
    return memberEvent(ctx, (await joinedRoom(ctx, sender, roomId)).roomNid, stateKey);
  }
  return sendForClient(ctx, draft);
}

async function memberEvent(
  ctx: ServerContext,
  roomNid: number,
  userId: string,
): Promise<{ event_id: EventId }> {
  const stored = await currentStateEvent(ctx, roomNid, 'm.room.member', userId);
  if (stored === undefined) throw notFound('The membership is gone already');
  return { event_id: stored.event.eventId };
}

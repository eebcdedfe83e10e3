/**
 * Invitations to an e-mail address or the like, once it is known whose it is.
 * https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
 *
 * The identity server tells the invited user's server (`3pid/onbind`), which sends the invitation itself where it is
 * in the room, and else asks the inviting server to (`exchange_third_party_invite`). Who invites has said so before, by
 * an `m.room.third_party_invite` with the keys by which `signed` is told from a forgery.
 */

import { belongsTo, type RoomId, serverNameOf, type UserId } from '#keys/ids.ts';
import { type JsonObject, objectAt, stringAt } from '#keys/json.ts';
import { thirdPartyKeyOf } from '#rooms/auth/third-party-invite.ts';
import { type Event, membershipOf } from '#rooms/event.ts';
import { askedToSign } from '#rooms/policy.ts';
import { receive } from '#rooms/receive.ts';
import type { Room } from '#rooms/room.ts';
import { currentStateEvent } from '#rooms/state.ts';
import { roomWeAreIn } from '../access.ts';
import type { FederationContext } from '../context.ts';
import { blocksInvites } from '../invite-permission.ts';
import { notSigned } from '../policy/not-signed.ts';
import { isKeyValid } from '../remote/identity.ts';
import { exchangeThirdPartyInvite } from '../remote/memberships.ts';
import { buildInvite, type InviteResult, inviteRemotely } from './invite.ts';
import { handshakeFailure } from './template.ts';

export interface ThirdPartyInvite {
  readonly roomId: RoomId;
  /** Who sent the `m.room.third_party_invite`. */
  readonly sender: UserId;
  /** Whose the third-party identifier is. */
  readonly target: UserId;
  /** What the identity server says of it: `mxid`, `token`, `signatures`. */
  readonly signed: JsonObject;
  /** What the invited user is called where the room does not say it. */
  readonly displayName?: string | undefined;
}

const DEADLINE_MS = 30_000;

/** Has one of our users invited to a room, by ourselves or by the server that invites. */
export async function exchangeInvite(
  ctx: FederationContext,
  invite: ThirdPartyInvite,
): Promise<InviteResult> {
  const { roomId, sender, target, signed, displayName = '' } = invite;
  const room = await roomWeAreIn(ctx, roomId);
  if (room !== undefined) return issueInvite(ctx, room, invite);
  const server = serverNameOf(sender);
  if (server === undefined || server === ctx.serverName) {
    return { kind: 'not_found', reason: 'Nobody of the room is known' };
  }
  const event = {
    ...{ type: 'm.room.member', room_id: roomId, sender, state_key: target },
    content: { membership: 'invite', third_party_invite: { display_name: displayName, signed } },
  };
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const answer = await exchangeThirdPartyInvite(ctx, server, { roomId, event }, { signal });
  return answer.kind === 'failed' ? handshakeFailure(answer) : { kind: 'invited' };
}

/**
 * Invites a user to a room that we are in, for the third-party invite that is there. A user who has been invited by it
 * before, or is in the room, is not invited again.
 */
export async function issueInvite(
  ctx: FederationContext,
  room: Room,
  invite: ThirdPartyInvite,
): Promise<InviteResult> {
  const { sender, target, signed } = invite;
  const token = stringAt(signed, 'token');
  if (token === undefined) return { kind: 'forbidden', reason: 'The third-party invite has no token' };
  const member = await currentStateEvent(ctx, room.roomNid, 'm.room.member', target);
  if (member !== undefined && isDone(member.event, token)) return { kind: 'invited' };
  const named = await currentStateEvent(ctx, room.roomNid, 'm.room.third_party_invite', token);
  if (named === undefined)
    return { kind: 'forbidden', reason: 'There is no third-party invite with this token' };
  // Nobody comes back by an invitation from before they were removed: the word of the identity server stays good.
  if (member !== undefined && isRemoved(member.event) && member.nid > named.nid) {
    return { kind: 'forbidden', reason: 'The user was removed from the room after this invitation' };
  }
  const refused = await keyRefused(ctx, signed, named.event);
  if (refused !== undefined) return refused;
  const displayName = stringAt(named.event.content, 'display_name') ?? invite.displayName ?? '';
  const content = { third_party_invite: { display_name: displayName, signed } };
  const wanted = { room, sender, target, content };
  return belongsTo(target, ctx.serverName) ? inviteOurs(ctx, wanted) : inviteRemotely(ctx, wanted);
}

/** True where the user is in the room, or the last invitation was by this very token. */
function isDone(member: Event, token: string): boolean {
  const membership = membershipOf(member);
  const by = objectAt(objectAt(member.content, 'third_party_invite') ?? {}, 'signed');
  return membership === 'join' || (membership === 'invite' && stringAt(by ?? {}, 'token') === token);
}

/** True where somebody else made them leave. */
function isRemoved(member: Event): boolean {
  return membershipOf(member) === 'leave' && member.sender !== member.stateKey;
}

/** "H1 MUST verify the request [...] to ensure the `signed` property is correct as well as the `key_validity_url`". */
async function keyRefused(
  ctx: FederationContext,
  signed: JsonObject,
  named: Event,
): Promise<Exclude<InviteResult, { kind: 'invited' }> | undefined> {
  const key = thirdPartyKeyOf(signed, named.content);
  if (key === undefined) return { kind: 'forbidden', reason: 'The third-party invite is forged' };
  const { validityUrl: url, publicKey } = key;
  if (url === undefined) return undefined;
  const valid = await isKeyValid(ctx, { url, publicKey });
  if (valid.kind === 'failed') {
    return { kind: 'unreachable', reason: 'The identity server does not say whether its key is valid' };
  }
  return valid.value
    ? undefined
    : { kind: 'forbidden', reason: 'The key of the identity server is not valid' };
}

/** "If the invited homeserver is in the room the invite came from, it can auth the event and send it." */
async function inviteOurs(
  ctx: FederationContext,
  wanted: { room: Room; sender: UserId; target: UserId; content: JsonObject },
): Promise<InviteResult> {
  if (await blocksInvites(ctx.db, wanted.target, wanted.sender)) {
    return { kind: 'invite_blocked', reason: 'The user takes no invitations' };
  }
  const built = await buildInvite(ctx, wanted);
  if (built.kind !== 'ok') return built;
  const asked = await askedToSign(ctx, wanted.room, built.event);
  if (asked.kind !== 'event') return notSigned(asked);
  const received = await receive(ctx, wanted.room, asked.event, { as: 'live', relay: true });
  if (received.kind === 'accepted') return { kind: 'invited' };
  const reason = 'reason' in received ? received.reason : undefined;
  return { kind: 'forbidden', reason: reason ?? 'The room has changed meanwhile' };
}

/** Changes of membership in rooms that this server is in: https://spec.matrix.org/v1.19/client-server-api/#room-membership */
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { RoomId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { RoomsContext } from './context.ts';
import { membershipOf } from './event.ts';
import { authoriseRestrictedJoin } from './restricted.ts';
import { getRoom, type Room } from './room.ts';
import { type Draft, type Sent, sendEvent } from './send.ts';
import { currentStateEvent } from './state.ts';
import type { StoredEvent } from './stored-event.ts';

/** What a member event says of its user. */
export interface MemberProfile {
  readonly displayname?: string | undefined;
  readonly avatar_url?: string | undefined;
}

export interface MembershipChange {
  readonly roomId: RoomId;
  readonly sender: UserId;
  readonly target: UserId;
  /** `kick` and `unban` both make a `leave`, but each refuses what the other is for. */
  readonly membership: 'join' | 'invite' | 'leave' | 'kick' | 'ban' | 'unban' | 'knock';
  /** Further content: `reason`, `is_direct`, keys of the client's own. */
  readonly content?: JsonObject;
  /** The profile of the target, for `join`, `invite` and `knock`; leave it out where it is not known. */
  readonly profile?: MemberProfile;
  readonly txn?: Draft['txn'];
  /** Milliseconds since 1970; now unless given. */
  readonly originServerTs?: number | undefined;
  readonly upon?: Draft['upon'];
}

/**
 * Changes a membership by the authorisation rules of the room, which this server must be in. To join a room that
 * one is in already changes nothing and answers with the event of that join, unless `content` or `profile` say
 * something new.
 */
export async function changeMembership(ctx: RoomsContext, change: MembershipChange): Promise<Sent> {
  const room = await getRoom(ctx, change.roomId);
  if (room === undefined) return { kind: 'unknown_room' };
  const current = await currentStateEvent(ctx, room.roomNid, 'm.room.member', change.target);
  const refusal = refusalOf(change, current);
  if (refusal !== undefined) return { kind: 'forbidden', reason: refusal };

  const content = contentOf(change);
  if (change.membership === 'join' && change.sender === change.target) {
    const known = sameJoin(change, content, current);
    if (known !== undefined) return known;
    const join = await joinContent(ctx, room, change.target, content);
    return join.kind === 'ok' ? send(ctx, change, join.content) : { kind: 'forbidden', reason: join.reason };
  }
  return send(ctx, change, content);
}

/** The content of a member event of this kind. */
function contentOf(change: MembershipChange): JsonObject {
  const { membership, profile } = change;
  // Whoever may authorise a join, it is not the client that says so.
  const { join_authorised_via_users_server: _, ...given } = change.content ?? {};
  const isLeave = membership === 'kick' || membership === 'unban';
  const shown =
    membership === 'join' || membership === 'invite' || membership === 'knock' ? profile : undefined;
  return {
    ...(shown?.displayname !== undefined && { displayname: shown.displayname }),
    ...(shown?.avatar_url !== undefined && { avatar_url: shown.avatar_url }),
    ...given,
    membership: isLeave ? 'leave' : membership,
  };
}

/** What the authorisation rules would let pass, because they know only `leave`. */
function refusalOf({ membership }: MembershipChange, current: StoredEvent | undefined): string | undefined {
  const before = current === undefined ? undefined : membershipOf(current.event);
  if (membership === 'unban' && before !== 'ban') return 'The user is not banned from the room';
  if (membership === 'kick' && before === 'ban') return 'The user is banned from the room';
  return undefined;
}

/** The join that is there already, where a new one would say nothing new. */
function sameJoin(
  { profile }: MembershipChange,
  content: JsonObject,
  current: StoredEvent | undefined,
): Sent | undefined {
  if (current?.position === undefined || membershipOf(current.event) !== 'join') return undefined;
  const { join_authorised_via_users_server: _, ...before } = current.event.content;
  const { displayname: _name, avatar_url: _avatar, ...unnamed } = before;
  // Who joins "again" without a profile in hand does not mean to lose the one that is there.
  const after = { ...(profile === undefined ? before : unnamed), ...content };
  if (encodeCanonical(after) !== encodeCanonical(before)) return undefined;
  return { kind: 'sent', eventId: current.event.eventId, position: current.position };
}

type JoinContent =
  | { readonly kind: 'ok'; readonly content: JsonObject }
  | { readonly kind: 'refused'; readonly reason: string };

/** Names who of ours authorises the join, where the room is restricted. */
async function joinContent(
  ctx: RoomsContext,
  room: Room,
  userId: UserId,
  content: JsonObject,
): Promise<JoinContent> {
  const join = await authoriseRestrictedJoin(ctx, room, userId);
  switch (join.kind) {
    case 'not_needed':
      return { kind: 'ok', content };
    case 'authorised':
      return { kind: 'ok', content: { ...content, join_authorised_via_users_server: join.by } };
    case 'refused':
      return { kind: 'refused', reason: 'The user is in none of the rooms whose members may join' };
    case 'unable_to_authorise':
      return { kind: 'refused', reason: 'This server is not in the rooms whose members may join' };
    case 'unable_to_grant':
      return { kind: 'refused', reason: 'No user of this server may authorise the join' };
  }
}

function send(ctx: RoomsContext, change: MembershipChange, content: JsonObject): Promise<Sent> {
  const { roomId, sender, target, txn, originServerTs, upon } = change;
  return sendEvent(ctx, {
    roomId,
    sender,
    type: 'm.room.member',
    stateKey: target,
    content,
    upon,
    ...(txn !== undefined && { txn }),
    ...(originServerTs !== undefined && { originServerTs }),
  });
}

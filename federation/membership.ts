/** Joins, knocks, invitations and leaves of our users, wherever the room lives: in our own graph, or by way of others. */

import { setTimeout as pause } from 'node:timers/promises';
import {
  belongsTo,
  isRoomAlias,
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '#keys/ids.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import { canonicalContent } from '#rooms/build-event.ts';
import { closedBecause } from '#rooms/closed-room.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadNid } from '#rooms/load.ts';
import { changeMembership, type MemberProfile, type MembershipChange } from '#rooms/membership-local.ts';
import { isUnheard } from '#rooms/out-of-band.ts';
import { showInRoom } from '#rooms/profile-in-room.ts';
import { authoriseRestrictedJoin, serversThatMayInvite } from '#rooms/restricted.ts';
import { getRoom, isInRoom, joinedServers, type Room } from '#rooms/room.ts';
import type { Sent } from '#rooms/send.ts';
import { carrySettingsOnJoin } from '#rooms/upgrade/carry-settings.ts';
import * as invites from '#storage/invites.ts';
import * as memberships from '#storage/memberships.ts';
import * as profiles from '#storage/profiles.ts';
import * as users from '#storage/users.ts';
import { roomWeAreIn } from './access.ts';
import type { FederationContext } from './context.ts';
import { resolveAlias } from './directory.ts';
import { type Candidates, candidatesOf, serversToAsk } from './handshakes/candidates.ts';
import { inviteRemotely } from './handshakes/invite.ts';
import { joinRemotely } from './handshakes/join.ts';
import { knockRemotely } from './handshakes/knock.ts';
import { leaveRemotely } from './handshakes/leave.ts';
import type { HandshakeFailure } from './handshakes/template.ts';
import { exchangeInvite } from './handshakes/third-party-invite.ts';
import { joinUnderWay, whileJoining } from './handshakes/under-way.ts';
import { blocksInvites } from './invite-permission.ts';
import { joinAdvice, misfitOfInvite } from './partners/preflight.ts';
import { notSigned } from './policy/not-signed.ts';

export type MembershipResult =
  | { readonly kind: 'ok'; readonly roomId: RoomId }
  /** Content that cannot be in an event. */
  | { readonly kind: 'invalid'; readonly reason: string }
  | HandshakeFailure;

type NotDone = Exclude<MembershipResult, { kind: 'ok' }>;

/** How long news of one room are waited for before another is joined by it, time after time. */
const WAITS_FOR_NEWS_MS = [200, 1_000];

/** Room for the references, hashes and signatures around it. */
const MAX_CONTENT_BYTES = 50_000;

export interface Join {
  readonly userId: UserId;
  readonly roomIdOrAlias: RoomId | RoomAlias;
  /** Servers that may be in the room. */
  readonly via?: readonly ServerName[];
  readonly content?: JsonObject;
  /** When it happens, as far as the room is here; now unless given. */
  readonly originServerTs?: number | undefined;
  /** The word of an identity server, by which the user is invited first. */
  readonly thirdPartySigned?: { readonly sender: UserId; readonly signed: JsonObject } | undefined;
}

/** Joins one of our users to a room. To join again changes nothing. */
export async function join(ctx: FederationContext, wanted: Join): Promise<MembershipResult> {
  const { userId } = wanted;
  const before = await profiles.of(ctx.db, userId);
  const result = await joinAnywhere(ctx, wanted);
  if (result.kind !== 'ok') return result;
  const { roomId } = result;
  // Others may have been asked for long: who was deactivated meanwhile has left all rooms but this one.
  if ((await users.of(ctx.db, userId))?.deactivatedTs !== undefined) {
    await leave(ctx, { userId, roomId });
    return { kind: 'forbidden', reason: 'The account is deactivated' };
  }
  await carrySettingsOnJoin(ctx, userId, roomId);
  const now = await profiles.of(ctx.db, userId);
  // Who changes it amid the join has it changed in the rooms that they are in by then.
  if (now.displayname !== before.displayname || now.avatar_url !== before.avatar_url) {
    await showInRoom(ctx, userId, roomId);
  }
  return result;
}

async function joinAnywhere(ctx: FederationContext, wanted: Join): Promise<MembershipResult> {
  const entry = await entryTo(ctx, wanted);
  if (entry.kind !== 'open') return entry;
  const { roomId, userId } = entry;
  if (wanted.thirdPartySigned !== undefined) {
    const invited = await exchangeInvite(ctx, { roomId, target: userId, ...wanted.thirdPartySigned });
    if (invited.kind !== 'invited') return invited;
  }
  return (await joinHere(ctx, entry)) ?? whileJoining(ctx, roomId, () => joinElsewhere(ctx, entry));
}

/** A room that one of our users wants to get into. */
interface Entry {
  readonly kind: 'open';
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly content: JsonObject;
  readonly originServerTs: number | undefined;
  /** Servers that the client, or the alias, says are in it. */
  readonly known: readonly ServerName[];
}

/** Finds the room, where no word of the operator stands against it. */
async function entryTo(
  ctx: FederationContext,
  { userId, roomIdOrAlias, via = [], content = {}, originServerTs }: Join,
): Promise<Entry | NotDone> {
  if (!fits(content)) return invalid;
  const resolved = isRoomAlias(roomIdOrAlias)
    ? await resolveAlias(ctx, roomIdOrAlias)
    : { roomId: roomIdOrAlias, servers: [] };
  if (resolved === undefined) return { kind: 'not_found', reason: 'The alias points to no room' };
  const { roomId, servers } = resolved;
  const closed = await closedBecause(ctx, roomId);
  if (closed !== undefined) return { kind: 'forbidden', reason: closed };
  return { kind: 'open', roomId, userId, content, originServerTs, known: [...via, ...servers] };
}

/**
 * Under the lock of the room's joins. Who has just come into the room that gives the right to join is told so here, but
 * the server that lets users in learns of it a moment later: it is asked again.
 */
async function joinElsewhere(ctx: FederationContext, entry: Entry): Promise<MembershipResult> {
  for (const waitMs of WAITS_FOR_NEWS_MS) {
    const result = await tryElsewhere(ctx, entry);
    if (result.kind !== 'forbidden' || !(await mayJoinByNow(ctx, entry))) return result;
    await pause(waitMs);
  }
  return tryElsewhere(ctx, entry);
}

/** True where, as far as this server knows, the user meets a condition of the restricted room. */
async function mayJoinByNow(ctx: FederationContext, { roomId, userId }: Entry): Promise<boolean> {
  const room = await roomWeAreIn(ctx, roomId);
  if (room === undefined) return false;
  const { kind } = await authoriseRestrictedJoin(ctx, room, userId);
  return kind === 'unable_to_grant' || kind === 'authorised';
}

async function tryElsewhere(ctx: FederationContext, entry: Entry): Promise<MembershipResult> {
  const { roomId, userId } = entry;
  // Another of our users may have been faster.
  const here = await joinHere(ctx, entry);
  if (here !== undefined) return here;
  const candidates = await candidatesFor(ctx, entry);
  const content = { ...shownProfile(await profiles.of(ctx.db, userId)), ...entry.content };
  const joined = await joinRemotely(ctx, { roomId, userId, candidates, content });
  if (joined.kind === 'joined') return { kind: 'ok', roomId };
  const known = await getRoom(ctx, roomId);
  const member = known === undefined ? undefined : await memberships.of(ctx.db, known.roomNid, userId);
  const servers = [...candidates.named, ...candidates.others];
  const advice = member?.membership === 'invite' ? undefined : joinAdvice(ctx, servers);
  return advice === undefined ? joined : { kind: 'forbidden', reason: advice };
}

/** Undefined for a room that only another server can let the user into. */
async function joinHere(ctx: FederationContext, entry: Entry): Promise<MembershipResult | undefined> {
  const room = await roomWeAreIn(ctx, entry.roomId);
  const canBe = room !== undefined && (await canLetIn(ctx, room, entry.userId));
  return canBe ? changeHere(ctx, entry, 'join') : undefined;
}

/** In a room that we are in, by our own graph. Undefined where the last of our users has just left it. */
async function changeHere(
  ctx: FederationContext,
  { roomId, userId, content, originServerTs }: Entry,
  membership: 'join' | 'knock',
): Promise<MembershipResult | undefined> {
  if ((await roomWeAreIn(ctx, roomId)) === undefined) return undefined;
  const profile = await profiles.of(ctx.db, userId);
  const sent = await changeMembership(ctx, {
    ...{ roomId, sender: userId, target: userId },
    ...{ membership, content, profile, originServerTs },
  });
  return sent.kind === 'unknown_room' ? undefined : resultOf(sent, roomId);
}

/**
 * False for a restricted room of which only another server can tell whether the user may join, and where the room has
 * not heard of the invitation yet: whoever gave it has.
 */
async function canLetIn(ctx: FederationContext, room: Room, userId: UserId): Promise<boolean> {
  if (await isUnheard(ctx, room, userId)) return false;
  const { kind } = await authoriseRestrictedJoin(ctx, room, userId);
  if (kind !== 'unable_to_authorise' && kind !== 'unable_to_grant') return true;
  return (await joinedServers(ctx, room.roomNid)).length < 2;
}

/** Asks for one of our users to be let into a room. Who knocks again says it again. */
export async function knock(
  ctx: FederationContext,
  wanted: Omit<Join, 'thirdPartySigned'>,
): Promise<MembershipResult> {
  const entry = await entryTo(ctx, wanted);
  if (entry.kind !== 'open') return entry;
  const { roomId } = entry;
  // Who answers the knock at once waits, as with a join, until it is recorded.
  return (
    (await changeHere(ctx, entry, 'knock')) ?? whileJoining(ctx, roomId, () => knockElsewhere(ctx, entry))
  );
}

/** Under the lock of the room's joins. */
async function knockElsewhere(ctx: FederationContext, entry: Entry): Promise<MembershipResult> {
  const { roomId, userId } = entry;
  // Another of our users may have joined meanwhile.
  const here = await changeHere(ctx, entry, 'knock');
  if (here !== undefined) return here;
  const candidates = await candidatesFor(ctx, entry);
  const content = { ...shownProfile(await profiles.of(ctx.db, userId)), ...entry.content };
  const knocked = await knockRemotely(ctx, { roomId, userId, candidates, content });
  return knocked.kind === 'knocked' ? { kind: 'ok', roomId } : knocked;
}

/** Makes one of our users leave a room, decline an invitation, or take back a knock. */
export async function leave(
  ctx: FederationContext,
  { userId, roomId, reason }: { userId: UserId; roomId: RoomId; reason?: string | undefined },
): Promise<MembershipResult> {
  const content = reason === undefined ? {} : { reason };
  if (!fits(content)) return invalid;
  // Who leaves amid a join does not mean to be in the room once it has ended.
  if ((await roomWeAreIn(ctx, roomId)) === undefined) await joinUnderWay(ctx, roomId);
  const room = await getRoom(ctx, roomId);
  if (room === undefined) return { kind: 'not_found', reason: 'Unknown room' };
  if ((await isInRoom(ctx, room)) && !(await isUnheard(ctx, room, userId))) {
    const change = { roomId, sender: userId, target: userId, membership: 'leave', content } as const;
    const sent = await changeMembership(ctx, change);
    // Else the last of our users in the room has just left it.
    if (sent.kind !== 'unknown_room') return resultOf(sent, roomId);
  }
  const member = await memberships.of(ctx.db, room.roomNid, userId);
  if (member?.membership === 'leave') return { kind: 'ok', roomId };
  const ended = isOutside(member) ? await loadNid(ctx, member.eventNid) : undefined;
  if (ended === undefined) return { kind: 'forbidden', reason: 'The user is not in the room' };
  const { rules } = room;
  const servers = serversToAsk(ctx.serverName, roomId, await serversBehind(ctx, roomId, userId));
  const left = await leaveRemotely(ctx, { roomId, userId, content, rules, ended, servers });
  return left ? { kind: 'ok', roomId } : { kind: 'forbidden', reason: 'There is nothing to leave any more' };
}

/** Invites a user, of this server or another, to a room that this server is in. */
export async function invite(
  ctx: FederationContext,
  wanted: Pick<MembershipChange, 'sender' | 'target' | 'roomId' | 'content' | 'originServerTs'>,
): Promise<MembershipResult> {
  const { sender, target, roomId, content = {}, originServerTs } = wanted;
  if (!fits(content)) return invalid;
  const closed = await closedBecause(ctx, roomId);
  if (closed !== undefined) return { kind: 'forbidden', reason: closed };
  if (belongsTo(target, ctx.serverName)) {
    if (await blocksInvites(ctx.db, target, sender)) return blocked;
    const profile = await profiles.of(ctx.db, target);
    const change = { roomId, sender, target, membership: 'invite', content, profile } as const;
    return resultOf(await changeMembership(ctx, { ...change, originServerTs }), roomId);
  }
  const room = await roomWeAreIn(ctx, roomId);
  if (room === undefined) return { kind: 'not_found', reason: 'Unknown room' };
  const misfit = await misfitOfInvite(ctx, room, target);
  if (misfit?.kind === 'version') {
    return { kind: 'incompatible', roomVersion: misfit.version, reason: misfit.reason };
  }
  if (misfit !== undefined) return { kind: 'forbidden', reason: misfit.reason };
  const invited = await inviteRemotely(ctx, { room, sender, target, content });
  return invited.kind === 'invited' ? { kind: 'ok', roomId } : invited;
}

/**
 * Servers for a handshake: those that the client and the alias name, and those behind an invitation or a knock. In a
 * room that we are in ourselves we know who may let the user in; of one that we have left, who was there then.
 */
async function candidatesFor(ctx: FederationContext, { roomId, userId, known }: Entry): Promise<Candidates> {
  const room = await getRoom(ctx, roomId);
  if (room === undefined) return candidatesOf(ctx.serverName, roomId, { named: known });
  const inRoom = await joinedServers(ctx, room.roomNid);
  const behind = await serversBehind(ctx, roomId, userId);
  if (await isInRoom(ctx, room)) {
    const named = [...behind, ...known, ...(await serversThatMayInvite(ctx, room)), ...inRoom];
    return candidatesOf(ctx.serverName, roomId, { named });
  }
  return candidatesOf(ctx.serverName, roomId, { named: [...known, ...behind], others: inRoom });
}

/** A membership of one who is not in the room, and may be the only one of ours that has to do with it. */
function isOutside(
  member: memberships.MembershipRow | undefined,
): member is memberships.MembershipRow & { readonly membership: 'invite' | 'knock' } {
  return member?.membership === 'invite' || member?.membership === 'knock';
}

/**
 * Servers that are likely to be in a room which a user is invited to, or has knocked on: the one that sent the
 * invitation or took the knock, and those of who made what the user is shown of the room.
 */
export async function serversBehind(
  ctx: RoomsContext,
  roomId: RoomId,
  userId: UserId,
): Promise<(ServerName | undefined)[]> {
  const room = await getRoom(ctx, roomId);
  const member = room && (await memberships.of(ctx.db, room.roomNid, userId));
  if (room === undefined || !isOutside(member)) return [];
  const stored = await loadNid(ctx, member.eventNid);
  const shown = await invites.shownTo(ctx.db, room.roomNid, userId);
  const senders = (shown?.state ?? []).map((event) => stringAt(event, 'sender'));
  return [shown?.via, ...[stored?.event.sender, ...senders].map((sender) => serverNameOf(sender ?? ''))];
}

function shownProfile({ displayname, avatar_url }: MemberProfile): JsonObject {
  return {
    ...(displayname !== undefined && { displayname }),
    ...(avatar_url !== undefined && { avatar_url }),
  };
}

function resultOf(sent: Sent, roomId: RoomId): MembershipResult {
  switch (sent.kind) {
    case 'sent':
      return { kind: 'ok', roomId };
    case 'unknown_room':
      return { kind: 'not_found', reason: 'Unknown room' };
    case 'forbidden':
    case 'invalid':
      return sent;
    case 'not_signed':
      return notSigned(sent.unsigned);
    case 'duplicate_annotation':
    case 'bad_relation':
      return { kind: 'invalid', reason: sent.reason };
  }
}

function fits(content: JsonObject): boolean {
  const text = canonicalContent(content)?.text;
  return text !== undefined && Buffer.byteLength(text) <= MAX_CONTENT_BYTES;
}

const invalid: NotDone = {
  kind: 'invalid',
  reason: 'The content cannot be in an event: it is too large, or not canonical JSON',
};

const blocked: NotDone = { kind: 'invite_blocked', reason: 'The user takes no invitations' };

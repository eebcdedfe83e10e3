/** Refuses, before anything is sent, what cannot work with the servers that take part in a room. */

import { belongsTo, type RoomId, type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import { isObject, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import type { PublicRooms } from '#rooms/directory/directory.ts';
import { type NewRoom, presetOf } from '#rooms/initial-events.ts';
import { getRoom, joinedServers, type Room } from '#rooms/room.ts';
import { currentStateEvents } from '#rooms/state.ts';
import * as memberships from '#storage/memberships.ts';
import type { FederationContext } from '../context.ts';
import { NotAPartner } from '../network/resolve.ts';
import { participantsOf } from './acquaint.ts';
import {
  DECIDING_TYPES,
  misfit,
  misfitOfChange,
  misfitOfUpgrade,
  nameOf,
  type Participant,
  type RoomTraits,
  type StateChange,
  versionFor,
} from './policy.ts';

type PreflightContext = Omit<FederationContext, 'sender' | 'inbound'>;

export type Misfit =
  | { readonly kind: 'version'; readonly version: string; readonly reason: string }
  | { readonly kind: 'state'; readonly reason: string };

/** The version for a new room, or why there cannot be such a room. */
export type RoomPlan = { readonly kind: 'ok'; readonly roomVersion: string } | Misfit;

/**
 * Plans a room that users of other servers may be invited to as it is made. Where its maker asks for no version it
 * gets the newest that all can be in, up to `defaultVersion`.
 */
export async function planRoom(
  ctx: PreflightContext,
  room: NewRoom,
  defaultVersion: string,
): Promise<RoomPlan> {
  const { roomVersion: asked } = room;
  const invited = (room.invite ?? []).filter((userId) => !belongsTo(userId, ctx.serverName));
  if (invited.length === 0) return { kind: 'ok', roomVersion: asked ?? defaultVersion };
  const participants = await participantsOf(ctx, invited);
  const stranger = participants.find(({ server }) => !ctx.partners.mayCall(server));
  if (stranger !== undefined) return { kind: 'state', reason: new NotAPartner(stranger.server).message };
  const common =
    asked === undefined
      ? versionFor(participants, defaultVersion)
      : ({ kind: 'ok', version: asked } as const);
  if (common.kind === 'none') return { kind: 'version', version: defaultVersion, reason: common.reason };
  const { version: roomVersion } = common;
  const traits = traitsOf(room, roomVersion);
  for (const participant of participants) {
    const found = misfit(participant, traits) ?? misfitOfExtras(participant, room);
    if (found?.kind === 'version') return { ...found, version: traits.version };
    if (found !== undefined) return { kind: 'state', reason: found.reason };
  }
  return { kind: 'ok', roomVersion };
}

/** Why an invitation to a room that we are in cannot work. */
export async function misfitOfInvite(
  ctx: PreflightContext,
  room: Room,
  target: UserId,
): Promise<Misfit | undefined> {
  const [participant] = await participantsOf(ctx, [target]);
  if (participant === undefined) return undefined;
  if (!ctx.partners.mayCall(participant.server)) {
    return { kind: 'state', reason: new NotAPartner(participant.server).message };
  }
  const found = misfit(participant, await currentTraits(ctx, room));
  if (found?.kind === 'version') return { ...found, version: room.rules.version };
  if (found !== undefined) return { kind: 'state', reason: found.reason };
  return (await isReachable(ctx, room, participant))
    ? undefined
    : unreachableCreator(room.roomId, participant);
}

/** Why one of our users cannot send a state event, for the sake of who is in the room or invited. */
export async function refusalOfState(
  ctx: PreflightContext,
  roomId: RoomId,
  change: StateChange,
): Promise<string | undefined> {
  if (!DECIDING_TYPES.has(change.type)) return undefined;
  const room = await getRoom(ctx, roomId);
  if (room === undefined) return undefined;
  const participants = await presentIn(ctx, room);
  return firstOf(participants, (participant) => misfitOfChange(participant, change));
}

/** Why a room cannot be replaced by one of a version, for the sake of who is in it or invited. */
export async function refusalOfUpgrade(
  ctx: PreflightContext,
  roomId: RoomId,
  newVersion: string,
): Promise<string | undefined> {
  const room = await getRoom(ctx, roomId);
  if (room === undefined) return undefined;
  return firstOf(await presentIn(ctx, room), (participant) => misfitOfUpgrade(participant, newVersion));
}

/** What to say to somebody who could not join through any of some servers without an invitation. */
export function joinAdvice(
  { partners }: Pick<FederationContext, 'partners'>,
  servers: readonly ServerName[],
): string | undefined {
  const participants = servers.map((server) => ({ server, profile: partners.profileOf(server) }));
  const closed = participants.find(({ profile }) => profile.quirks.has('joins_by_invitation'));
  if (closed === undefined) return undefined;
  return `The rooms of ${nameOf(closed)} can be joined by invitation only. Ask somebody who is in the room to invite you`;
}

/** The published rooms of a server, as they can be joined: those that ask for an invitation say so. */
export function joinableRooms(
  { partners }: Pick<FederationContext, 'partners'>,
  server: ServerName,
  directory: PublicRooms,
): PublicRooms {
  if (!partners.profileOf(server).quirks.has('joins_by_invitation')) return directory;
  return { ...directory, chunk: directory.chunk.map((room) => ({ ...room, join_rule: 'invite' })) };
}

/** The other servers that have somebody in the room, or invited to it, by what is known of them. */
async function presentIn(ctx: PreflightContext, room: Room): Promise<Participant[]> {
  const invited = await memberships.inRoom(ctx.db, room.roomNid, 'invite');
  const servers = new Set([
    ...(await joinedServers(ctx, room.roomNid)),
    ...invited.map(({ serverName }) => serverName),
  ]);
  servers.delete(ctx.serverName);
  return [...servers].map((server) => ({ server, profile: ctx.partners.profileOf(server) }));
}

function firstOf(
  participants: readonly Participant[],
  check: (participant: Participant) => string | undefined,
): string | undefined {
  for (const participant of participants) {
    const reason = check(participant);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

async function currentTraits(ctx: PreflightContext, room: Room): Promise<RoomTraits> {
  const types = ['m.room.encryption', 'm.room.join_rules', 'm.room.history_visibility'];
  const events = await currentStateEvents(
    ctx,
    room.roomNid,
    types.map((type) => ({ type, stateKey: '' })),
  );
  const byType = new Map(events.map(({ event }) => [event.type, event.content]));
  return {
    version: room.rules.version,
    encrypted: byType.has('m.room.encryption'),
    joinRule: stringAt(byType.get('m.room.join_rules') ?? {}, 'join_rule') ?? 'invite',
    historyVisibility:
      stringAt(byType.get('m.room.history_visibility') ?? {}, 'history_visibility') ?? 'shared',
  };
}

/** What a room will be like, by what the client asks for. */
function traitsOf(room: NewRoom, version: string): RoomTraits {
  const given = (type: string): JsonObject | undefined => {
    const event = room.initialState?.findLast((each) => isObject(each) && own(each, 'type') === type);
    return isObject(event) ? (objectAt(event, 'content') ?? {}) : undefined;
  };
  const preset = presetOf(room) === 'public_chat' ? 'public' : 'invite';
  const joinRules = given('m.room.join_rules');
  const visibility = given('m.room.history_visibility');
  return {
    version,
    encrypted: room.isEncrypted === true || given('m.room.encryption') !== undefined,
    joinRule: joinRules === undefined ? preset : (stringAt(joinRules, 'join_rule') ?? 'invite'),
    historyVisibility: (visibility && stringAt(visibility, 'history_visibility')) ?? 'shared',
  };
}

function misfitOfExtras(
  participant: Participant,
  room: NewRoom,
): { readonly kind: 'state'; readonly reason: string } | undefined {
  const type = 'm.room.third_party_invite';
  const hasSome = room.initialState?.some((each) => isObject(each) && own(each, 'type') === type) === true;
  const reason = hasSome ? misfitOfChange(participant, { type, stateKey: '', content: {} }) : undefined;
  return reason === undefined ? undefined : { kind: 'state', reason };
}

/** A server that joins by way of the one in the room's id needs that one to be there. */
async function isReachable(ctx: PreflightContext, room: Room, { profile }: Participant): Promise<boolean> {
  if (!profile.quirks.has('joins_through_creator')) return true;
  const creator = serverNameOf(room.roomId);
  if (creator === undefined) return false;
  return creator === ctx.serverName || (await joinedServers(ctx, room.roomNid)).includes(creator);
}

function unreachableCreator(roomId: RoomId, participant: Participant): Misfit {
  return {
    kind: 'state',
    reason:
      `The users of ${nameOf(participant)} join a room through the server that made it, ` +
      `and ${serverNameOf(roomId) ?? 'that one'} is no longer in this room. Make a new room with them`,
  };
}

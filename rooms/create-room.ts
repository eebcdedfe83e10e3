/** Making a room: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom */
import { belongsTo, isRoomAlias, type RoomAlias, type RoomId, type UserId } from '#keys/ids.ts';
import * as aliases from '#storage/aliases.ts';
import * as roomDirectory from '#storage/room-directory.ts';
import { isFederated, NOT_FEDERATED } from './auth/federate.ts';
import { checkPowerLevelsContent } from './auth/power-levels.ts';
import type { RoomsContext } from './context.ts';
import { type InitialEvent, initialEvents, invited, type NewRoom } from './initial-events.ts';
import { opaqueId } from './opaque-id.ts';
import { getRoom } from './room.ts';
import type { Draft } from './send.ts';
import { startRoom } from './start-room.ts';
import { carrySettings, predecessorOf } from './upgrade/carry-settings.ts';
import { DEFAULT_ROOM_VERSION, type RoomVersionRules, supportedRulesOf } from './versions.ts';

export type { NewRoom, Preset } from './initial-events.ts';

export type RoomCreation =
  | {
      readonly kind: 'created';
      readonly roomId: RoomId;
      /** Users of other servers to invite: those of this one are invited already. */
      readonly invites: readonly UserId[];
    }
  | { readonly kind: 'refused'; readonly errcode: CreationErrcode; readonly reason: string };

export type CreationErrcode =
  | 'M_UNSUPPORTED_ROOM_VERSION'
  | 'M_INVALID_ROOM_STATE'
  | 'M_ROOM_IN_USE'
  | 'M_INVALID_PARAM'
  | 'M_FORBIDDEN'
  | 'M_BAD_JSON';

interface Plan {
  readonly rules: RoomVersionRules;
  readonly alias: RoomAlias | undefined;
  readonly events: readonly InitialEvent[];
}

/**
 * Makes a room with its first state, in one transaction, and invites the users of this server. Nothing is left of
 * a room that is refused.
 */
export async function createRoom(ctx: RoomsContext, room: NewRoom): Promise<RoomCreation> {
  const plan = planOf(ctx, room);
  if ('errcode' in plan) return plan;
  const { alias } = plan;
  if (alias === undefined) return start(ctx, room, plan);

  const reserved = await ctx.db.write('aliases.reserve', (tx) =>
    aliases.reserve(tx, alias, room.creator, ctx.clock.now()),
  );
  if (!reserved) return refused('M_ROOM_IN_USE', `The alias ${alias} is taken`);
  return start(ctx, room, plan).finally(() => giveBack(ctx, alias, room.creator));
}

/** Checks what can be known before any event is built. */
function planOf(ctx: RoomsContext, room: NewRoom): Plan | Extract<RoomCreation, { kind: 'refused' }> {
  const rules = supportedRulesOf(room.roomVersion ?? DEFAULT_ROOM_VERSION);
  if (rules === undefined) {
    return refused('M_UNSUPPORTED_ROOM_VERSION', 'This server does not support the room version');
  }
  const alias = room.roomAliasName === undefined ? undefined : `#${room.roomAliasName}:${ctx.serverName}`;
  if (alias !== undefined && !isLocalAlias(alias, ctx.serverName)) {
    return refused('M_INVALID_PARAM', 'room_alias_name is not the localpart of a room alias');
  }
  const malformed = checkPowerLevelsContent(room.powerLevelContentOverride ?? {}, rules);
  if (malformed !== undefined)
    return refused('M_BAD_JSON', `power_level_content_override: ${malformed.reason}`);
  const initial = initialEvents(room, { rules, serverName: ctx.serverName, alias });
  if (initial.kind === 'invalid') return refused('M_BAD_JSON', initial.reason);
  if (!isFederated(room.creationContent ?? {}) && remoteInvites(ctx, room).length > 0) {
    return refused('M_FORBIDDEN', NOT_FEDERATED);
  }
  return { rules, alias, events: initial.events };
}

function isLocalAlias(alias: string, serverName: string): alias is RoomAlias {
  return isRoomAlias(alias) && belongsTo(alias, serverName) && alias.length > serverName.length + 2;
}

async function start(ctx: RoomsContext, room: NewRoom, plan: Plan): Promise<RoomCreation> {
  const roomId = newRoomId(ctx);
  const drafts = plan.events.map((event): Draft => ({ ...event, roomId, sender: room.creator }));
  const started = await startRoom(ctx, { rules: plan.rules, drafts });
  if (started.kind === 'refused') {
    const type = plan.events[started.index]?.type ?? 'm.room.create';
    return refused('M_INVALID_ROOM_STATE', `${type}: ${started.reason}`);
  }
  await announce(ctx, room, plan, started.roomId);
  return { kind: 'created', roomId: started.roomId, invites: remoteInvites(ctx, room) };
}

/** Makes the room known by its alias and in the directory, and takes over what its creator had set in another one. */
async function announce(ctx: RoomsContext, room: NewRoom, { alias }: Plan, roomId: RoomId): Promise<void> {
  const from = predecessorOf(room.creationContent ?? {});
  if (alias === undefined && room.visibility !== 'public' && from === undefined) return;
  const made = await getRoom(ctx, roomId);
  if (made === undefined) throw new Error(`the room ${roomId} was made and is not there`);
  await ctx.db.write('rooms.announce', async (tx) => {
    if (alias !== undefined) await aliases.assign(tx, alias, room.creator, roomId);
    if (room.visibility === 'public') await roomDirectory.publish(tx, made.roomNid, ctx.clock.now());
    if (from !== undefined) await carrySettings(ctx, tx, room.creator, { from, to: roomId });
  });
}

/** Gives up the reservation of an alias, unless the room has it by now. */
async function giveBack(ctx: RoomsContext, alias: RoomAlias, creator: UserId): Promise<void> {
  await ctx.db.write('aliases.release', (tx) => aliases.release(tx, alias, creator));
}

function remoteInvites(ctx: RoomsContext, room: NewRoom): UserId[] {
  return invited(room).filter((userId) => !belongsTo(userId, ctx.serverName));
}

/** An id for a room whose version does not derive it from the create event; otherwise it does not count. */
export function newRoomId(ctx: RoomsContext): RoomId {
  return `!${opaqueId()}:${ctx.serverName}`;
}

function refused(errcode: CreationErrcode, reason: string): Extract<RoomCreation, { kind: 'refused' }> {
  return { kind: 'refused', errcode, reason };
}

/** Closing a room for all users of this server, by the operator's word. */

import { invite, join, leave } from '#federation/membership.ts';
import { belongsTo, type RoomId, type UserId } from '#keys/ids.ts';
import { powerOf } from '#rooms/power.ts';
import { beginForgetting } from '#rooms/purge/forget.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { currentStateEvent } from '#rooms/state.ts';
import * as aliases from '#storage/aliases.ts';
import * as blockedRooms from '#storage/blocked-rooms.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomDirectory from '#storage/room-directory.ts';
import type { ServerContext } from '../context.ts';

export interface Shutdown {
  readonly roomId: RoomId;
  /** A room that the users are brought to. */
  readonly moveTo: RoomId | undefined;
  /** Whether all that the server has of the room is deleted. */
  readonly purge: boolean;
}

export interface ShutdownResult {
  readonly known: boolean;
  readonly left: number;
  readonly moved: number;
  readonly aliases: number;
  /** What could not be done for some user, one line each; the first ones. */
  readonly failures: readonly string[];
  readonly purge: 'none' | 'begun' | { readonly keptBy: string };
  readonly roomNid: number | undefined;
}

const REASON = 'This room has been closed by the administrator of this server';
const MOST_FAILURES = 10;

/**
 * Closes a room: from the first moment nobody of ours comes into it; then our users leave, and with them the aliases
 * and the entry in the directory go. Done again it goes on with what is left to do.
 */
export async function shutDownRoom(ctx: ServerContext, shutdown: Shutdown): Promise<ShutdownResult> {
  const { roomId, moveTo } = shutdown;
  await ctx.db.write('rooms.block', (tx) => blockedRooms.block(tx, roomId, ctx.clock.now()));
  const room = await getRoom(ctx, roomId);
  const failures: string[] = [];
  const nothing = { known: false, left: 0, moved: 0, aliases: 0, failures } as const;
  if (room === undefined) return { ...nothing, purge: 'none', roomNid: undefined };
  const removed = await ctx.db.write('rooms.hide', async (tx) => {
    await roomDirectory.unpublish(tx, room.roomNid);
    return aliases.removeOfRoom(tx, roomId);
  });
  let [left, moved] = [0, 0];
  for (const member of await ourMembers(ctx, room)) {
    // One after the other: each leaving is an event upon the one before.
    const { userId } = member;
    if (moveTo !== undefined && member.membership === 'join') {
      const failure = await bring(ctx, userId, moveTo);
      if (failure === undefined) moved += 1;
      else failures.push(`${userId} was not brought to ${moveTo}: ${failure}`);
    }
    const result = await leave(ctx, { userId, roomId, reason: REASON });
    if (result.kind === 'ok') left += 1;
    else failures.push(`${userId} is still in the room: ${result.reason}`);
  }
  const kept = shutdown.purge ? await beginForgetting(ctx, room) : undefined;
  const purge = !shutdown.purge ? 'none' : kept === undefined ? 'begun' : { keptBy: kept };
  const shown = failures.slice(0, MOST_FAILURES);
  return { known: true, left, moved, aliases: removed, failures: shown, purge, roomNid: room.roomNid };
}

async function ourMembers(ctx: ServerContext, { roomNid }: Room): Promise<memberships.MembershipRow[]> {
  const members: memberships.MembershipRow[] = [];
  for (const membership of ['invite', 'knock', 'join'] as const) {
    const rows = await memberships.inRoom(ctx.db, roomNid, membership);
    members.push(...rows.filter(({ userId }) => belongsTo(userId, ctx.serverName)));
  }
  return members;
}

/** Brings a user into a room, by an invitation of one of ours where it takes one. Answers what is in the way. */
async function bring(ctx: ServerContext, userId: UserId, roomId: RoomId): Promise<string | undefined> {
  const joined = await join(ctx, { userId, roomIdOrAlias: roomId });
  if (joined.kind === 'ok') return undefined;
  const room = await getRoom(ctx, roomId);
  const sender = room && (await inviterIn(ctx, room));
  if (sender === undefined) return joined.reason;
  const invited = await invite(ctx, { sender, target: userId, roomId });
  const again = invited.kind === 'ok' ? await join(ctx, { userId, roomIdOrAlias: roomId }) : invited;
  return again.kind === 'ok' ? undefined : again.reason;
}

/** A user of ours who may invite to the room. */
async function inviterIn(ctx: ServerContext, { roomNid }: Room): Promise<UserId | undefined> {
  const create = await currentStateEvent(ctx, roomNid, 'm.room.create', '');
  const powerLevels = await currentStateEvent(ctx, roomNid, 'm.room.power_levels', '');
  const power = powerOf(create?.event, powerLevels?.event);
  const ours = await memberships.joinedLocalUsers(ctx.db, roomNid, ctx.serverName);
  return ours.find((userId) => power.of(userId) >= power.invite);
}

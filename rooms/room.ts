import { belongsTo, type RoomId, type ServerName } from '#keys/ids.ts';
import * as memberships from '#storage/memberships.ts';
import * as rooms from '#storage/rooms.ts';
import type { RoomsContext, RoomsReader } from './context.ts';
import type { Event } from './event.ts';
import { type RoomVersionRules, rulesOf } from './versions.ts';

/** A room that the server knows; nothing of it changes once it has events. */
export interface Room {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly rules: RoomVersionRules;
}

/** The room of an id; undefined where the server knows nothing of it. */
export async function getRoom(ctx: RoomsReader, roomId: RoomId): Promise<Room | undefined> {
  const { changes } = ctx.rooms;
  return ctx.rooms.room(roomId) ?? keep(ctx, await rooms.byId(ctx.db, roomId), changes);
}

/** The room of a numeric id. */
export async function getRoomByNid(ctx: RoomsReader, roomNid: number): Promise<Room | undefined> {
  const { changes } = ctx.rooms;
  return ctx.rooms.roomByNid(roomNid) ?? keep(ctx, await rooms.byNid(ctx.db, roomNid), changes);
}

/** The servers with a user joined to the room, our own among them, in alphabetical order. */
export async function joinedServers(ctx: RoomsReader, roomNid: number): Promise<readonly ServerName[]> {
  const known = ctx.rooms.joinedServers(roomNid);
  if (known !== undefined) return known;
  const { changes } = ctx.rooms;
  const servers = await memberships.joinedServers(ctx.db, roomNid);
  if (ctx.rooms.changes === changes) ctx.rooms.keepJoinedServers(roomNid, servers);
  return servers;
}

/**
 * The room, made known by its id and version. Undefined where it has events of another version. Until it has events
 * somebody's word is all that its version is known by, and the last word counts.
 */
export async function makeKnown(
  ctx: RoomsContext,
  roomId: RoomId,
  rules: RoomVersionRules,
): Promise<Room | undefined> {
  const before = await getRoom(ctx, roomId);
  if (before?.rules.version === rules.version) return before;
  await ctx.db.write('rooms.insert', (tx) => rooms.insert(tx, roomId, rules.version));
  ctx.rooms.forgetRoom(roomId);
  const room = await getRoom(ctx, roomId);
  return room?.rules.version === rules.version ? room : undefined;
}

/** The server of one who was only invited is not in the room, and must still hear that the invitation is gone. */
export function isOfRemoteMember(
  { type, stateKey }: Pick<Event, 'type' | 'stateKey'>,
  serverName: ServerName,
): boolean {
  return type === 'm.room.member' && stateKey !== undefined && !belongsTo(stateKey, serverName);
}

/** True where the server takes part: one of its users is joined, so that it is sent what happens there. */
export async function isInRoom(ctx: RoomsContext, room: Room): Promise<boolean> {
  return (await joinedServers(ctx, room.roomNid)).includes(ctx.serverName);
}

/** `changes` is `ctx.rooms.changes` from before the row was read. */
function keep(ctx: RoomsReader, row: rooms.RoomRow | undefined, changes: number): Room | undefined {
  const rules = row === undefined ? undefined : rulesOf(row.version);
  if (row === undefined || rules === undefined) return undefined;
  const room = Object.freeze({ roomNid: row.roomNid, roomId: row.roomId, rules });
  if (ctx.rooms.changes === changes) ctx.rooms.keepRoom(room);
  return room;
}

import type { RoomId } from '#keys/ids.ts';
import * as blockedRooms from '#storage/blocked-rooms.ts';
import * as purges from '#storage/purges.ts';
import type { RoomsReader } from './context.ts';
import { getRoom } from './room.ts';

/**
 * Why no user of ours may come into a room, whatever the room itself says: the operator has blocked it, or what the
 * server knew of it is just being deleted. Undefined for any other room.
 */
export async function closedBecause(ctx: RoomsReader, roomId: RoomId): Promise<string | undefined> {
  if (await blockedRooms.isBlocked(ctx.db, roomId)) {
    return 'This room has been blocked by the administrator of this server';
  }
  const room = await getRoom(ctx, roomId);
  const purge = room && (await purges.of(ctx.db, room.roomNid));
  if (purge === undefined || purge.upto !== undefined) return undefined;
  return 'This room is being deleted from this server: try again later';
}

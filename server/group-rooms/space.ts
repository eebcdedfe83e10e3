/** The rooms of a space, as far as this server is in them. */

import type { RoomId } from '#keys/ids.ts';
import { isRoomId } from '#keys/ids.ts';
import { own, stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { getRoom, isInRoom } from '#rooms/room.ts';
import { currentStateEvent, currentStateOfType } from '#rooms/state.ts';

export interface SpaceRooms {
  /** The space itself, and its rooms at any depth. */
  readonly rooms: readonly RoomId[];
  /** Those of them that have rooms of their own. */
  readonly spaces: readonly RoomId[];
}

/** So many rooms of a space are looked at. */
export const MOST_SPACE_ROOMS = 1_000;

/** Finds them breadth first, each once. */
export async function roomsOfSpace(ctx: RoomsContext, spaceId: RoomId): Promise<SpaceRooms> {
  const rooms = new Set<RoomId>([spaceId]);
  const spaces: RoomId[] = [];
  // The set grows while it is walked over: level by level.
  for (const roomId of rooms) {
    const children = await childrenOf(ctx, roomId);
    if (children === undefined) {
      if (roomId !== spaceId) rooms.delete(roomId);
      continue;
    }
    if (children === 'no space') continue;
    spaces.push(roomId);
    for (const child of children) if (rooms.size < MOST_SPACE_ROOMS) rooms.add(child);
  }
  return { rooms: [...rooms], spaces };
}

/** Undefined for a room that we are not in. */
async function childrenOf(ctx: RoomsContext, roomId: RoomId): Promise<RoomId[] | 'no space' | undefined> {
  const room = await getRoom(ctx, roomId);
  if (room === undefined || !(await isInRoom(ctx, room))) return undefined;
  const create = await currentStateEvent(ctx, room.roomNid, 'm.room.create', '');
  if (stringAt(create?.event.content ?? {}, 'type') !== 'm.space') return 'no space';
  const children = await currentStateOfType(ctx, room.roomNid, 'm.space.child');
  return children
    .filter(({ event }) => {
      // "via ... If not present or not a valid array the child is not a child."
      const via = own(event.content, 'via');
      return Array.isArray(via) && via.length > 0;
    })
    .map(({ event }) => event.stateKey)
    .filter(isRoomId);
}

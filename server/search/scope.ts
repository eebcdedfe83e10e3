import type { UserId } from '#keys/ids.ts';
import { objectAt, stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { currentStateEvent } from '#rooms/state.ts';
import * as memberships from '#storage/memberships.ts';
import * as search from '#storage/search.ts';
import { type EventFilter, includesRoom } from '../sync/filter.ts';

/** How many rooms back a room that was upgraded again and again is followed. */
const MOST_UPGRADES = 20;

/**
 * The rooms in which a user searches, by numeric id: "all rooms that the user has been in, including those that they
 * have left", or those of the filter and the rooms that they replaced; not "rooms that are end to end encrypted".
 * Which of their events the user may see is another question.
 */
export async function roomsToSearch(
  ctx: RoomsContext,
  userId: UserId,
  { rooms }: Pick<EventFilter, 'rooms'>,
): Promise<number[]> {
  const rows = (await memberships.ofUser(ctx.db, userId)).filter((row) => !row.forgotten);
  const known = new Map<string, number>(rows.map((row) => [row.roomId, row.roomNid]));
  const wanted = rooms.only === undefined ? known : await withPredecessors(ctx, known, rooms.only);
  const nids = [...wanted].filter(([roomId]) => includesRoom({ ...rooms, only: undefined }, roomId));
  const encrypted = await search.encryptedAmong(
    ctx.db,
    nids.map(([, nid]) => nid),
  );
  return nids.map(([, nid]) => nid).filter((nid) => !encrypted.has(nid));
}

async function withPredecessors(
  ctx: RoomsContext,
  known: ReadonlyMap<string, number>,
  only: ReadonlySet<string>,
): Promise<Map<string, number>> {
  const wanted = new Map<string, number>();
  for (const roomId of only) {
    let next: string | undefined = roomId;
    for (let upgrades = 0; next !== undefined && upgrades < MOST_UPGRADES; upgrades++) {
      const roomNid: number | undefined = wanted.has(next) ? undefined : known.get(next);
      if (roomNid === undefined) break;
      wanted.set(next, roomNid);
      // One after the other: each room names the one before it.
      next = await predecessorOf(ctx, roomNid);
    }
  }
  return wanted;
}

async function predecessorOf(ctx: RoomsContext, roomNid: number): Promise<string | undefined> {
  const create = await currentStateEvent(ctx, roomNid, 'm.room.create', '');
  const predecessor = create && objectAt(create.event.content, 'predecessor');
  return predecessor && stringAt(predecessor, 'room_id');
}

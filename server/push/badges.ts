/** How many unread messages a user has in all rooms: the number on the icon of an app. */

import type { UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';
import * as memberships from '#storage/memberships.ts';
import type { CountedRoom, UnreadCounts } from './unread.ts';
import { totalOf } from './unread-json.ts';

interface Known {
  readonly rooms: ReadonlyMap<number, { readonly room: CountedRoom; readonly count: number }>;
  readonly asOf: number;
}

const MOST_USERS = 10_000;
const MOST_ROOMS = 1_000_000;

export class Badges {
  readonly #ctx: RoomsContext;
  readonly #unread: UnreadCounts;
  readonly #known = new Lru<UserId, Known>({
    maxEntries: MOST_USERS,
    maxWeight: MOST_ROOMS,
    weigh: ({ rooms }) => rooms.size + 1,
  });

  constructor(ctx: RoomsContext, unread: UnreadCounts) {
    this.#ctx = ctx;
    this.#unread = unread;
  }

  /** "The number of unread messages a user has across all of the rooms they are a member of." */
  async of(userId: UserId): Promise<number> {
    const { db, streams } = this.#ctx;
    const upto = streams.upto();
    const known = this.#known.get(userId);
    const isSameReader = known !== undefined && !streams.mayConcern(`user:${userId}`, known.asOf);
    const rooms = isSameReader
      ? [...known.rooms.values()].map(({ room }) => room)
      : await memberships.joinedRooms(db, userId);
    const counted = new Map<number, { readonly room: CountedRoom; readonly count: number }>();
    let total = 0;
    for (const { roomNid, roomId } of rooms) {
      const room = { roomNid, roomId };
      const before = isSameReader ? known.rooms.get(roomNid) : undefined;
      const isSame = before !== undefined && !streams.mayConcern(`room:${roomId}`, known?.asOf ?? 0);
      // Mostly from memory; one room after the other, so that a user of many rooms does not hold up the others.
      const count = isSame ? before.count : await this.#count(userId, room, upto);
      counted.set(roomNid, { room, count });
      total += count;
    }
    this.#known.set(userId, { rooms: counted, asOf: upto });
    return total;
  }

  async #count(userId: UserId, room: CountedRoom, upto: number): Promise<number> {
    const { threads } = this.#unread.ofNow(userId, room, upto) ?? (await this.#unread.of(userId, room, upto));
    return totalOf(threads).notifications;
  }
}

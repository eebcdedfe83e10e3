import type { RoomsContext } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';
import * as roomMembers from '#storage/room-members.ts';
import type { RoomRef } from './recent-timelines.ts';
import type { WatchedUser, WatchedUsers } from './watched-users.ts';

interface Known {
  /** Undefined where they are too many. */
  readonly members: readonly WatchedUser[] | undefined;
  asOf: number;
}

const MOST_ROOMS = 10_000;
const MOST_MEMBERS = 150_000;
const MOST_IN_ROOM = 1_000;
const WEIGHT_OF_ROOM = 5;

/** Who is in rooms that are not large: read once for all who are in them. */
export class JoinedMembers {
  readonly #ctx: RoomsContext;
  readonly #watched: WatchedUsers;
  readonly #rooms = new Lru<number, Known>({
    maxEntries: MOST_ROOMS,
    maxWeight: MOST_MEMBERS,
    weigh: ({ members }) => WEIGHT_OF_ROOM + (members?.length ?? 0),
  });

  constructor(ctx: RoomsContext, watched: WatchedUsers) {
    this.#ctx = ctx;
    this.#watched = watched;
  }

  /** Undefined for a large room. */
  async of({ roomNid, roomId }: RoomRef): Promise<readonly WatchedUser[] | undefined> {
    const { streams, db } = this.#ctx;
    const asOf = streams.upto();
    const known = this.#rooms.get(roomNid);
    if (known !== undefined && !streams.mayConcern(`state:${roomId}`, known.asOf)) {
      known.asOf = asOf;
      return known.members;
    }
    const which = { memberships: ['join'], besides: [], limit: MOST_IN_ROOM + 1 } as const;
    const read = await roomMembers.first(db, roomNid, which);
    const members = read.length > MOST_IN_ROOM ? undefined : read.map((userId) => this.#watched.of(userId));
    this.#rooms.set(roomNid, { members, asOf });
    return members;
  }
}

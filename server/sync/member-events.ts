/** Member events that clients which load members lazily are told of, found once for all who are in a room. */

import type { UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadNids } from '#rooms/load.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as currentState from '#storage/current-state.ts';
import { Lru } from '#storage/lru.ts';

interface Room {
  /** All of it is as it was at this position. */
  asOf: number;
  /** The numeric ids of the events; undefined for who is no member. */
  readonly nids: Map<UserId, number | undefined>;
}

const MOST_ROOMS = 5_000;
const MOST_MEMBERS = 500_000;
const MOST_IN_ROOM = 5_000;
const WEIGHT_OF_ROOM = 10;
const NOW = Number.MAX_SAFE_INTEGER;

export class MemberEvents {
  readonly #ctx: RoomsContext;
  readonly #rooms = new Lru<number, Room>({
    maxEntries: MOST_ROOMS,
    maxWeight: MOST_MEMBERS,
    weigh: ({ nids }) => nids.size + WEIGHT_OF_ROOM,
  });

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  /** The member events of some users by the state of now; undefined where that is changing. */
  async find(
    { roomNid, roomId }: { readonly roomNid: number; readonly roomId: string },
    users: readonly UserId[],
  ): Promise<StoredEvent[] | undefined> {
    const { streams, db } = this.#ctx;
    const asOf = streams.upto();
    const known = this.#rooms.get(roomNid);
    const isSound = known !== undefined && !streams.mayConcern(`state:${roomId}`, known.asOf);
    const room: Room = isSound ? known : { asOf, nids: new Map() };
    const missing = users.filter((userId) => !room.nids.has(userId));
    if (missing.length > 0) {
      const keys = missing.map((stateKey) => ({ type: 'm.room.member', stateKey }));
      const found = new Map(
        (await currentState.some(db, roomNid, keys)).map((row) => [row.stateKey, row.eventNid]),
      );
      // Written already, but not published yet: the caller knows how to undo that.
      if ((await currentState.deltas(db, roomNid, { after: asOf, upto: NOW })).length > 0) return undefined;
      if (room.nids.size > MOST_IN_ROOM) room.nids.clear();
      for (const userId of missing) room.nids.set(userId, found.get(userId));
      this.#rooms.set(roomNid, room);
    }
    const nids = users.map((userId) => room.nids.get(userId)).filter((nid) => nid !== undefined);
    const loaded = await loadNids(this.#ctx, nids);
    return nids.map((nid) => loaded.get(nid)).filter((stored) => stored !== undefined);
  }
}

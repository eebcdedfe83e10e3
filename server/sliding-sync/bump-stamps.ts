/** `bump_stamp` of rooms: "the last "proper" activity in the room". Read once for all members. */

import type { RoomsContext } from '#rooms/context.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { Lru } from '#storage/lru.ts';
import * as roomActivity from '#storage/room-activity.ts';
import type { JoinedRoom } from '../sync/sync-users.ts';

const TYPES: ReadonlySet<string> = new Set([
  'm.room.create',
  'm.room.message',
  'm.room.encrypted',
  'm.sticker',
  'm.call.invite',
  'm.poll.start',
  'org.matrix.msc3381.poll.start',
  'm.beacon_info',
  'org.matrix.msc3672.beacon_info',
]);
/** Events of a room that are looked through for one that is proper activity. */
const MOST_EVENTS = 1_000;
const MOST_ROOMS = 50_000;

interface Known {
  readonly stamp: number | undefined;
}

export class BumpStamps {
  readonly #ctx: RoomsContext;
  readonly #known = new Lru<number, Known & { asOf: number }>({ maxEntries: MOST_ROOMS });

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  /**
   * Undefined where none of the newest events is proper activity. `newest` are those that are told anyway, oldest first:
   * mostly the last of them is.
   */
  async of(room: JoinedRoom, newest: readonly StoredEvent[]): Promise<number | undefined> {
    const known = this.known(room, newest);
    if (known !== undefined) return known.stamp;
    const { roomNid } = room;
    const { db, streams } = this.#ctx;
    const upto = streams.upto();
    const stamp = await roomActivity.lastOfTypes(db, roomNid, { types: TYPES, upto, among: MOST_EVENTS });
    this.#known.set(roomNid, { stamp, asOf: upto });
    return stamp;
  }

  /** The same, where nothing is to be read. */
  known({ roomNid, keys }: JoinedRoom, newest: readonly StoredEvent[]): Known | undefined {
    const told = newest.findLast(({ event }) => TYPES.has(event.type))?.position;
    if (told !== undefined && told > 0) return { stamp: told };
    const { streams } = this.#ctx;
    const known = this.#known.get(roomNid);
    const upto = streams.upto();
    if (known === undefined) return undefined;
    if (known.asOf !== upto && streams.mayConcern(keys.any, known.asOf)) return undefined;
    known.asOf = upto;
    return known;
  }
}

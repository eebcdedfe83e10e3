/** The newest events of rooms, by their numeric ids, read once for all who count what is unread there. */

import type { RoomsContext } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';
import * as timeline from '#storage/timeline.ts';

/** The newest that a room has, oldest first. */
interface Tail {
  readonly events: readonly timeline.Placed[];
  /** All after this position are there, up to the other. */
  readonly from: number;
  readonly upto: number;
  /** `RoomCache.purgesOf`: with another one some may be gone. */
  readonly purges: number;
}

const MOST_ROOMS = 5_000;
/** About 100 bytes each. */
const MOST_EVENTS = 200_000;
const WEIGHT_OF_ROOM = 10;
/** Read at first: more where somebody has read less. */
const FIRST_EVENTS = 100;
const BEGINNING = 0;
/** Readings in a row, each of which another has begun. */
const MOST_ROUNDS = 5;

type RoomRef = { readonly roomNid: number; readonly roomId: string };
type Range = { readonly after: number; readonly upto: number };

export class RecentEvents {
  readonly #ctx: RoomsContext;
  readonly #most: number;
  readonly #reading = new Map<number, Promise<void>>();
  readonly #rooms = new Lru<number, Tail>({
    maxEntries: MOST_ROOMS,
    maxWeight: MOST_EVENTS,
    weigh: ({ events }) => events.length + WEIGHT_OF_ROOM,
  });

  /** `most`: of a range the newest so many are of interest. */
  constructor(ctx: RoomsContext, most: number) {
    this.#ctx = ctx;
    this.#most = most;
  }

  /** The events of a range, oldest first; of very many the newest. Undefined where they are not in memory. */
  known({ roomNid, roomId }: RoomRef, { after, upto }: Range): timeline.Placed[] | undefined {
    const tail = this.#rooms.get(roomNid);
    if (tail === undefined || tail.purges !== this.#ctx.rooms.purgesOf(roomNid)) return undefined;
    if (tail.upto < upto && this.#ctx.streams.mayConcern(`room:${roomId}`, tail.upto)) return undefined;
    const { events, from } = tail;
    const end = indexAfter(events, upto);
    const first = indexAfter(events, after);
    if (after < from && end < this.#most) return undefined;
    return events.slice(Math.max(first, end - this.#most), end);
  }

  /** The same, from the database where need be: once for all who ask at the same time. */
  async read(room: RoomRef, range: Range): Promise<readonly timeline.Placed[]> {
    const { roomNid } = room;
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const known = this.known(room, range);
      if (known !== undefined) return known;
      let reading = this.#reading.get(roomNid);
      if (reading === undefined) {
        reading = this.#read(roomNid, range).finally(() => this.#reading.delete(roomNid));
        this.#reading.set(roomNid, reading);
      }
      // What began for another may not reach so far: then the next round does.
      await reading;
    }
    const rows = await timeline.newest(this.#ctx.db, roomNid, { ...range, limit: this.#most });
    return rows.reverse();
  }

  async #read(roomNid: number, { after, upto }: Range): Promise<void> {
    const purges = this.#ctx.rooms.purgesOf(roomNid);
    const tail = this.#rooms.get(roomNid);
    const isSound = tail !== undefined && tail.purges === purges;
    if (isSound && tail.upto < upto && (await this.#readOn(roomNid, tail, upto))) return;
    const end = isSound ? Math.max(upto, tail.upto) : upto;
    for (const limit of [Math.min(FIRST_EVENTS, this.#most), this.#most]) {
      // The second time only where the first was too little.
      const rows = await timeline.newest(this.#ctx.db, roomNid, { after: BEGINNING, upto: end, limit });
      const events = rows.reverse();
      const from = events.length === limit ? (events[0]?.position ?? end) - 1 : BEGINNING;
      this.#rooms.set(roomNid, { events, from, upto: end, purges });
      if (from <= after) return;
    }
  }

  /** Reads what came since the last time; false where that is too much. */
  async #readOn(roomNid: number, tail: Tail, upto: number): Promise<boolean> {
    const range = { after: tail.upto, upto, limit: this.#most };
    const rows = await timeline.newest(this.#ctx.db, roomNid, range);
    if (rows.length === this.#most) return false;
    const events = [...tail.events, ...rows.reverse()];
    const dropped = Math.max(0, events.length - 2 * this.#most);
    const from = dropped === 0 ? tail.from : (events[dropped - 1]?.position ?? tail.from);
    this.#rooms.set(roomNid, { ...tail, events: events.slice(dropped), from, upto });
    return true;
  }
}

/** How many events are at or before the position: mostly nearly all. */
function indexAfter(events: readonly timeline.Placed[], position: number): number {
  let low = 0;
  let high = events.length;
  if ((events[high - 1]?.position ?? 0) <= position) return high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((events[middle]?.position ?? 0) <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}

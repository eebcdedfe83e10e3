/** What was counted of the unread events of rooms (`unread.ts`): in memory, and in checkpoints on disk. */

import type { UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';
import * as checkpoints from '#storage/unread-checkpoints.ts';
import { CountedEvents } from './counted-events.ts';

const MOST_ROOMS = 50_000;
/** Of unread events in memory, about 100 bytes each. */
const MOST_UNREAD = 1_000_000;
/** That of a room, and of the events by which it may grow until it is measured again. */
const WEIGHT_OF_ROOM = 25;
const MEASURED_EVERY = 20;
/** Events that are looked through again after a restart, at most. */
const UNWRITTEN = 200;

export class CountedRooms {
  readonly #ctx: RoomsContext;
  readonly #inMemory = new Lru<string, CountedEvents>({
    maxEntries: MOST_ROOMS,
    maxWeight: MOST_UNREAD,
    weigh: (counted) => counted.size + WEIGHT_OF_ROOM,
  });
  /** Of which there is no checkpoint, as was just found out: whoever did so asks for them next. */
  readonly #absent = new Lru<string, true>({ maxEntries: MOST_ROOMS });

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  /** What is in memory, by `unreadKey`. */
  known(key: string): CountedEvents | undefined {
    return this.#inMemory.get(key);
  }

  /** True where a room is in memory. */
  isKnown(roomNid: number, userId: UserId): boolean {
    return this.#inMemory.peek(unreadKey(roomNid, userId)) !== undefined;
  }

  /** True where it was just found out that there is no checkpoint. */
  isAbsent(key: string): boolean {
    return this.#absent.peek(key) === true;
  }

  /** True where a checkpoint is due, which is for `writeSometimes`. */
  isDue({ unwritten }: CountedEvents): boolean {
    return unwritten >= UNWRITTEN;
  }

  /** What is in memory or on disk. */
  async find(roomNid: number, userId: UserId): Promise<CountedEvents | undefined> {
    const key = unreadKey(roomNid, userId);
    const known = this.known(key);
    if (known !== undefined || this.#absent.delete(key)) return known;
    await this.prepare(userId, [roomNid]);
    this.#absent.delete(key);
    return this.known(key);
  }

  /** Reads at once what is on disk of some rooms, which will be asked for one after the other. */
  async prepare(userId: UserId, roomNids: readonly number[]): Promise<void> {
    const unknown = roomNids.filter((roomNid) => !this.isKnown(roomNid, userId));
    if (unknown.length === 0) return;
    // From before they are read: what is purged meanwhile is counted anew.
    const purges = unknown.map((roomNid) => this.#ctx.rooms.purgesOf(roomNid));
    const found = await checkpoints.ofRooms(this.#ctx.db, userId, unknown);
    for (const [index, roomNid] of unknown.entries()) {
      const json = found.get(roomNid);
      const counted = json && CountedEvents.fromJson(json);
      // Somebody else may have been faster, and have counted on.
      if (this.isKnown(roomNid, userId)) continue;
      if (counted === undefined) this.#absent.set(unreadKey(roomNid, userId), true);
      else {
        counted.purges = purges[index] ?? 0;
        this.#inMemory.set(unreadKey(roomNid, userId), counted);
      }
    }
  }

  /** Keeps what was counted, in place of what was before. */
  keep(roomNid: number, userId: UserId, counted: CountedEvents): void {
    const key = unreadKey(roomNid, userId);
    counted.measured = counted.size;
    this.#absent.delete(key);
    this.#inMemory.set(key, counted);
  }

  /** Keeps count of how much memory what is kept takes, where it has grown or shrunk. */
  measure(roomNid: number, userId: UserId, counted: CountedEvents): void {
    if (Math.abs(counted.size - counted.measured) > MEASURED_EVERY) this.keep(roomNid, userId, counted);
  }

  forget(roomNid: number, userId: UserId): void {
    this.#inMemory.delete(unreadKey(roomNid, userId));
  }

  async writeSometimes(roomNid: number, userId: UserId, counted: CountedEvents): Promise<void> {
    if (!this.isDue(counted)) return;
    counted.unwritten = 0;
    await this.#ctx.db.write('unread.checkpoint', (tx) =>
      checkpoints.set(tx, roomNid, userId, counted.toJson()),
    );
  }
}

/** One user in one room, as a key: to put it together costs as much as what is found by it, so it is done once. */
export function unreadKey(roomNid: number, userId: UserId): string {
  return `${roomNid} ${userId}`;
}

import { leave } from '#federation/membership.ts';
import type { RoomId, UserId } from '#keys/ids.ts';
import { getRoom, isInRoom, type Room } from '#rooms/room.ts';
import { currentStateEvent } from '#rooms/state.ts';
import * as memberships from '#storage/memberships.ts';
import * as users from '#storage/users.ts';
import { letsGuestsIn } from './guests.ts';

type GuestRoomsContext = Parameters<typeof leave>[0];

/** Each is watched; into more than these no guest is let. */
const MOST_ROOMS = 10_000;

/**
 * The rooms that guests of ours are in. "If the `m.room.guest_access` event is changed to stop this from being the
 * case, the server MUST set those users' `m.room.member` state to `leave`."
 */
export class GuestRooms {
  readonly #ctx: GuestRoomsContext;
  /** By room: what ends watching it. */
  readonly #watching = new Map<RoomId, () => void>();
  readonly #noticed = new Set<RoomId>();
  #work: Promise<unknown> = Promise.resolve();
  #isStopped = false;

  constructor(ctx: GuestRoomsContext) {
    this.#ctx = ctx;
  }

  /** Watches the rooms that guests are in, and looks at what changed while the server was stopped. */
  async start(): Promise<void> {
    for (const roomId of await users.roomsWithGuests(this.#ctx.db, MOST_ROOMS)) {
      this.#watch(roomId);
      this.#notice(roomId);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    for (const end of this.#watching.values()) end();
    await this.#work;
  }

  /** True where guests may join a room; it is watched from then on. Never for one that this server is not in. */
  async admit(roomId: RoomId): Promise<boolean> {
    const room = await getRoom(this.#ctx, roomId);
    if (room === undefined || !(await isInRoom(this.#ctx, room))) return false;
    if (!this.#watching.has(roomId) && this.#watching.size >= MOST_ROOMS) return false;
    this.#watch(roomId);
    return this.#isOpen(room);
  }

  async #isOpen({ roomNid }: Room): Promise<boolean> {
    const stored = await currentStateEvent(this.#ctx, roomNid, 'm.room.guest_access', '');
    return letsGuestsIn(stored?.event.content);
  }

  #watch(roomId: RoomId): void {
    if (this.#watching.has(roomId)) return;
    const end = this.#ctx.streams.subscribe(`state:${roomId}`, () => this.#notice(roomId));
    this.#watching.set(roomId, end);
  }

  /** The state of the room may have changed. */
  #notice(roomId: RoomId): void {
    if (this.#isStopped || this.#noticed.has(roomId)) return;
    this.#noticed.add(roomId);
    this.#work = this.#work
      .then(() => this.#tend(roomId))
      .catch((error: unknown) =>
        this.#ctx.log.error({ err: error, roomId }, 'guests could not be sent away'),
      );
  }

  async #tend(roomId: RoomId): Promise<void> {
    this.#noticed.delete(roomId);
    const room = this.#isStopped ? undefined : await getRoom(this.#ctx, roomId);
    if (room === undefined || (await this.#isOpen(room))) return;
    for (const userId of await this.#guestsIn(room)) {
      // One after the other: nobody waits for it, and others want to write too.
      const result = await leave(this.#ctx, { userId, roomId });
      if (result.kind !== 'ok') this.#ctx.log.warn({ roomId, userId, ...result }, 'a guest could not leave');
    }
  }

  async #guestsIn({ roomNid }: Room): Promise<UserId[]> {
    const local = await memberships.joinedLocalUsers(this.#ctx.db, roomNid, this.#ctx.serverName);
    return users.guestsAmong(this.#ctx.db, local);
  }
}

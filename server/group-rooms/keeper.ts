/**
 * Keeps the members of groups in the rooms that are bound to them.
 *
 * 1. Whoever changes a group notes, in the same write, which rooms are to be looked at.
 * 2. One room after the other: members who have yet to come are brought in, levels are given, and who is in no group of
 *    the room any more is put out. Each user is noted as soon as it is done, so that a server that stops in the middle
 *    goes on where it was.
 * 3. A room where something cannot be done is tried again, later and later.
 *
 * Who leaves by themselves, or is put out in the room, is not brought back until they come into a group again.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { FederationContext } from '#federation/context.ts';
import { DueTimer } from '#keys/due-timer.ts';
import type { RoomId, UserId } from '#keys/ids.ts';
import { Lanes } from '#keys/lanes.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import * as groupRooms from '#storage/group-rooms.ts';
import { type Acting, actingIn } from './acting.ts';
import { bringIn, giveLevels, putOut } from './members.ts';
import { roomsOfSpace } from './space.ts';

type Work = groupRooms.Work;

const USERS_AT_ONCE = 50;
/** They are written together. */
const LANES = 10;
const LEVELS_AT_ONCE = 1_000;
/** Between two rooms, and between the users of one: others want to write, too. */
const PAUSE_MS = 10;
const FIRST_RETRY_MS = 30_000;
const LAST_RETRY_MS = 6 * 3_600_000;
const SPACE_LINGER_MS = 1_000;
const PAGE = 500;
const MOST_BINDINGS = 20_000;
const MOST_PROBLEM_CHARACTERS = 500;
const NOTHING = { rooms: [], spaces: [] };
const NOBODY = 'nobody of this server is in the room';

export class GroupRoomKeeper {
  readonly #ctx: FederationContext;
  readonly #stopping = new AbortController();
  readonly #timer: DueTimer;
  /** Ends of the watches over spaces, by the space and then by its rooms that are spaces. */
  readonly #watching = new Map<RoomId, readonly (() => void)[]>();
  readonly #spaceTimers = new Map<RoomId, NodeJS.Timeout>();
  #isStarted = false;
  #isAsked = false;
  #running: Promise<void> | undefined;
  #spaceWork: Promise<void> = Promise.resolve();

  constructor(ctx: FederationContext) {
    this.#ctx = ctx;
    this.#timer = new DueTimer({ clock: ctx.clock, wake: () => this.wake() });
  }

  /** Goes on with what is left to do, and watches the spaces. */
  async start(): Promise<void> {
    this.#isStarted = true;
    let last: groupRooms.Binding | undefined;
    for (let isMore = true; isMore; ) {
      // Page by page, each after the last.
      const page = await groupRooms.bindings(this.#ctx.db, last, PAGE);
      for (const { roomId, withChildren } of page) if (withChildren) this.#noticeSpace(roomId);
      last = page.at(-1);
      isMore = page.length === PAGE;
    }
    this.wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#timer.stop();
    for (const timer of this.#spaceTimers.values()) clearTimeout(timer);
    for (const ends of this.#watching.values()) for (const end of ends) end();
    await this.#spaceWork;
    await this.#running;
  }

  /** Binds a group to a room; false where as many are bound as may be. */
  async bind(binding: groupRooms.Binding): Promise<boolean> {
    const { groupId, roomId, withChildren } = binding;
    const bound = await this.#ctx.db.write('groupRooms.bind', (tx) =>
      bindIn(tx, binding, this.#ctx.clock.now()),
    );
    if (!bound) return false;
    if (withChildren) await this.#expand(roomId);
    else {
      await this.#ctx.db.write('groupRooms.setTargets', (tx) =>
        groupRooms.setTargets(tx, { groupId, roomId }, { rooms: [roomId], now: this.#ctx.clock.now() }),
      );
    }
    this.wake();
    return true;
  }

  /** Lets a room go: who is in it stays. False where the group was not bound to it. */
  async unbind(groupId: string, roomId: RoomId): Promise<boolean> {
    const now = this.#ctx.clock.now();
    const wasBound = await this.#ctx.db.write('groupRooms.unbind', (tx) =>
      groupRooms.unbind(tx, groupId, roomId, now),
    );
    this.wake();
    return wasBound;
  }

  /** A room took the place of another: its groups come along. */
  async follow(from: RoomId, to: RoomId): Promise<void> {
    for (const binding of await groupRooms.comingTo(this.#ctx.db, from)) {
      // One by one: a room has few.
      if (binding.roomId !== from) continue;
      await this.bind({ ...binding, roomId: to });
      await this.unbind(binding.groupId, from);
    }
  }

  /** There may be rooms to look at. */
  wake(): void {
    this.#isAsked = true;
    if (!this.#isStarted || this.#stopping.signal.aborted) return;
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    this.#timer.clear();
    const { signal } = this.#stopping;
    try {
      while (!signal.aborted) {
        this.#isAsked = false;
        // Room by room, each when the one before is done.
        const work = await groupRooms.next(this.#ctx.db);
        if (work !== undefined && work.dueTs <= this.#ctx.clock.now()) await this.#tend(work);
        else if (!this.#isAsked) {
          if (work !== undefined) this.#timer.set(work.dueTs);
          return;
        }
        await sleep(PAUSE_MS);
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#ctx.log.error({ err: error }, 'the rooms of groups could not be looked at: it is tried again');
      this.#timer.set(this.#ctx.clock.now() + FIRST_RETRY_MS);
    } finally {
      this.#running = undefined;
    }
  }

  async #tend(work: Work): Promise<void> {
    const { roomId } = work;
    const { db, clock, log } = this.#ctx;
    const problem = await this.#bringUpToDate(roomId).catch((error: unknown) => {
      log.error({ err: error, roomId }, 'a room of groups could not be looked at');
      return 'it failed: see the log';
    });
    if (this.#stopping.signal.aborted) return;
    if (problem === undefined) {
      await db.write('groupRooms.done', (tx) => groupRooms.done(tx, work));
      return;
    }
    if (work.problem !== problem) log.warn({ roomId, problem }, 'a room cannot be kept as its groups are');
    const pause = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(work.failures, 20));
    const outcome = { dueTs: clock.now() + pause, problem: problem.slice(0, MOST_PROBLEM_CHARACTERS) };
    await db.write('groupRooms.failed', (tx) => groupRooms.failed(tx, work, outcome));
  }

  /** Undefined where all is as it should be, else the first thing that is not. */
  async #bringUpToDate(roomId: RoomId): Promise<string | undefined> {
    const room = await getRoom(this.#ctx, roomId);
    const acting = room && (await actingIn(this.#ctx, room));
    if (room === undefined || acting === undefined) {
      const wanted = await groupRooms.comingTo(this.#ctx.db, roomId);
      return wanted.length === 0 ? undefined : NOBODY;
    }
    const problems = [
      await this.#eachOf(room, groupRooms.toBring, (userId) => this.#bring(room, acting, userId)),
      await this.#giveLevels(room),
      await this.#eachOf(room, groupRooms.toRelease, async (userId) => this.#release(room, userId)),
    ];
    return problems.find((problem) => problem !== undefined);
  }

  /** Does something for each user that a list has, some at a time. The first problem, if there is one. */
  async #eachOf(
    { roomId }: Room,
    list: typeof groupRooms.toBring,
    act: (userId: UserId) => Promise<string | undefined>,
  ): Promise<string | undefined> {
    let problem: string | undefined;
    const lanes = new Lanes(LANES, USERS_AT_ONCE);
    for (let after: string | undefined = ''; after !== undefined; ) {
      if (this.#stopping.signal.aborted) return problem;
      // Each page after the last one of the one before: with whom it did not work is not tried twice.
      const page: UserId[] = await list(this.#ctx.db, roomId, after, USERS_AT_ONCE);
      const found = await Promise.all(page.map((userId) => lanes.run(() => act(userId))));
      problem ??= found.find((each) => each !== undefined);
      after = page.length < USERS_AT_ONCE ? undefined : page.at(-1);
      if (after !== undefined) await sleep(PAUSE_MS);
    }
    return problem;
  }

  async #bring(room: Room, acting: Acting, userId: UserId): Promise<string | undefined> {
    if (this.#stopping.signal.aborted) return undefined;
    const problem = await bringIn(this.#ctx, room, { acting, userId });
    if (problem !== undefined) return problem;
    await this.#ctx.db.write('groupRooms.hold', (tx) => groupRooms.hold(tx, room.roomId, userId));
    return undefined;
  }

  async #giveLevels(room: Room): Promise<string | undefined> {
    const { db } = this.#ctx;
    const changes = await groupRooms.powersToChange(db, room.roomId, LEVELS_AT_ONCE);
    if (changes.length === 0) return undefined;
    // Read only now: while people were brought in, somebody may have set other levels.
    const acting = await actingIn(this.#ctx, room);
    if (acting === undefined) return NOBODY;
    const problem = await giveLevels(this.#ctx, room, { acting, changes });
    if (problem !== undefined) return problem;
    await db.write('groupRooms.setPowers', async (tx) => {
      for (const { userId, wanted } of changes) {
        await groupRooms.setPower(tx, room.roomId, { userId, power: wanted });
      }
    });
    return changes.length < LEVELS_AT_ONCE ? undefined : await this.#giveLevels(room);
  }

  async #release(room: Room, userId: UserId): Promise<string | undefined> {
    if (this.#stopping.signal.aborted) return undefined;
    // Who acts may have been put out a moment ago.
    const acting = await actingIn(this.#ctx, room);
    const problem = acting === undefined ? undefined : await putOut(this.#ctx, room, { acting, userId });
    if (problem !== undefined) return problem;
    await this.#ctx.db.write('groupRooms.release', (tx) => groupRooms.release(tx, room.roomId, [userId]));
    return undefined;
  }

  /** The rooms of a space may have changed. */
  #noticeSpace(spaceId: RoomId): void {
    if (this.#stopping.signal.aborted || this.#spaceTimers.has(spaceId)) return;
    const timer = setTimeout(() => {
      this.#spaceTimers.delete(spaceId);
      this.#spaceWork = this.#spaceWork
        .then(() => this.#expand(spaceId))
        .then(() => this.wake())
        .catch((error: unknown) =>
          this.#ctx.log.error({ err: error, spaceId }, 'the rooms of a space could not be read'),
        );
    }, SPACE_LINGER_MS).unref();
    this.#spaceTimers.set(spaceId, timer);
  }

  /** Brings the bindings of a space to its rooms, and watches it for others. */
  async #expand(spaceId: RoomId): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    const earlier = this.#watching.get(spaceId) ?? [];
    const watch = (each: RoomId) =>
      this.#ctx.streams.subscribe(`state:${each}`, () => this.#noticeSpace(spaceId));
    // Before it is read: what changes meanwhile is read again.
    this.#watching.set(spaceId, [...earlier, watch(spaceId)]);
    const bound = await this.#boundWithRooms(spaceId);
    const { rooms, spaces } = bound.length === 0 ? NOTHING : await roomsOfSpace(this.#ctx, spaceId);
    for (const end of this.#watching.get(spaceId) ?? []) end();
    this.#watching.delete(spaceId);
    if (bound.length === 0) return;
    this.#watching.set(spaceId, spaces.map(watch));
    await this.#ctx.db.write('groupRooms.setTargets', async (tx) => {
      const now = this.#ctx.clock.now();
      for (const binding of bound) await groupRooms.setTargets(tx, binding, { rooms, now });
    });
  }

  async #boundWithRooms(spaceId: RoomId): Promise<groupRooms.Binding[]> {
    const all = await groupRooms.comingTo(this.#ctx.db, spaceId);
    return all.filter(({ roomId, withChildren }) => roomId === spaceId && withChildren);
  }
}

/** Binds a group to a room in a write, of a running server or not; false where as many are bound as may be. */
export async function bindIn(
  tx: Parameters<typeof groupRooms.bind>[0],
  binding: groupRooms.Binding,
  now: number,
): Promise<boolean> {
  const known = await groupRooms.binding(tx, binding.groupId, binding.roomId);
  if (known === undefined && (await groupRooms.countBindings(tx)) >= MOST_BINDINGS) return false;
  await groupRooms.bind(tx, binding, now);
  return true;
}

/**
 * Events that were answered for, and of which something could not be asked for, be it the keys that they are signed
 * with or the signature of the room's policy server: a server was away or being left alone, or time or budget were spent.
 * Nobody sends them again, so they have further turns, beside the line of their room, which goes on meanwhile.
 *
 * 1. A turn comes after each of `WAITS_MS`. What an event lacks is fetched as for those that have just come. Where
 *    servers answer that they do not have it, and after the last turn, it is given up.
 * 2. A turn more comes when the server that handed the event over shows a sign of life after an outage, and when the
 *    event is handed over again. Only that server is asked: one that comes and goes costs others nothing.
 * 3. An event that was fetched for the sake of a later one is known by its next turn, and the row goes.
 */

import { DueTimer } from '#keys/due-timer.ts';
import type { EventId, RoomId, ServerName } from '#keys/ids.ts';
import type { Tx } from '#storage/database.ts';
import * as postponedEvents from '#storage/postponed-events.ts';
import * as stagedEvents from '#storage/staged-events.ts';
import { roomWeAreIn } from '../access.ts';
import { QuietLog } from '../quiet-log.ts';
import { pull } from './pull.ts';
import { RoomWorkers } from './room-workers.ts';
import { newLimits, type PullContext } from './source.ts';
import { verifyPdu } from './verify.ts';

const WAITS_MS = [5_000, 30_000, 2 * 60_000, 10 * 60_000, 60 * 60_000, 6 * 60 * 60_000] as const;
/** Whoever sends events whose past nobody tells fills no more than this. */
const MOST = { inRoom: 100, ofOrigin: 20 };
const ROOMS_AT_ONCE = 16;
const ROOMS_PER_PAGE = 500;
const RETRY_MS = 60_000;

type Row = Omit<stagedEvents.StagedRow, 'json'>;

/** `over`: it is received, or never will be. */
type Outcome =
  | { readonly kind: 'over' }
  | { readonly kind: 'missing' | 'unanswered'; readonly missing: readonly EventId[] };

export class Postponed {
  readonly #ctx: PullContext;
  readonly #log: QuietLog;
  readonly #stop = new AbortController();
  readonly #timer: DueTimer;
  readonly #workers = new RoomWorkers({
    atOnce: ROOMS_AT_ONCE,
    signal: this.#stop.signal,
    work: (roomId) => this.#work(roomId),
    onError: (err, roomId) => {
      this.#ctx.log.error({ err, roomId }, 'postponed events were not received');
      this.#timer.set(this.#ctx.clock.now() + RETRY_MS);
    },
  });
  readonly #calls = new Set<Promise<void>>();
  #unsubscribe: (() => void) | undefined;
  #looking: Promise<void> | undefined;
  #isAwaited = false;

  constructor(ctx: PullContext) {
    this.#ctx = ctx;
    this.#log = new QuietLog(ctx);
    this.#timer = new DueTimer({ clock: ctx.clock, wake: () => this.look() });
  }

  /** Takes up what the last process left. */
  start(): void {
    this.#unsubscribe = this.#ctx.backoff.onRecovery((server) => this.#callSoon(server));
    this.look();
  }

  /** Ends the turns under way, which count for nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#unsubscribe?.();
    this.#timer.stop();
    await Promise.all(this.#calls);
    await this.#looking;
    await this.#workers.settled();
  }

  /** Takes an event out of its room's line, until its turn comes. */
  async add(row: Row): Promise<void> {
    await this.#ctx.db.write('federation.postpone', async (tx) => {
      const turn = this.#firstTurn();
      const givenUp = await postponedEvents.postpone(tx, row, turn, MOST);
      tx.afterCommit(() => this.#added(row, turn, givenUp));
    });
  }

  /** Adds an event that cannot be verified yet: it has not been in its room's line. */
  async addUnverified(tx: Tx, event: stagedEvents.StagedEvent): Promise<void> {
    const turn = this.#firstTurn();
    const givenUp = await postponedEvents.insert(tx, event, turn, MOST);
    tx.afterCommit(() => this.#added(event, turn, givenUp));
  }

  #firstTurn(): postponedEvents.Turn {
    return { turns: 1, turnTs: this.#ctx.clock.now() + WAITS_MS[0] };
  }

  #added(
    { roomId, eventId, origin }: Omit<stagedEvents.StagedEvent, 'json'>,
    { turnTs }: postponedEvents.Turn,
    givenUp: EventId | undefined,
  ): void {
    this.#ctx.log.debug(
      { roomId, eventId, origin },
      'event postponed: what it refers to could not be asked for',
    );
    if (givenUp !== undefined) {
      this.#log.warn({ roomId, eventId: givenUp, origin }, 'event given up: too many wait for their past');
    }
    this.#timer.set(turnTs);
  }

  /** Looks for events whose turn has come. */
  look(): void {
    this.#isAwaited = true;
    if (this.#stop.signal.aborted) return;
    this.#looking ??= this.#look()
      .catch((error: unknown) => {
        this.#ctx.log.error({ err: error }, 'postponed events were not looked for');
        this.#timer.set(this.#ctx.clock.now() + RETRY_MS);
      })
      .finally(() => {
        this.#looking = undefined;
        if (this.#isAwaited) this.look();
      });
  }

  async #look(): Promise<void> {
    this.#isAwaited = false;
    const { db, clock } = this.#ctx;
    const now = clock.now();
    for (let after: RoomId | undefined | '' = ''; after !== undefined && !this.#stop.signal.aborted; ) {
      // Page by page, each after the last.
      const rooms: RoomId[] = await postponedEvents.dueRooms(db, { now, after, limit: ROOMS_PER_PAGE });
      for (const roomId of rooms) this.#workers.wake(roomId);
      after = rooms.length < ROOMS_PER_PAGE ? undefined : rooms.at(-1);
    }
    // Those whose turn has come are in work.
    const next = await postponedEvents.nextTurn(db, now);
    if (next !== undefined) this.#timer.set(next);
  }

  #callSoon(server: ServerName): void {
    if (this.#stop.signal.aborted) return;
    const call = this.#call(server)
      .catch((error: unknown) => {
        this.#ctx.log.error({ err: error, server }, 'postponed events were not called');
      })
      .finally(() => this.#calls.delete(call));
    this.#calls.add(call);
  }

  /** The turn of what a server handed over comes at once: it is there again. */
  async #call(server: ServerName): Promise<void> {
    const { db } = this.#ctx;
    if (!(await postponedEvents.hasOf(db, server))) return;
    await db.write('federation.callPostponed', (tx) => postponedEvents.call(tx, server));
    this.look();
  }

  async #work(roomId: RoomId): Promise<void> {
    const { db, clock } = this.#ctx;
    this.#workers.looked(roomId);
    const rows = await postponedEvents.due(db, roomId, { now: clock.now(), limit: MOST.inRoom });
    const called = rows.filter(({ isCalled }) => isCalled).map(({ seq }) => seq);
    // Before their turn: who calls meanwhile is heard.
    if (called.length > 0) {
      await db.write('federation.postponedAnswered', (tx) => postponedEvents.answered(tx, called));
    }
    for (const row of rows) {
      // In order, and never two at once: what one of them fetches the others need, too.
      if (this.#stop.signal.aborted) return;
      await this.#takeTurn(row);
    }
  }

  async #takeTurn(row: postponedEvents.PostponedRow): Promise<void> {
    const { clock, db } = this.#ctx;
    const { seq, roomId, eventId, origin } = row;
    const isCounted = row.turnTs <= clock.now();
    const outcome = await this.#receive(row, { isAlone: !isCounted }).catch((error: unknown): Outcome => {
      this.#ctx.log.error({ err: error, roomId, eventId }, 'a postponed event could not be received');
      return { kind: 'unanswered', missing: [] };
    });
    if (this.#stop.signal.aborted) return;
    // One server was asked: the next turn that counts decides.
    if (outcome.kind !== 'over' && !isCounted) return;
    const wait = WAITS_MS[row.turns];
    if (outcome.kind === 'unanswered' && wait !== undefined) {
      const turn = { turns: row.turns + 1, turnTs: clock.now() + wait };
      await db.write('federation.postponeAgain', (tx) => postponedEvents.postponeAgain(tx, seq, turn));
      this.#timer.set(turn.turnTs);
      return;
    }
    if (outcome.kind !== 'over') {
      const { kind, missing } = outcome;
      const fields = { roomId, eventId, origin, missing };
      this.#log.warn(
        fields,
        kind === 'missing'
          ? 'event given up: what it refers to cannot be had'
          : 'event given up: what it refers to could not be asked for',
      );
    }
    await db.write('federation.unstage', (tx) => stagedEvents.remove(tx, [seq]));
  }

  async #receive(
    row: postponedEvents.PostponedRow,
    { isAlone }: { readonly isAlone: boolean },
  ): Promise<Outcome> {
    const { roomId, eventId, origin, json } = row;
    // Whoever has left a room meanwhile does not hear what happens there.
    const room = await roomWeAreIn(this.#ctx, roomId);
    if (room === undefined) return { kind: 'over' };
    // Each has limits of its own: it may be because of others that it waits.
    const limits = newLimits(this.#stop.signal);
    const verdict = await verifyPdu(this.#ctx, room.rules, json, limits.signal);
    if (verdict.kind === 'dropped') {
      if (verdict.unanswered !== undefined) return { kind: 'unanswered', missing: [] };
      this.#log.warn({ roomId, eventId, reason: verdict.reason }, 'postponed event dropped');
      return { kind: 'over' };
    }
    const received = await pull(this.#ctx, room, verdict.event, { origin, isAlone, ...limits });
    const { isUnanswered } = received;
    const missing =
      received.kind === 'missing' ? [...received.auth, ...received.prev].slice(0, 5) : undefined;
    if (missing === undefined && !isUnanswered) return { kind: 'over' };
    return { kind: isUnanswered ? 'unanswered' : 'missing', missing: missing ?? [] };
  }
}

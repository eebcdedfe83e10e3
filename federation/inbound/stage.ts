/**
 * Events that other servers have handed over: on disk before they are answered for.
 *
 * 1. Where nothing waits in a room, those that simply go on with it are received at once, together: they are on disk in
 *    their places.
 * 2. The others are staged, and received in their order by one worker for each room: again those that simply go on with
 *    the room together, the others one by one. After a restart the workers go on where they were.
 */

import { setTimeout as pause } from 'node:timers/promises';
import type { EventId, RoomId, ServerName } from '#keys/ids.ts';
import type { Event } from '#rooms/event.ts';
import { hasContentHash } from '#rooms/hashes.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { receiveRun } from '#rooms/receive-run.ts';
import type { Room } from '#rooms/room.ts';
import type { Tx } from '#storage/database.ts';
import * as inboundTransactions from '#storage/inbound-transactions.ts';
import { Lru } from '#storage/lru.ts';
import * as postponedEvents from '#storage/postponed-events.ts';
import * as stagedEvents from '#storage/staged-events.ts';
import { roomWeAreIn } from '../access.ts';
import type { Inbound } from '../context.ts';
import { withSignatures } from '../policy/ask-each.ts';
import { QuietLog } from '../quiet-log.ts';
import { Postponed } from './postponed.ts';
import { pull } from './pull.ts';
import { RoomWorkers } from './room-workers.ts';
import { newLimits, type PullContext, type Source } from './source.ts';
import { verifyEach } from './verify.ts';

const ROOMS_AT_ONCE = 64;
const EVENTS_AT_ONCE = 50;
const ROOMS_PER_PAGE = 1_000;
/** More events than this waiting in a room: the servers that send them have to wait. */
const MOST_WAITING = 2_000;
const MOST_FAILURES = 3;
const FAILURE_PAUSE_MS = 1_000;
const MOST_IN_MEMORY = 2_000;

export class Stage implements Inbound {
  readonly #ctx: PullContext;
  readonly #log: QuietLog;
  /** What cannot be received for lack of an answer leaves the line. */
  readonly #postponed: Postponed;
  readonly #stop = new AbortController();
  readonly #workers = new RoomWorkers({
    atOnce: ROOMS_AT_ONCE,
    signal: this.#stop.signal,
    work: (roomId) => this.#work(roomId),
    onError: (err, roomId) => {
      this.#ctx.log.error({ err, roomId }, 'staged events were not received');
    },
  });
  readonly #waiting = new Map<RoomId, number>();
  /** Those that came since the start need not be verified again. */
  readonly #verified = new Lru<EventId, VerifiedEvent>({ maxEntries: MOST_IN_MEMORY });
  #starting: Promise<void> | undefined;

  constructor(ctx: PullContext) {
    this.#ctx = ctx;
    this.#log = new QuietLog(ctx);
    this.#postponed = new Postponed(ctx);
  }

  /** Takes up what the last process left. */
  start(): void {
    this.#starting = this.#resume().catch((error: unknown) => {
      this.#ctx.log.error({ err: error }, 'staged events were not resumed');
    });
    this.#postponed.start();
  }

  isFull(roomId: RoomId): boolean {
    return (this.#waiting.get(roomId) ?? 0) >= MOST_WAITING;
  }

  async stage(transaction: Parameters<Inbound['stage']>[0]): Promise<void> {
    const { origin, txnId, answer, events, unverified, beside } = transaction;
    const now = this.#ctx.clock.now();
    const remember = (tx: Tx) => inboundTransactions.remember(tx, { origin, txnId, answer }, now);
    // Together with what it brings, where that is one write.
    const isOneWrite = beside === undefined && unverified.length === 0 && isOfOneRoom(events);
    const receiving = this.#receiveAtOnce(events, isOneWrite ? remember : undefined);
    // Neither is under way any more when the other has failed.
    await Promise.allSettled([receiving, beside]);
    const left = await receiving;
    await beside;
    if (isOneWrite && left.length === 0) return;
    const staged = left.map((event) => stagedFrom(event, origin));
    const called = await this.#ctx.db.write('federation.stage', async (tx) => {
      await remember(tx);
      for (const event of unverified) await this.#postponed.addUnverified(tx, stagedFrom(event, origin));
      const again = await stagedEvents.insert(tx, staged);
      return again.length === 0 ? 0 : callAgain(tx, again);
    });
    if (called > 0) this.#postponed.look();
    for (const event of left) {
      this.#verified.set(event.eventId, event);
      this.#waiting.set(event.roomId, (this.#waiting.get(event.roomId) ?? 0) + 1);
    }
    for (const roomId of new Set(staged.map((event) => event.roomId))) this.#workers.wake(roomId);
  }

  /**
   * Receives what simply goes on with rooms in which nothing waits, and answers what is left. That takes no longer than a
   * write: what may take longer is not waited for. `whole` is written together with all of a room.
   */
  async #receiveAtOnce(
    events: readonly VerifiedEvent[],
    whole: ((tx: Tx) => Promise<void>) | undefined,
  ): Promise<VerifiedEvent[]> {
    const left = [...Map.groupBy(events, ({ roomId }) => roomId)].map(async ([roomId, incoming]) => {
      if (this.#workers.has(roomId) || this.#ctx.roomLocks.isBusy(roomId)) return incoming;
      const room = await roomWeAreIn(this.#ctx, roomId);
      if (room === undefined) return incoming;
      // What keeps them from being received, one of several events perhaps, is for the room's worker to deal with.
      const also = async (tx: Tx, count: number) => {
        if (count === incoming.length) await whole?.(tx);
      };
      const taken = await receiveRun(this.#ctx, room, incoming, also).catch((error: unknown) => {
        this.#ctx.log.warn({ err: error, roomId }, 'events were not received at once');
        return 0;
      });
      return incoming.slice(taken);
    });
    return (await Promise.all(left)).flat();
  }

  /** Ends the workers; what they have not finished stays on disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#starting;
    await this.#workers.settled();
    await this.#postponed[Symbol.asyncDispose]();
  }

  async #resume(): Promise<void> {
    let after: string | undefined = '';
    while (after !== undefined && !this.#stop.signal.aborted) {
      // Page by page, each after the last.
      const rooms: { roomId: RoomId; events: number }[] = await stagedEvents.rooms(
        this.#ctx.db,
        after,
        ROOMS_PER_PAGE,
      );
      for (const { roomId, events } of rooms) {
        this.#waiting.set(roomId, (this.#waiting.get(roomId) ?? 0) + events);
        this.#workers.wake(roomId);
      }
      after = rooms.at(-1)?.roomId;
    }
  }

  async #work(roomId: RoomId): Promise<void> {
    const { signal } = this.#stop;
    let failures = 0;
    let most = EVENTS_AT_ONCE;
    while (!signal.aborted) {
      this.#workers.looked(roomId);
      // Batch by batch, in the order in which they came.
      const batch = await stagedEvents.next(this.#ctx.db, roomId, EVENTS_AT_ONCE);
      if (batch.length === 0) break;
      const { received, done, failure } = await this.#receiveBatch(roomId, batch, most);
      // One by one from there, as one of several is to blame.
      most = failure === undefined ? EVENTS_AT_ONCE : 1;
      if (signal.aborted && done.length === 0) return;
      failures = received + done.length > 0 ? 0 : failures + 1;
      const [first] = batch;
      if (failure !== undefined) {
        const isGivenUp = failures >= MOST_FAILURES && first !== undefined;
        if (isGivenUp) done.push(first.seq);
        this.#ctx.log.error({ err: failure, roomId, isGivenUp }, 'a staged event could not be received');
      }
      if (done.length > 0) await this.#remove(roomId, done);
      if (failure !== undefined) await pause(FAILURE_PAUSE_MS, undefined, { signal, ref: false }).catch(noop);
      else if (this.#waiting.get(roomId) === 0) break;
    }
    this.#waiting.delete(roomId);
  }

  /**
   * Receives a batch in order, `most` at a time, up to the first that our own fault keeps from it. Says how many are
   * received and no longer staged, and which others have had their turn.
   */
  async #receiveBatch(
    roomId: RoomId,
    batch: readonly stagedEvents.StagedRow[],
    most: number,
  ): Promise<{ received: number; done: number[]; failure: unknown }> {
    const limits = newLimits(this.#stop.signal);
    const done: number[] = [];
    let received = 0;
    try {
      const { left, unanswered } = await this.#verifiedOf(roomId, batch, limits.signal);
      // What was cut short by the end of the process is not done.
      if (this.#stop.signal.aborted) return { received, done, failure: undefined };
      // Those that were dropped have had their turn.
      done.push(...seqsWithout(batch, [...left, ...unanswered]));
      for (const row of unanswered) received += await this.#postpone(row);
      const known = await roomWeAreIn(this.#ctx, roomId);
      if (known !== undefined) await this.#sign(known, left);
      let reach = most;
      // The first of those that are left was not simple: no run begins with it.
      let isCut = false;
      while (left.length > 0 && !this.#stop.signal.aborted) {
        // In order, and never two at once in a room.
        const room = await roomWeAreIn(this.#ctx, roomId);
        const tried: number = isCut ? 0 : Math.min(reach, left.length);
        const taken: number =
          room === undefined || tried === 0 ? 0 : await this.#receiveRun(room, left, tried);
        const [first] = left;
        let isOver = true;
        // Whoever has left a room meanwhile does not hear what happens there.
        if (taken === 0 && room !== undefined && first !== undefined) {
          isOver = await this.#receive(room, first.event, { origin: first.origin, ...limits });
          if (this.#stop.signal.aborted) break;
          if (!isOver) received += await this.#postpone({ ...first, roomId, eventId: first.event.eventId });
        }
        // Where few are simple, it is not worth while to look at many.
        if (tried > 0) reach = taken === 0 ? 1 : Math.min(taken * 4, most);
        isCut = taken > 0 && taken < tried;
        received += taken;
        const gone = left.splice(0, Math.max(taken, 1));
        if (taken === 0 && isOver) done.push(...gone.map(({ seq }) => seq));
      }
      return { received, done, failure: undefined };
    } catch (failure) {
      return { received, done, failure };
    }
  }

  /** Asks for all of a batch together, so that a policy server which does not answer holds it up once. */
  async #sign(room: Room, rows: VerifiedRow[]): Promise<void> {
    const events = rows.map(({ event }) => event);
    const signed = await withSignatures(this.#ctx, room, events);
    for (const [index, row] of rows.entries()) rows[index] = { ...row, event: signed[index] ?? row.event };
  }

  /** Receives as many as simply go on with the room, which are staged no longer, and says how many. */
  async #receiveRun(room: Room, rows: readonly VerifiedRow[], most: number): Promise<number> {
    const taken = await receiveRun(this.#ctx, room, eventsOf(rows, most), (tx, count) =>
      stagedEvents.remove(
        tx,
        rows.slice(0, count).map(({ seq }) => seq),
      ),
    );
    if (taken > 0) this.#noLongerWait(room.roomId, taken);
    return taken;
  }

  /** False where it is to have another turn. */
  async #receive(room: Room, event: VerifiedEvent, source: Source): Promise<boolean> {
    const received = await pull(this.#ctx, room, event, source);
    const fields = { roomId: room.roomId, eventId: event.eventId, origin: source.origin };
    if (received.isUnanswered) return false;
    if (received.kind === 'missing') {
      const missing = [...received.auth, ...received.prev].slice(0, 5);
      this.#log.warn({ ...fields, missing }, 'event given up: what it refers to cannot be had');
    } else if (received.kind === 'rejected' || received.kind === 'soft_failed') {
      this.#ctx.log.debug({ ...fields, kind: received.kind, reason: received.reason }, 'event not accepted');
    }
    return true;
  }

  /** Takes a row out of the line; answers how many that are. */
  async #postpone(row: Omit<stagedEvents.StagedRow, 'json'>): Promise<number> {
    await this.#postponed.add(row);
    this.#noLongerWait(row.roomId, 1);
    return 1;
  }

  /**
   * The rows with their events: those that came before the last start are verified again, all together. `unanswered`
   * are those that nobody gave the keys of.
   */
  async #verifiedOf(
    roomId: RoomId,
    rows: readonly stagedEvents.StagedRow[],
    signal: AbortSignal,
  ): Promise<{ left: VerifiedRow[]; unanswered: stagedEvents.StagedRow[] }> {
    const events = new Map<number, VerifiedEvent>();
    const unverified: stagedEvents.StagedRow[] = [];
    const unanswered: stagedEvents.StagedRow[] = [];
    for (const row of rows) {
      const event = this.#verified.get(row.eventId);
      // v1, v2: another event may have come under the same id since.
      if (event?.json === row.json) events.set(row.seq, event);
      else unverified.push(row);
    }
    const room = unverified.length === 0 ? undefined : await roomWeAreIn(this.#ctx, roomId);
    if (room !== undefined) {
      const texts = unverified.map(({ json }) => json);
      const verdicts = await verifyEach(this.#ctx, room.rules, texts, signal);
      for (const [index, row] of unverified.entries()) {
        const { seq, eventId } = row;
        const verdict = verdicts[index];
        if (verdict?.kind === 'verified') events.set(seq, verdict.event);
        else if (verdict?.unanswered !== undefined) unanswered.push(row);
        else this.#log.warn({ roomId, eventId, reason: verdict?.reason }, 'staged event dropped');
      }
    }
    const left = rows.flatMap(({ seq, origin }) => {
      const event = events.get(seq);
      return event === undefined ? [] : [{ seq, origin, event }];
    });
    return { left, unanswered };
  }

  async #remove(roomId: RoomId, seqs: readonly number[]): Promise<void> {
    await this.#ctx.db.write('federation.unstage', (tx) => stagedEvents.remove(tx, seqs));
    this.#noLongerWait(roomId, seqs.length);
  }

  #noLongerWait(roomId: RoomId, count: number): void {
    this.#waiting.set(roomId, Math.max(0, (this.#waiting.get(roomId) ?? 0) - count));
  }
}

type Staged = stagedEvents.StagedEvent & Pick<VerifiedEvent, 'pdu'>;

function stagedFrom({ roomId, eventId, json, pdu }: Event, origin: ServerName): Staged {
  return { roomId, eventId, origin, json, pdu };
}

/**
 * Has events that wait already, where they are postponed, take their turns at once; answers how many these are. The copy
 * that waits may never have been verified: one that is now, and that is whole, takes its place.
 */
async function callAgain(tx: Tx, again: readonly Staged[]): Promise<number> {
  for (const event of again) if (hasContentHash(event.pdu)) await postponedEvents.setJson(tx, event);
  return postponedEvents.callEvents(
    tx,
    again.map(({ eventId }) => eventId),
  );
}

/** A staged event that may be received. */
interface VerifiedRow extends Pick<stagedEvents.StagedRow, 'seq' | 'origin'> {
  readonly event: VerifiedEvent;
}

function seqsWithout(
  rows: readonly stagedEvents.StagedRow[],
  kept: readonly { readonly seq: number }[],
): number[] {
  const seqs = new Set(kept.map(({ seq }) => seq));
  return rows.map(({ seq }) => seq).filter((seq) => !seqs.has(seq));
}

function isOfOneRoom(events: readonly VerifiedEvent[]): boolean {
  const [first] = events;
  return first !== undefined && events.every(({ roomId }) => roomId === first.roomId);
}

function eventsOf(rows: readonly VerifiedRow[], most: number): VerifiedEvent[] {
  return rows.slice(0, most).map(({ event }) => event);
}

function noop(): void {}

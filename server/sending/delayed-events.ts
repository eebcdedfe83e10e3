/**
 * Events that are sent later, unless they are cancelled or their delay begins again before: MSC4140.
 *
 * 1. What is asked for is written down. It is not judged: "power levels are evaluated for each event only once the
 *    delay has occurred".
 * 2. At its time, or when the server starts after it, it is sent as if its user asked for that now. What is refused
 *    then is not tried again, but for a user who sends too much at once: "homeservers MAY add up to 30 seconds".
 * 3. What became of it is kept for a week.
 *
 * An event is sent with its delay id as a transaction of no device: a server that dies between the sending and the
 * writing down of that sends it once.
 */

import { randomBytes } from 'node:crypto';
import { MatrixError } from '#federation/errors.ts';
import { DueTimer } from '#keys/due-timer.ts';
import type { EventId, UserId } from '#keys/ids.ts';
import type { Clock, Log } from '#rooms/context.ts';
import type { Database } from '#storage/database.ts';
import * as delayedEvents from '#storage/delayed-events.ts';
import { KeyedQueue } from '#storage/locks.ts';

export const delayActions = ['send', 'cancel', 'restart'] as const;
export type DelayAction = (typeof delayActions)[number];

/** Of one user, at the same time. */
export const MOST_SCHEDULED = 100;
const RETENTION = { ms: 7 * 24 * 60 * 60_000, most: 100 };
const AT_ONCE = 50;
const LONGEST_POSTPONED_MS = 30_000;
/** Where it is the server that fails: neither it nor its log is helped by trying at once. */
const LATER_MS = 30_000;
const ID_BYTES = 24;

type Send = (event: delayedEvents.DelayedEvent) => Promise<EventId>;

export type Acted =
  | { readonly kind: 'done' }
  | { readonly kind: 'not_found' }
  /** It has come to another end already. */
  | { readonly kind: 'conflict'; readonly reason: string };

export class DelayedEvents {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #log: Log;
  /** One thing after the other is done with one event. */
  readonly #locks = new KeyedQueue();
  readonly #timer: DueTimer;
  #send: Send | undefined;
  #running: Promise<void> | undefined;
  #isStopping = false;
  /** What was due before that could not be sent then. */
  #startedTs = 0;

  constructor(options: { readonly db: Database; readonly clock: Clock; readonly log: Log }) {
    this.#db = options.db;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#timer = new DueTimer({ clock: options.clock, wake: () => this.#wake() });
  }

  /** Begins to send what is due. `send` throws the error that a client would be answered with. */
  start(send: Send): void {
    this.#send = send;
    this.#startedTs = this.#clock.now();
    this.#timer.set(this.#startedTs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    this.#timer.stop();
    await this.#running;
  }

  /** Writes an event down; the same request again is the same event. */
  async schedule(
    event: Omit<delayedEvents.NewDelayedEvent, 'delayId' | 'sinceTs'>,
  ): Promise<delayedEvents.Inserted> {
    const sinceTs = this.#clock.now();
    const fresh = { ...event, delayId: randomBytes(ID_BYTES).toString('base64url'), sinceTs };
    const inserted = await this.#db.write('delayedEvents.insert', (tx) =>
      delayedEvents.insert(tx, fresh, MOST_SCHEDULED),
    );
    // Before the start nothing is sent; then all that is due is looked for.
    if (this.#send !== undefined) this.#timer.set(sinceTs + event.delayMs);
    return inserted;
  }

  /** The event that the same request made before. */
  ofTransaction(userId: UserId, txn: string): Promise<string | undefined> {
    return delayedEvents.ofTxn(this.#db, userId, txn);
  }

  /** "Knowledge of the `delay_id` alone allows" to do this. Throws where it cannot be sent now: then it still waits. */
  act(delayId: string, action: DelayAction): Promise<Acted> {
    return this.#locks.run(delayId, async () => {
      const event = await delayedEvents.of(this.#db, delayId);
      if (event === undefined) return { kind: 'not_found' };
      if (event.finalised !== undefined) return repeated(event.finalised, action);
      switch (action) {
        case 'restart': {
          const now = this.#clock.now();
          await this.#db.write('delayedEvents.restart', (tx) => delayedEvents.restart(tx, delayId, now));
          break;
        }
        case 'cancel':
          await this.#finalise(event, {});
          break;
        case 'send':
          await this.#finalise(event, { eventId: await this.#sendNow(event) });
      }
      return { kind: 'done' };
    });
  }

  #sendNow(event: delayedEvents.DelayedEvent): Promise<EventId> {
    if (this.#send === undefined) throw new Error('delayed events are not sent yet');
    return this.#send(event);
  }

  async #finalise(
    event: delayedEvents.DelayedEvent,
    outcome: Omit<delayedEvents.Finalised, 'ts'>,
  ): Promise<void> {
    const finalised = { ts: this.#clock.now(), ...outcome };
    await this.#db.write('delayedEvents.finalise', (tx) =>
      delayedEvents.finalise(tx, event, finalised, RETENTION),
    );
  }

  #wake(): void {
    // What comes while it runs is seen at its end.
    this.#running ??= this.#runDue()
      .then(() => this.#sleep())
      .catch((error: unknown) => {
        this.#running = undefined;
        this.#log.error({ err: error }, 'delayed events could not be looked at: it is tried again');
        this.#timer.set(this.#clock.now() + LATER_MS);
      });
  }

  async #sleep(): Promise<void> {
    const next = await delayedEvents.nextDue(this.#db);
    this.#running = undefined;
    if (next !== undefined) this.#timer.set(next);
  }

  async #runDue(): Promise<void> {
    while (!this.#isStopping) {
      const due = await delayedEvents.due(this.#db, this.#clock.now(), AT_ONCE);
      const byUser = Map.groupBy(due, ({ userId }) => userId);
      // In the order of their times, but nobody waits for what somebody else sends.
      await Promise.all([...byUser.values()].map((ofUser) => this.#runOfUser(ofUser)));
      if (due.length < AT_ONCE) return;
    }
  }

  async #runOfUser(events: readonly delayedEvents.DelayedEvent[]): Promise<void> {
    for (const { delayId } of events) {
      // "In chronological order of their scheduled send times."
      if (!this.#isStopping) await this.#locks.run(delayId, () => this.#runOne(delayId));
    }
  }

  /** Sends one, unless it was cancelled or restarted in the meantime. */
  async #runOne(delayId: string): Promise<void> {
    const event = await delayedEvents.of(this.#db, delayId);
    const now = this.#clock.now();
    if (event === undefined || event.finalised !== undefined || event.dueTs > now) return;
    try {
      await this.#finalise(event, { eventId: await this.#sendNow(event) });
    } catch (error) {
      const { roomId } = event;
      if (!(error instanceof MatrixError)) {
        // Without its id, by which anybody could do something with it.
        this.#log.error({ roomId, err: error }, 'a delayed event was not sent: it is tried again');
        await this.#postpone(delayId, now + LATER_MS);
        return;
      }
      const postponed = postponedBy(error);
      const firstTs = Math.max(event.sinceTs + event.delayMs, this.#startedTs);
      if (postponed !== undefined && now < firstTs + LONGEST_POSTPONED_MS) {
        await this.#postpone(delayId, now + postponed);
        return;
      }
      this.#log.info({ delayId, roomId, err: error }, 'a delayed event was refused');
      await this.#finalise(event, { error: error.body });
    }
  }

  async #postpone(delayId: string, dueTs: number): Promise<void> {
    await this.#db.write('delayedEvents.postpone', (tx) => delayedEvents.postpone(tx, delayId, dueTs));
  }
}

/** How long a user has to wait who sends too much at once. */
function postponedBy({ errcode, extras }: MatrixError): number | undefined {
  if (errcode !== 'M_LIMIT_EXCEEDED') return undefined;
  const { retry_after_ms: ms } = extras;
  return typeof ms === 'number' ? Math.min(Math.max(ms, 1), LONGEST_POSTPONED_MS) : 1_000;
}

/** "To allow safely retrying requests, the homeserver will respond with success" where the outcome matches. */
function repeated({ eventId }: delayedEvents.Finalised, action: DelayAction): Acted {
  const wasSent = eventId !== undefined;
  if ((action === 'send' && wasSent) || (action === 'cancel' && !wasSent)) return { kind: 'done' };
  return { kind: 'conflict', reason: wasSent ? 'The event was sent already' : 'The event was cancelled' };
}

/**
 * Delivery to one server: strictly one transaction after the other, in the order of the outbox.
 *
 * 1. Leave the server alone while its back-off lasts; a sign of life ends that.
 * 2. Take the transaction that was begun before a crash, else the next 50 events and 100 EDUs. Its id and what it holds
 *    are on disk before it is sent, so that it can be sent again as the same transaction.
 * 3. Send it until it is answered. Events and EDUs of the outbox are never dropped. What is of the moment (typing) is,
 *    at the first failure, and receipts are read again from the database.
 * 4. The answer takes them off the outbox, in the write that begins the next transaction.
 * 5. A transaction that a server calls malformed is sent in parts until the one event or EDU is found: it is set
 *    aside, so that what comes after it does not wait for ever.
 */

import { randomUUID } from 'node:crypto';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { EventId, ServerName } from '#keys/ids.ts';
import { loadNids } from '#rooms/load.ts';
import * as destinations from '#storage/destinations.ts';
import * as eduOutbox from '#storage/edu-outbox.ts';
import type { TypingChange } from '#storage/typing.ts';
import type { FederationFailure } from '../client.ts';
import type { FederationContext } from '../context.ts';
import { faultOf } from '../fault.ts';
import type { Remote } from '../remote/answer.ts';
import { sendTransaction, type TransactionAnswer } from '../remote/transaction.ts';
import { encodeFault } from './ledger.ts';
import { MomentaryEdus, type Taken } from './momentary.ts';
import * as outbox from './outbox.ts';
import { MAX_EDUS, transactionBody } from './transaction.ts';
import type { TransactionLanes } from './transaction-lanes.ts';

export interface DestinationOptions {
  readonly ctx: Omit<FederationContext, 'sender' | 'inbound'>;
  readonly server: ServerName;
  /** Bounds the transactions that are under way to all servers. */
  readonly lanes: TransactionLanes;
  readonly signal: AbortSignal;
  /** Called when the server has all that was queued for it and is behind all the same. */
  readonly catchUp: () => void;
}

/** A transaction that is sent until it is answered. */
interface Transaction {
  /** What it holds of the outbox; undefined for one that is nowhere on disk. */
  readonly stored: outbox.Stored | undefined;
  readonly txnId: string;
  readonly ts: number;
  /** Besides those of the outbox. */
  readonly momentary: Taken;
}

type Sent = TransactionAnswer & { readonly nids: ReadonlyMap<EventId, number> };

/** A transaction that is done with: answered, or set aside. */
interface Done {
  readonly transaction: Transaction;
  readonly refused: readonly outbox.Refused[];
  readonly serverTs: number | undefined;
  readonly isSetAside?: true;
}

/** After a failure that has nothing to do with the network. */
const FAULT_PAUSE_MS = 5_000;
/** A single event that a server calls malformed this often is set aside: what comes after it must not wait for ever. */
const MOST_REFUSALS = 3;
/** A server that refuses so many in a row finds fault with us, not with them: all of them are kept. */
const MOST_SET_ASIDE = 3;
/** Before the smaller part of a transaction that was called malformed: the server is up. */
const PART_PAUSE_MS = 250;
/** EDUs that are kept for a server that is away, and for one that has been for long: the newest. */
const MOST_EDUS = 100_000;
const MOST_EDUS_OF_GONE = 10_000;
const GONE_MS = 30 * 24 * 60 * 60_000;

const NOTHING: Taken = { edus: [], receiptsUpto: undefined };

export class Destination {
  readonly #ctx: Omit<FederationContext, 'sender' | 'inbound'>;
  readonly #server: ServerName;
  readonly #lanes: TransactionLanes;
  readonly #signal: AbortSignal;
  readonly #catchUp: () => void;
  readonly #momentary: MomentaryEdus;
  #loop: Promise<void> | undefined;
  #endSleep: (() => void) | undefined;
  /** Something may have come since the outbox was last found empty. */
  #isAwaited = false;
  /** An empty transaction will do, where there is nothing else. */
  #wantsGreeting = false;
  /** The next attempt does not wait for the back-off. */
  #isUrgent = false;
  #loaded = false;
  #receiptsPosition = 0;
  #firstReceipts: number | undefined;
  #current: Transaction | undefined;
  #portion = outbox.WHOLE;
  #refusals = 0;
  #setAside = 0;
  #fault = '';

  constructor(options: DestinationOptions) {
    this.#ctx = options.ctx;
    this.#server = options.server;
    this.#lanes = options.lanes;
    this.#signal = options.signal;
    this.#catchUp = options.catchUp;
    this.#momentary = new MomentaryEdus(options.ctx, options.server);
  }

  /** There is something to send, or the server has shown a sign of life. */
  wake(): void {
    if (this.#signal.aborted) return;
    this.#isAwaited = true;
    this.#endSleep?.();
    this.#loop ??= this.#run().finally(() => {
      this.#loop = undefined;
      if (this.#isAwaited) this.wake();
    });
  }

  /** Sends an empty transaction where there is nothing else: the server then knows that we are up. */
  greet(): void {
    this.#wantsGreeting = true;
    this.retry();
  }

  /** Tries at once, whatever the back-off says. */
  retry(): void {
    this.#isUrgent = true;
    this.wake();
  }

  typing(change: TypingChange): void {
    this.#momentary.typing(change);
    this.wake();
  }

  receipts(after: number): void {
    // For a server that nothing was sent to so far they are the first.
    if (!this.#loaded) this.#firstReceipts ??= after;
    this.#momentary.receipts();
    this.wake();
  }

  /** Resolves once the signal has ended the loop, and it is on disk which receipts the server has. */
  async stopped(): Promise<void> {
    this.#endSleep?.();
    await this.#loop;
    if (!this.#loaded) return;
    const position = this.#receiptsPosition;
    await this.#ctx.db.write('federation.receiptsPosition', (tx) =>
      destinations.setReceiptsPosition(tx, this.#server, position),
    );
  }

  async #run(): Promise<void> {
    while (this.#isAwaited && !this.#signal.aborted) {
      try {
        // One transaction after the other is the point of this loop.
        await this.#step();
      } catch (error) {
        this.#ctx.log.error({ err: error, server: this.#server }, 'delivery failed by our own fault');
        await this.#sleep(FAULT_PAUSE_MS);
      }
    }
  }

  async #step(): Promise<void> {
    const wait = await this.#ctx.backoff.remainingMs(this.#server);
    // The server may have been left alone for an outage that was ours: after a start it is tried at once.
    if (wait > 0 && !this.#isUrgent) {
      this.#momentary.forgetTyping();
      await this.#sleep(wait);
      return;
    }
    this.#isAwaited = false;
    const transaction = this.#current ?? (await this.#next(undefined));
    this.#current = transaction;
    if (transaction === undefined) return;
    this.#isAwaited = true;
    this.#wantsGreeting = false;
    this.#isUrgent = false;
    const answer = await this.#send(transaction);
    if (this.#signal.aborted) return;
    if (answer.kind === 'ok') await this.#delivered(transaction, answer.value);
    else await this.#notDelivered(transaction, answer);
  }

  async #send({ txnId, ts, stored, momentary }: Transaction): Promise<Remote<Sent>> {
    const isFailing = (await this.#ctx.backoff.failingSince(this.#server)) !== undefined;
    // The body is made when its turn has come: those that wait hold no memory.
    return this.#lanes.run(isFailing, async () => {
      const rows = stored?.rows ?? [];
      const events = await loadNids(
        this.#ctx,
        rows.map((row) => row.eventNid),
      );
      const held = rows.map((row) => events.get(row.eventNid)?.event).filter((event) => event !== undefined);
      const pdus = held.map((event) => event.json);
      const queued = (stored?.edus ?? []).map(({ edu }) => edu);
      const edus = [...queued, ...momentary.edus.map((edu) => encodeCanonical(edu))];
      const body = transactionBody({ origin: this.#ctx.serverName, originServerTs: ts, pdus, edus });
      const options = { signal: this.#signal };
      const answer = await sendTransaction(this.#ctx, this.#server, { txnId, body }, options);
      if (answer.kind === 'failed') return answer;
      const nids = new Map([...events].map(([nid, { event }]) => [event.eventId, nid]));
      return { kind: 'ok', value: { ...answer.value, nids } };
    });
  }

  async #delivered(transaction: Transaction, { errors, serverTs, nids }: Sent): Promise<void> {
    const wasFailing = await this.#ctx.backoff.succeeded(this.#server);
    if (wasFailing) this.#ctx.log.info({ server: this.#server }, 'server answers again');
    this.#fault = '';
    this.#refusals = 0;
    this.#setAside = 0;
    this.#portion = transaction.stored === undefined ? this.#portion : outbox.following(this.#portion);
    this.#receiptsPosition = transaction.momentary.receiptsUpto ?? this.#receiptsPosition;
    const refused = [...errors].flatMap(([eventId, reason]) => {
      const eventNid = nids.get(eventId);
      return eventNid === undefined ? [] : [{ eventNid, reason }];
    });
    const done = { transaction, refused, serverTs };
    if (wasFailing && transaction.stored === undefined) await this.#noteSuccess(serverTs);
    this.#current = await this.#next(done);
  }

  async #notDelivered(transaction: Transaction, failure: FederationFailure): Promise<void> {
    const { server, reason, status } = { server: this.#server, ...failure };
    if (transaction.momentary.receiptsUpto !== undefined) this.#momentary.receipts();
    this.#current = transaction.stored === undefined ? undefined : { ...transaction, momentary: NOTHING };
    if (await this.#divided(transaction, failure)) return;
    if ((await this.#ctx.backoff.failingSince(server)) === undefined) {
      this.#ctx.log.info({ server, reason, status, message: failure.message }, 'server does not take events');
    }
    await this.#ctx.backoff.failed(server, failure.retryAfterMs);
    await this.#noteFault(failure);
    // It was to learn that we are up, and will as soon as it is tried again.
    if (this.#current === undefined && transaction.momentary.edus.length === 0) this.#wantsGreeting = true;
  }

  /** What the ledger says of the server, and how much is kept for it. Written where it says something else. */
  async #noteFault(failure: FederationFailure): Promise<void> {
    const now = this.#ctx.clock.now();
    const { cause, words } = faultOf(failure, Date.now());
    const since = await this.#ctx.backoff.failingSince(this.#server);
    const keep = since !== undefined && now - since > GONE_MS ? MOST_EDUS_OF_GONE : MOST_EDUS;
    const isNew = this.#fault !== words;
    this.#fault = words;
    const trimmed = await this.#ctx.db.write('federation.fault', async (tx) => {
      if (isNew) await destinations.setFault(tx, this.#server, encodeFault({ cause, words, ts: now }));
      return eduOutbox.trim(tx, this.#server, keep);
    });
    if (trimmed > 0) {
      this.#ctx.log.warn({ server: this.#server, trimmed }, 'the oldest EDUs for a server are given up');
    }
  }

  async #noteSuccess(serverTs: number | undefined): Promise<void> {
    const ts = this.#ctx.clock.now();
    const clockSkew = skewOf(serverTs);
    const answered = { ts, clockSkew, delivered: 0, refused: 0 };
    await this.#ctx.db.write('federation.answered', (tx) =>
      destinations.endTransaction(tx, this.#server, { upto: 0, answered }),
    );
  }

  /**
   * The server has refused the transaction as such, so it has taken none of it: perhaps for one of its events. True
   * where a part of it, or what comes after it, is sent next.
   */
  async #divided(
    transaction: Transaction,
    { status, errcode, message }: FederationFailure,
  ): Promise<boolean> {
    const { stored } = transaction;
    // Without an error code it is not a Matrix server that speaks.
    if (stored === undefined || errcode === undefined || (status !== 400 && status !== 413)) return false;
    const part = outbox.smaller(stored);
    if (part !== undefined) {
      this.#portion = part;
      this.#refusals = 0;
      await this.#sleep(PART_PAUSE_MS);
      this.#current = await this.#next(undefined, { anew: true });
      return true;
    }
    this.#refusals += 1;
    if (this.#refusals < MOST_REFUSALS || this.#setAside >= MOST_SET_ASIDE) return false;
    this.#refusals = 0;
    this.#setAside += 1;
    const [row] = stored.rows;
    const edu = stored.edus[0]?.edu.slice(0, 200);
    this.#ctx.log.error(
      { server: this.#server, eventNid: row?.eventNid, edu, message },
      'refused, set aside',
    );
    const reason = `${outbox.SET_ASIDE}the server calls it malformed (${message})`;
    const refused = row === undefined ? [] : [{ eventNid: row.eventNid, reason }];
    this.#portion = outbox.WHOLE;
    this.#current = await this.#next({ transaction, refused, serverTs: undefined, isSetAside: true });
    return true;
  }

  /**
   * The next transaction, noted on disk if it holds anything of the outbox; undefined where there is nothing to send.
   * `done` leaves the outbox in the same write. `anew`: not the one that was begun.
   */
  async #next(done: Done | undefined, { anew = false } = {}): Promise<Transaction | undefined> {
    await this.#load();
    const stored = await this.#takeStored(done, anew);
    // One that is sent again holds no EDUs of the moment: if it did arrive before, they would be lost with it.
    const free = MAX_EDUS - (stored?.edus.length ?? 0);
    const momentary = stored?.isRepeated ? NOTHING : await this.#momentary.take(this.#receiptsPosition, free);
    if (this.#momentary.isAwaited) this.#isAwaited = true;
    const isWanted = stored !== undefined || momentary.edus.length > 0 || this.#wantsGreeting;
    if (!isWanted) {
      this.#receiptsPosition = momentary.receiptsUpto ?? this.#receiptsPosition;
      return undefined;
    }
    const { txnId = randomUUID(), ts = this.#ctx.clock.now() } = stored ?? {};
    return { stored, txnId, ts, momentary };
  }

  async #takeStored(
    done: Done | undefined,
    anew: boolean,
  ): Promise<(outbox.Stored & { isRepeated: boolean }) | undefined> {
    const { db } = this.#ctx;
    const ended = done?.transaction.stored;
    if (ended === undefined && !anew && !(await this.#hasPending())) return undefined;
    const now = this.#ctx.clock.now();
    const begun = await db.write('federation.transaction', async (tx) => {
      if (done !== undefined && ended !== undefined) {
        const { refused, isSetAside } = done;
        const clockSkew = skewOf(done.serverTs);
        await outbox.end(tx, this.#server, { stored: ended, refused, ts: now, clockSkew, isSetAside });
        await destinations.setReceiptsPosition(tx, this.#server, this.#receiptsPosition);
      }
      return (
        (await outbox.begin(tx, this.#server, { portion: this.#portion, now, anew })) ??
        // Nothing of the kind that was to be tried by itself.
        (this.#portion === outbox.WHOLE
          ? undefined
          : outbox.begin(tx, this.#server, { portion: outbox.WHOLE, now }))
      );
    });
    const isAllTaken = begun === undefined || begun.rows.length < this.#portion.pdus;
    if (isAllTaken) await this.#askForCatchUp(begun);
    return begun;
  }

  /** Once the outbox is empty, and the server answers. */
  async #askForCatchUp(begun: outbox.Stored | undefined): Promise<void> {
    if (begun !== undefined) return;
    if ((await destinations.of(this.#ctx.db, this.#server))?.behindAfter !== undefined) this.#catchUp();
  }

  async #hasPending(): Promise<boolean> {
    const { db } = this.#ctx;
    const [rows, edus] = await Promise.all([
      destinations.pendingOf(db, this.#server, 1),
      eduOutbox.pendingOf(db, this.#server, 1),
    ]);
    if (rows.length === 0 && edus.length === 0) await this.#askForCatchUp(undefined);
    return rows.length > 0 || edus.length > 0;
  }

  async #load(): Promise<void> {
    if (this.#loaded) return;
    const upto = this.#firstReceipts ?? this.#ctx.streams.upto();
    const row =
      (await destinations.of(this.#ctx.db, this.#server)) ??
      (await this.#ctx.db.write('federation.destination', async (tx) => {
        await destinations.add(tx, this.#server, upto);
        return destinations.of(tx, this.#server);
      }));
    this.#receiptsPosition = row?.receiptsPosition ?? upto;
    this.#loaded = true;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#signal.removeEventListener('abort', end);
        this.#endSleep = undefined;
        resolve();
      };
      const timer = setTimeout(end, ms).unref();
      this.#signal.addEventListener('abort', end, { once: true });
      this.#endSleep = end;
    });
  }
}

/** By how many milliseconds a server's clock is ahead of the one of this machine. */
function skewOf(serverTs: number | undefined): number | undefined {
  return serverTs === undefined ? undefined : serverTs - Date.now();
}

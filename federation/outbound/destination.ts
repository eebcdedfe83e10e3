/**
 * Delivery to one server: strictly one transaction after the other, in the order of the outbox.
 *
 * 1. Leave the server alone while its back-off lasts; a sign of life ends that.
 * 2. Take the transaction that was begun before a crash, else the next 50 events and 100 EDUs. Its id and its last
 *    event are on disk before it is sent, so that it can be sent again as the same transaction.
 * 3. Send it until it is answered. Events are never dropped; EDUs are, at the first failure, and receipts are read
 *    again from the database.
 * 4. The answer takes its events off the outbox, in the write that begins the next transaction.
 */

import { randomUUID } from 'node:crypto';
import { belongsTo, type ServerName } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Lanes } from '#keys/lanes.ts';
import { loadNids } from '#rooms/load.ts';
import type { Tx } from '#storage/database.ts';
import * as destinations from '#storage/destinations.ts';
import * as outboundReceipts from '#storage/outbound-receipts.ts';
import type { TypingChange } from '#storage/typing.ts';
import type { FederationFailure } from '../client.ts';
import type { FederationContext } from '../context.ts';
import { sendTransaction } from '../remote.ts';
import { receiptEdus, typingEdu } from './edus.ts';
import { MAX_EDUS, MAX_PDUS, transactionBody } from './transaction.ts';

export interface DestinationOptions {
  readonly ctx: Omit<FederationContext, 'sender' | 'inbound'>;
  readonly server: ServerName;
  /** Bounds the transactions that are under way to all servers. */
  readonly lanes: Lanes;
  readonly signal: AbortSignal;
}

/** A transaction that is sent until it is answered. */
interface Transaction {
  readonly txnId: string;
  /** The outbox rows it holds; empty for one of EDUs only. */
  readonly rows: readonly destinations.OutboxRow[];
  readonly edus: readonly JsonObject[];
  /** The receipts among the EDUs bring the server up to this position. */
  readonly receiptsUpto: number | undefined;
}

/** Users who type, for one server: more are not worth telling. */
const MAX_TYPING = 200;
/** Room for typing in a transaction that is full of receipts. */
const MAX_RECEIPTS = 500;
/** After a failure that has nothing to do with the network. */
const FAULT_PAUSE_MS = 5_000;
/** A single event that a server calls malformed this often is set aside: what comes after it must not wait for ever. */
const MOST_REFUSALS = 3;

const NO_EDUS = { edus: [], receiptsUpto: undefined };

export class Destination {
  readonly #ctx: Omit<FederationContext, 'sender' | 'inbound'>;
  readonly #server: ServerName;
  readonly #lanes: Lanes;
  readonly #signal: AbortSignal;
  readonly #typing = new Map<string, TypingChange>();
  #loop: Promise<void> | undefined;
  #endSleep: (() => void) | undefined;
  /** Something may have come since the outbox was last found empty. */
  #isAwaited = false;
  #wantsReceipts = true;
  #wantsGreeting = false;
  #loaded = false;
  #receiptsPosition = 0;
  #current: Transaction | undefined;
  #mostPdus = MAX_PDUS;
  #refusals = 0;

  constructor(options: DestinationOptions) {
    this.#ctx = options.ctx;
    this.#server = options.server;
    this.#lanes = options.lanes;
    this.#signal = options.signal;
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
    this.wake();
  }

  typing(change: TypingChange): void {
    const key = `${change.roomId} ${change.userId}`;
    if (this.#typing.size >= MAX_TYPING && !this.#typing.has(key)) return;
    this.#typing.set(key, change);
    this.wake();
  }

  receipts(): void {
    this.#wantsReceipts = true;
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
    if (wait > 0) {
      this.#typing.clear();
      await this.#sleep(wait);
      return;
    }
    this.#isAwaited = false;
    const transaction = this.#current ?? (await this.#next(undefined));
    this.#current = transaction;
    if (transaction === undefined) return;
    this.#isAwaited = true;
    const failure = await this.#send(transaction);
    if (this.#signal.aborted) return;
    if (failure === undefined) await this.#delivered(transaction);
    else await this.#notDelivered(transaction, failure);
  }

  /** Undefined where the server has answered. */
  async #send({ txnId, rows, edus }: Transaction): Promise<FederationFailure | undefined> {
    const events = await loadNids(
      this.#ctx,
      rows.map((row) => row.eventNid),
    );
    const pdus = rows.map((row) => events.get(row.eventNid)?.event.json).filter((json) => json !== undefined);
    const originServerTs = this.#ctx.clock.now();
    const body = transactionBody({ origin: this.#ctx.serverName, originServerTs, pdus, edus });
    const answer = await this.#lanes.run(() =>
      sendTransaction(this.#ctx, this.#server, { txnId, body }, { signal: this.#signal }),
    );
    if (answer.kind === 'failed') return answer;
    for (const [eventId, error] of answer.value) {
      this.#ctx.log.debug({ server: this.#server, eventId, error }, 'event not accepted by another server');
    }
    return undefined;
  }

  async #delivered(transaction: Transaction): Promise<void> {
    if (await this.#ctx.backoff.succeeded(this.#server)) {
      this.#ctx.log.info({ server: this.#server }, 'server answers again');
    }
    this.#mostPdus = MAX_PDUS;
    this.#refusals = 0;
    if (transaction.receiptsUpto !== undefined) this.#receiptsPosition = transaction.receiptsUpto;
    this.#current = await this.#next(transaction);
  }

  async #notDelivered(transaction: Transaction, failure: FederationFailure): Promise<void> {
    const { server, reason, status } = { server: this.#server, ...failure };
    if ((await this.#ctx.backoff.failingSince(server)) === undefined) {
      this.#ctx.log.info({ server, reason, status, message: failure.message }, 'server does not take events');
    }
    await this.#ctx.backoff.failed(server, failure.retryAfterMs);
    if (transaction.receiptsUpto !== undefined) this.#wantsReceipts = true;
    this.#current = { ...transaction, edus: [], receiptsUpto: undefined };
    if (transaction.rows.length === 0) {
      this.#current = undefined;
      // It was to learn that we are up, and will as soon as it answers.
      if (transaction.edus.length === 0) this.#wantsGreeting = true;
    } else if (status === 400 || status === 413) await this.#divide(transaction, failure);
  }

  /** The server has refused the transaction as such, so it has taken none of it: perhaps for one of its events. */
  async #divide(transaction: Transaction, failure: FederationFailure): Promise<void> {
    const { rows } = transaction;
    const [first] = rows;
    this.#refusals += 1;
    if (rows.length > 1) {
      this.#mostPdus = Math.ceil(rows.length / 2);
      this.#refusals = 0;
      this.#current = await this.#next(undefined, { anew: true });
      return;
    }
    if (first === undefined || this.#refusals < MOST_REFUSALS) return;
    const { server, message } = { server: this.#server, message: failure.message };
    this.#ctx.log.error(
      { server, eventNid: first.eventNid, message },
      'event refused by a server, set aside',
    );
    this.#refusals = 0;
    this.#mostPdus = MAX_PDUS;
    this.#current = await this.#next(transaction);
  }

  /**
   * The next transaction, noted on disk if it holds events; undefined where there is nothing to send. `done` was
   * answered: its events leave the outbox in the same write. `anew`: not the one that was begun.
   */
  async #next(done: Transaction | undefined, { anew = false } = {}): Promise<Transaction | undefined> {
    await this.#load();
    const { db } = this.#ctx;
    const isStored = done !== undefined && done.rows.length > 0;
    const pending = isStored ? [] : await destinations.pendingOf(db, this.#server, 1);
    const begun =
      isStored || pending.length > 0
        ? await db.write('federation.transaction', (tx) => this.#begin(tx, { done, anew }))
        : undefined;
    // One that is sent again holds no EDUs: if it did arrive before, they would be lost with it.
    const { edus, receiptsUpto } = begun?.isRepeated ? NO_EDUS : await this.#takeEdus();
    const isWanted = begun !== undefined || edus.length > 0 || this.#wantsGreeting;
    this.#wantsGreeting = false;
    if (!isWanted) {
      if (receiptsUpto !== undefined) this.#receiptsPosition = receiptsUpto;
      return undefined;
    }
    return { txnId: begun?.txnId ?? randomUUID(), rows: begun?.rows ?? [], edus, receiptsUpto };
  }

  async #begin(
    tx: Tx,
    { done, anew }: { done: Transaction | undefined; anew: boolean },
  ): Promise<{ txnId: string; rows: destinations.OutboxRow[]; isRepeated: boolean } | undefined> {
    const last = done?.rows.at(-1);
    if (done !== undefined && last !== undefined) {
      await destinations.endTransaction(tx, this.#server, { txnId: done.txnId, upto: last.seq });
      await destinations.setReceiptsPosition(tx, this.#server, this.#receiptsPosition);
    }
    const open = anew ? undefined : (await destinations.of(tx, this.#server))?.transaction;
    if (open !== undefined) {
      const rows = await destinations.pendingUpto(tx, this.#server, { upto: open.upto, limit: MAX_PDUS });
      if (rows.length > 0) return { txnId: open.txnId, rows, isRepeated: true };
    }
    const rows = await destinations.pendingOf(tx, this.#server, this.#mostPdus);
    const upto = rows.at(-1)?.seq;
    if (upto === undefined) return undefined;
    const txnId = randomUUID();
    await destinations.beginTransaction(tx, this.#server, { txnId, upto });
    return { txnId, rows, isRepeated: false };
  }

  async #load(): Promise<void> {
    if (this.#loaded) return;
    const upto = this.#ctx.streams.upto();
    const row =
      (await destinations.of(this.#ctx.db, this.#server)) ??
      (await this.#ctx.db.write('federation.destination', async (tx) => {
        await destinations.add(tx, this.#server, upto);
        return destinations.of(tx, this.#server);
      }));
    this.#receiptsPosition = row?.receiptsPosition ?? upto;
    this.#loaded = true;
  }

  /** Typing as it is now, and the receipts that the server does not have. */
  async #takeEdus(): Promise<{ edus: JsonObject[]; receiptsUpto: number | undefined }> {
    const { edus, upto } = await this.#takeReceipts();
    const typing = [...this.#typing].slice(0, MAX_EDUS - edus.length);
    for (const [key] of typing) this.#typing.delete(key);
    if (this.#typing.size > 0) this.#isAwaited = true;
    return { edus: [...edus, ...typing.map(([, change]) => typingEdu(change))], receiptsUpto: upto };
  }

  async #takeReceipts(): Promise<{ edus: JsonObject[]; upto: number | undefined }> {
    if (!this.#wantsReceipts) return { edus: [], upto: undefined };
    this.#wantsReceipts = false;
    const upto = this.#ctx.streams.upto();
    const range = { after: this.#receiptsPosition, upto, limit: MAX_RECEIPTS };
    const found = await outboundReceipts.forServer(this.#ctx.db, this.#server, range);
    const edus = receiptEdus(found.filter(({ userId }) => belongsTo(userId, this.#ctx.serverName)));
    const isFull = found.length === MAX_RECEIPTS || edus.length > MAX_EDUS;
    if (isFull) this.#wantsReceipts = true;
    return {
      edus: edus.slice(0, MAX_EDUS),
      upto: found.length === MAX_RECEIPTS ? found.at(-1)?.position : upto,
    };
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

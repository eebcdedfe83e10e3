/**
 * The state of a room on its way in: each event is verified as it comes. Keys are fetched as soon as an event needs
 * them; for those of servers that answer at once the next events wait, those of others are waited for at the end. An
 * event whose keys cannot be had is left out.
 */

import { setImmediate } from 'node:timers/promises';
import type { EventId } from '#keys/ids.ts';
import type { KeyRequest } from '#keys/key-ring.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { checkEach, type Ingress, type VerifiedEvent } from '#rooms/ingress.ts';
import { portions } from '#rooms/told/judge-told.ts';
import { type ToldList, ToldState } from '#rooms/told/told-state.ts';
import type { RoomVersionRules } from '#rooms/versions.ts';
import { Spool } from '#storage/spool.ts';
import { ensureKeys } from '../inbound/verify.ts';

/** How many are in work at once: their signatures are verified on the thread pool. */
const AT_ONCE = 32;
/** In all: most servers answer in much less, and for one that does not the others need not wait. */
const PATIENCE_MS = 5_000;

export interface Dropped {
  readonly eventId: EventId | undefined;
  readonly reason: string;
}

export interface IntakeOptions {
  /** Ends the wait for keys. */
  readonly signal: AbortSignal;
  /** How long in all the next events wait for the keys of those before; 5 s unless given. */
  readonly patienceMs?: number;
}

export class StateIntake implements Disposable {
  readonly #ctx: RoomsContext;
  readonly #rules: RoomVersionRules;
  readonly #signal: AbortSignal;
  readonly told: ToldState;
  /** The texts of events whose keys are not there yet, and the list that each is of. */
  readonly #postponed: Spool;
  readonly #listOf: ToldList[] = [];
  readonly #asked = new Map<string, KeyRequest>();
  readonly #fetching = new Set<Promise<void>>();
  #patienceMs: number;
  /** How many events of the state are left out, and the first of them. */
  dropped = 0;
  firstDropped: Dropped | undefined;

  constructor(ctx: RoomsContext, rules: RoomVersionRules, { signal, patienceMs }: IntakeOptions) {
    this.#ctx = ctx;
    this.#rules = rules;
    this.#signal = signal;
    this.#patienceMs = patienceMs ?? PATIENCE_MS;
    using opening = new DisposableStack();
    this.told = opening.use(new ToldState(rules));
    this.#postponed = opening.use(new Spool());
    opening.move();
  }

  /** Takes events of one list by their texts, in their order; undefined for what is no text. */
  async take(list: ToldList, texts: readonly (string | undefined)[]): Promise<void> {
    const readable = texts.filter((text) => text !== undefined);
    const unreadable = texts.length - readable.length;
    for (let count = 0; count < unreadable; count++) {
      this.#drop(list, { eventId: undefined, reason: 'The event is no text, or too long' });
    }
    // Portion by portion: requests get a turn in between.
    for (const portion of portions(readable, AT_ONCE)) await this.#takePortion(list, portion);
  }

  /** Waits for the keys that are being fetched, and takes what has waited for them. */
  async finish(): Promise<void> {
    await Promise.all(this.#fetching);
    for (const numbers of portions(this.#listOf.keys(), AT_ONCE)) {
      const texts = this.#postponed.read(numbers);
      const checked = await this.#check(texts);
      for (const list of ['state', 'auth_chain'] as const) {
        const ofList = checked.filter((_, index) => this.#listOf[numbers[index] ?? 0] === list);
        this.#add(list, ofList);
      }
    }
  }

  [Symbol.dispose](): void {
    using closing = new DisposableStack();
    closing.use(this.#postponed);
    closing.use(this.told);
  }

  async #takePortion(list: ToldList, texts: readonly string[]): Promise<void> {
    await setImmediate();
    const checked = await this.#check(texts);
    const unkeyed = checked.flatMap((ingress, index) => (ingress.kind === 'missing_keys' ? [index] : []));
    if (unkeyed.length > 0) {
      await this.#fetchKeys(
        checked.flatMap((ingress) => (ingress.kind === 'missing_keys' ? ingress.keys : [])),
      );
      const again = await this.#check(unkeyed.map((index) => texts[index] ?? ''));
      for (const [at, index] of unkeyed.entries()) checked[index] = again[at] ?? notChecked;
    }
    const later = texts.filter((_, index) => checked[index]?.kind === 'missing_keys');
    if (later.length > 0) this.#postponed.append(later);
    this.#listOf.push(...later.map(() => list));
    this.#add(
      list,
      checked.filter(({ kind }) => kind !== 'missing_keys'),
    );
  }

  #add(list: ToldList, checked: readonly Ingress[]): void {
    const events: VerifiedEvent[] = [];
    for (const ingress of checked) {
      if (ingress.kind === 'verified') events.push(ingress.event);
      else this.#drop(list, droppedBy(ingress));
    }
    this.told.add(list, events);
  }

  #check(texts: readonly string[]): Promise<Ingress[]> {
    return checkEach(this.#ctx, this.#rules, texts);
  }

  /** Fetches keys that were not asked for yet; resolves when they are there, or patience is at its end. */
  async #fetchKeys(keys: readonly KeyRequest[]): Promise<void> {
    const wanted = keys.filter((request) => this.#isNew(request));
    if (wanted.length > 0) {
      const fetching = ensureKeys(this.#ctx, wanted, this.#signal).finally(() =>
        this.#fetching.delete(fetching),
      );
      this.#fetching.add(fetching);
    }
    if (this.#patienceMs <= 0) return;
    const started = performance.now();
    await settledWithin(Promise.all(this.#fetching), this.#patienceMs);
    this.#patienceMs -= performance.now() - started;
  }

  #isNew(request: KeyRequest): boolean {
    const id = `${request.server} ${request.keyId}`;
    const asked = this.#asked.get(id);
    if (asked !== undefined && asked.atTs >= request.atTs) return false;
    this.#asked.set(id, request);
    return true;
  }

  /** Only what is missing from the state is worth a word. */
  #drop(list: ToldList, dropped: Dropped): void {
    if (list !== 'state') return;
    this.dropped += 1;
    this.firstDropped ??= dropped;
  }
}

const notChecked: Ingress = { kind: 'dropped', eventId: undefined, reason: 'The event was not judged' };

function droppedBy(ingress: Exclude<Ingress, { kind: 'verified' }>): Dropped {
  if (ingress.kind === 'dropped') return { eventId: ingress.eventId, reason: ingress.reason };
  const servers = new Set(ingress.keys.map(({ server }) => server));
  return { eventId: ingress.eventId, reason: `The signing keys of ${[...servers].join(', ')} cannot be had` };
}

/** Resolves when the promise is settled, or after so long. */
async function settledWithin(promise: Promise<unknown>, ms: number): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  try {
    await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
  }
}

import { newToken } from '#keys/tokens.ts';
import type { Clock } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';

/** What two devices that do not trust this server tell each other by it: the last that one of them has left there. */
export interface Rendezvous {
  readonly id: string;
  readonly data: string;
  /** Another one for each writing, also of the same data. */
  readonly revision: string;
  readonly changedTs: number;
  readonly expiresTs: number;
  /** By which request it was written, where requests have ids. */
  readonly txnId: string | undefined;
}

/** "The server MUST enforce a maximum payload size of 4096 UTF8 characters." */
export const MOST_DATA = 4_096;
/** "the maximum timeout SHOULD be 300 seconds for security" */
const LIFETIME_MS = 300_000;
/** Some 4 MB in all. When there are too many, the one that was unused for longest goes. */
const MOST_SESSIONS = 1_000;

/** In memory: they are for a few minutes, and a restart makes people begin again. */
export class RendezvousSessions {
  readonly #clock: Clock;
  readonly #byId = new Lru<string, Rendezvous>({ maxEntries: MOST_SESSIONS });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  create(data: string): Rendezvous {
    const now = this.#clock.now();
    const created = {
      ...{ id: newToken('krv'), data, revision: newToken('rev'), changedTs: now, txnId: undefined },
      expiresTs: now + LIFETIME_MS,
    };
    this.#byId.set(created.id, created);
    return created;
  }

  of(id: string): Rendezvous | undefined {
    const known = this.#byId.get(id);
    if (known === undefined || known.expiresTs > this.#clock.now()) return known;
    this.#byId.delete(id);
    return undefined;
  }

  /** Replaces the data of a session by what was written upon seeing `revision`. */
  replace(
    { id }: Rendezvous,
    { data, revision, txnId }: { data: string; revision: string; txnId?: string | undefined },
  ): Rendezvous | 'concurrent_write' | undefined {
    const known = this.of(id);
    if (known === undefined) return undefined;
    // Asked again: the answer was lost.
    if (txnId !== undefined && txnId === known.txnId) return known;
    if (known.revision !== revision) return 'concurrent_write';
    const written = { ...known, data, revision: newToken('rev'), changedTs: this.#clock.now(), txnId };
    this.#byId.set(id, written);
    return written;
  }

  remove(id: string): boolean {
    const isThere = this.of(id) !== undefined;
    this.#byId.delete(id);
    return isThere;
  }
}

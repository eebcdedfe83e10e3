import type { ServerName } from '#keys/ids.ts';
import { Lru } from '#storage/lru.ts';

/** What another server has lately asked of this one. Times in milliseconds since 1970. */
export interface CallFacts {
  /** When a request was last signed by it. */
  readonly calledTs?: number;
  /** The last request in its name that was refused. Anybody can make one. */
  readonly refused?: { readonly ts: number; readonly reason: string };
  /** When our key was last fetched from one of its addresses. */
  readonly fetchedKeyTs?: number;
}

const MOST_SERVERS = 10_000;
const MOST_ADDRESSES = 1_000;
const MAX_REASON = 200;

/** Who calls. In memory: what is known begins when the server starts. */
export class Callers {
  readonly #clock: { now(): number };
  readonly #calls = new Lru<ServerName, number>({ maxEntries: MOST_SERVERS });
  /** By itself, so that names that somebody made up take no place from those that called. */
  readonly #refusals = new Lru<ServerName, { ts: number; reason: string }>({ maxEntries: MOST_ADDRESSES });
  readonly #fetches = new Lru<string, number>({ maxEntries: MOST_ADDRESSES });

  constructor(clock: { now(): number }) {
    this.#clock = clock;
  }

  /** A request of `server` was verified. */
  called(server: ServerName): void {
    this.#calls.set(server, this.#clock.now());
  }

  /** A request in the name of `server` was not. */
  refused(server: ServerName, reason: string): void {
    this.#refusals.set(server, { ts: this.#clock.now(), reason: reason.slice(0, MAX_REASON) });
  }

  /** Our key document was given to an IP address. */
  fetchedKey(address: string): void {
    this.#fetches.set(address, this.#clock.now());
  }

  /** What is known of a server at some addresses. */
  of(server: ServerName, addresses: readonly string[]): CallFacts {
    const calledTs = this.#calls.get(server);
    const refused = this.#refusals.get(server);
    const fetches = addresses.map((address) => this.#fetches.get(address)).filter((ts) => ts !== undefined);
    return {
      ...(calledTs !== undefined && { calledTs }),
      ...(refused !== undefined && { refused }),
      ...(fetches.length > 0 && { fetchedKeyTs: Math.max(...fetches) }),
    };
  }
}

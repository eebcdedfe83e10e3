/** Has files looked at by the scanner: so many at once, each for so long, and none where it does not answer. */

import { Flights } from '#federation/flights.ts';
import { TimeLimit } from '#federation/network/time-limit.ts';
import { QuietLog } from '#federation/quiet-log.ts';
import { Lanes, LanesFull } from '#keys/lanes.ts';
import type { Clock, Log } from '#rooms/context.ts';
import { type ScanEngine, ScannerFailed } from './engine.ts';

/** The bytes of a file, and how to end the reading of them. */
export interface ScanSource {
  readonly pieces: AsyncIterable<Buffer>;
  readonly close: () => void;
}

/**
 * What became of a scan:
 * - `too_large`: it is more than is looked at
 * - `failed`: the scanner answers, but not for this file
 * - `unavailable`: it does not answer
 * - `busy`: too many files wait
 * - `missing`: there is no such file
 */
export type ScanOutcome =
  | { readonly kind: 'clean'; readonly version: string }
  | { readonly kind: 'infected'; readonly version: string; readonly signature: string }
  | { readonly kind: 'too_large' | 'failed' | 'unavailable' | 'busy' | 'missing' };

export interface ScanQueueOptions {
  readonly engine: ScanEngine;
  readonly maxBytes: number;
  /** For one file, in milliseconds. */
  readonly timeoutMs: number;
  readonly atOnce: number;
  readonly stopping: AbortSignal;
}

export interface ScanRequest {
  /** The same bytes have the same. */
  readonly key: string;
  readonly size: number;
  readonly open: () => Promise<ScanSource | undefined>;
}

const MOST_WAITING = 256;
/** New signatures are noticed after so long. */
const VERSION_KNOWN_MS = 60_000;
/** A scanner that does not answer is not asked again before. */
const RETRY_MS = 5_000;
const VERSION_TIMEOUT_MS = 5_000;
/** A file that the scanner could not deal with will not be another one soon. */
const FAILURE_REMEMBERED_MS = 60_000;

export class ScanQueue {
  readonly #options: ScanQueueOptions;
  readonly #clock: Clock;
  readonly #log: QuietLog;
  readonly #lanes: Lanes;
  readonly #flights: Flights<ScanOutcome>;
  #version: { readonly version: string | undefined; readonly at: number } | undefined;
  #asking: Promise<string | undefined> | undefined;
  #lastFailure: string | undefined;
  /** Since the start. */
  readonly #counts = { clean: 0, infected: 0, too_large: 0, failed: 0, unavailable: 0, busy: 0, missing: 0 };

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Log }, options: ScanQueueOptions) {
    this.#options = options;
    this.#clock = clock;
    this.#log = new QuietLog({ log, clock });
    this.#lanes = new Lanes(options.atOnce, MOST_WAITING);
    this.#flights = new Flights({
      clock,
      isLasting: ({ kind }) => kind === 'failed' || kind === 'too_large',
      rememberedMs: FAILURE_REMEMBERED_MS,
    });
  }

  /** How many scans ended how, since the start. */
  get counts(): Readonly<Record<ScanOutcome['kind'], number>> {
    return this.#counts;
  }

  /** Why the scanner failed last. */
  get lastFailure(): string | undefined {
    return this.#lastFailure;
  }

  /** The signatures that the scanner knows, as of a minute ago at most; undefined where it does not answer. */
  async version(): Promise<string | undefined> {
    const known = this.#version;
    const keptMs = known?.version === undefined ? RETRY_MS : VERSION_KNOWN_MS;
    if (known !== undefined && Math.abs(this.#clock.now() - known.at) < keptMs) return known.version;
    this.#asking ??= this.#askVersion().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  /** Has a file looked at, once at a time for the same bytes. */
  async scan(request: ScanRequest): Promise<ScanOutcome> {
    if (request.size > this.#options.maxBytes) return { kind: 'too_large' };
    try {
      return await this.#flights.run(request.key, () => this.#lanes.run(() => this.#scan(request)));
    } catch (error) {
      if (!(error instanceof LanesFull)) throw error;
      this.#counts.busy += 1;
      return { kind: 'busy' };
    }
  }

  async #scan(request: ScanRequest): Promise<ScanOutcome> {
    const outcome = await this.#outcomeOf(request);
    this.#counts[outcome.kind] += 1;
    return outcome;
  }

  async #outcomeOf({ size, open }: ScanRequest): Promise<ScanOutcome> {
    // Whoever waited until the scanner has failed for others is told at once.
    const version = await this.version();
    if (version === undefined) return { kind: 'unavailable' };
    const source = await open();
    if (source === undefined) return { kind: 'missing' };
    using limit = new TimeLimit(this.#options.timeoutMs, [this.#options.stopping]);
    try {
      const answer = await this.#options.engine.scan({ size, pieces: source.pieces }, limit.signal);
      return answer.kind === 'too_large' ? answer : { ...answer, version };
    } catch (error) {
      if (!(error instanceof ScannerFailed)) throw error;
      this.#failed(error);
      // Whether it is the file, or the scanner.
      this.#version = undefined;
      return { kind: (await this.version()) === undefined ? 'unavailable' : 'failed' };
    } finally {
      source.close();
    }
  }

  async #askVersion(): Promise<string | undefined> {
    const version = await this.#versionNow();
    this.#version = { version, at: this.#clock.now() };
    return version;
  }

  async #versionNow(): Promise<string | undefined> {
    const ms = Math.min(VERSION_TIMEOUT_MS, this.#options.timeoutMs);
    using limit = new TimeLimit(ms, [this.#options.stopping]);
    try {
      return await this.#options.engine.version(limit.signal);
    } catch (error) {
      if (!(error instanceof ScannerFailed)) throw error;
      this.#failed(error);
      return undefined;
    }
  }

  #failed({ message }: ScannerFailed): void {
    if (this.#options.stopping.aborted) return;
    this.#lastFailure = message;
    this.#log.warn({ reason: message }, 'the scanner for malware has failed');
  }
}

/** Scans of what is in the content repository already: what was let through, and what the operator wants seen again. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '#rooms/context.ts';
import { PlaceUnavailable } from '#storage/blob-place.ts';
import type { Blobs } from '#storage/blobs.ts';
import type { Database } from '#storage/database.ts';
import { filesAfter, type MediaScan, ofFiles, type StoredFile } from '#storage/media-scans.ts';
import type { FileScanner } from './file-scanner.ts';
import type { ScanOutcome, ScanQueue } from './scan-queue.ts';

export interface BacklogContext {
  readonly db: Database;
  readonly log: Log;
  readonly blobs: Blobs;
  readonly stopping: AbortSignal;
}

/** How far a run came. `isWhole`: to the end; else the scanner or the bucket did not answer, or the server stops. */
export interface BacklogRun {
  readonly clean: number;
  readonly infected: number;
  /** The scanner did not deal with them, or they could not be read. */
  readonly unscanned: number;
  readonly isWhole: boolean;
}

const FILES_AT_ONCE = 200;
const EVERY_MS = 60 * 60_000;

export class ScanBacklog {
  readonly #ctx: BacklogContext;
  readonly #files: FileScanner;
  readonly #queue: ScanQueue;
  #running: Promise<BacklogRun> | undefined;

  constructor(ctx: BacklogContext, files: FileScanner, queue: ScanQueue) {
    this.#ctx = ctx;
    this.#files = files;
    this.#queue = queue;
  }

  /** Scans what never was, now and every hour, until the server stops. */
  async keepOn(): Promise<void> {
    const { stopping } = this.#ctx;
    while (!stopping.aborted) {
      await this.#runWhatNeverWas().catch((error: unknown) =>
        this.#ctx.log.error({ err: error }, 'files could not be scanned: it is tried again'),
      );
      await sleep(EVERY_MS, undefined, { signal: stopping, ref: false }).catch(() => undefined);
    }
  }

  async #runWhatNeverWas(): Promise<void> {
    const run = await this.run((known) => known === undefined);
    if (run.clean + run.infected + run.unscanned > 0)
      this.#ctx.log.info(run, 'files were scanned that never were');
  }

  /** Scans again what was not scanned with the signatures of today, the infected among them. */
  async rescan(): Promise<BacklogRun> {
    const version = await this.#queue.version();
    if (version === undefined) return { clean: 0, infected: 0, unscanned: 0, isWhole: false };
    return await this.run(
      (known) => known?.verdict !== 'allowed' && (known?.verdict !== 'clean' || known.version !== version),
    );
  }

  /** Scans those files of which `isWanted` by what was said of them, one after the other; one run at a time. */
  async run(isWanted: (known: MediaScan | undefined) => boolean): Promise<BacklogRun> {
    while (this.#running !== undefined) await this.#running.catch(() => undefined);
    this.#running = this.#run(isWanted).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(isWanted: (known: MediaScan | undefined) => boolean): Promise<BacklogRun> {
    const { db, stopping } = this.#ctx;
    const counts = { clean: 0, infected: 0, unscanned: 0 };
    let after = '';
    while (!stopping.aborted) {
      // Page by page: there may be many.
      const page = await filesAfter(db, after, FILES_AT_ONCE);
      const known = await ofFiles(
        db,
        page.map(({ sha256 }) => sha256),
      );
      for (const file of page) {
        after = file.sha256;
        if (!isWanted(known.get(file.sha256)) || stopping.aborted) continue;
        // One after the other: what users wait for goes beside it.
        const kind = await this.#look(file);
        if (kind === 'unavailable') return { ...counts, isWhole: false };
        if (kind === 'clean' || kind === 'infected') counts[kind] += 1;
        else if (kind !== 'missing') counts.unscanned += 1;
      }
      if (page.length < FILES_AT_ONCE) return { ...counts, isWhole: true };
    }
    return { ...counts, isWhole: false };
  }

  /** Where files are in a bucket that does not answer, the others need not be tried. */
  async #look(file: StoredFile): Promise<ScanOutcome['kind']> {
    const { blobs, log } = this.#ctx;
    try {
      return (await this.#files.look(file, () => blobs.read(file.sha256))).kind;
    } catch (error) {
      log.error({ err: error, sha256: file.sha256 }, 'a file could not be read to be scanned');
      return error instanceof PlaceUnavailable ? 'unavailable' : 'failed';
    }
  }
}

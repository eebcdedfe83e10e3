/** What may be taken and served of the content repository: what the scanner says of files, and what follows from it. */

import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Clearance, MediaScanner } from '#federation/media/scanner.ts';
import { type Mxc, mxcOf } from '#keys/mxc.ts';
import type { Clock, Log } from '#rooms/context.ts';
import type { ReceivedFile } from '#storage/blobs.ts';
import type { Database, Tx } from '#storage/database.ts';
import { held, quarantineFile } from '#storage/media.ts';
import * as mediaScans from '#storage/media-scans.ts';
import { clearanceOf } from './clearance.ts';
import type { ScanOutcome, ScanQueue, ScanSource } from './scan-queue.ts';

export interface FileScannerContext {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Log;
}

type Open = () => Promise<Readable | undefined>;

export class FileScanner implements MediaScanner {
  readonly #ctx: FileScannerContext;
  readonly #queue: ScanQueue;
  readonly #failsOpen: boolean;

  /** `failsOpen`: what the scanner does not look at is let through. */
  constructor(ctx: FileScannerContext, queue: ScanQueue, { failsOpen }: { readonly failsOpen: boolean }) {
    this.#ctx = ctx;
    this.#queue = queue;
    this.#failsOpen = failsOpen;
  }

  async received(
    { sha256, size, path }: ReceivedFile,
    about: object,
  ): Promise<{ readonly clearance: Clearance; readonly note: (tx: Tx) => Promise<void> }> {
    if (await this.#isKnownClear(sha256)) return { clearance: 'clear', note: async () => undefined };
    const outcome = await this.#queue.scan({
      key: sha256,
      size,
      open: async () => sourceOf(createReadStream(path)),
    });
    if (outcome.kind === 'infected') this.#log({ ...about, sha256, size, ...outcome });
    return {
      clearance: clearanceOf(outcome, this.#failsOpen),
      note: async (tx) => {
        if (outcome.kind === 'clean') await this.#note(tx, sha256, outcome);
      },
    };
  }

  async stored({ sha256, size, ...mxc }: mediaScans.StoredFile & Mxc, openFile: Open): Promise<Clearance> {
    if (await this.#isKnownClear(sha256)) return 'clear';
    const wasInfected = await this.isInfected(sha256);
    const outcome = await this.look({ sha256, size }, openFile);
    if (outcome.kind === 'infected') this.#log({ mxc: mxcOf(mxc), sha256, size, ...outcome });
    // Until the scanner says otherwise, where it is not in quarantine since the operator protects it.
    if (wasInfected && outcome.kind !== 'clean') return 'infected';
    return clearanceOf(outcome, this.#failsOpen);
  }

  async isInfected(sha256: string): Promise<boolean> {
    return (await mediaScans.of(this.#ctx.db, sha256))?.verdict === 'infected';
  }

  /** Has a file that is here looked at, whatever was said of it before, and writes down what is said now. */
  async look({ sha256, size }: mediaScans.StoredFile, openFile: Open): Promise<ScanOutcome> {
    const source = async (): Promise<ScanSource | undefined> => {
      const file = await openFile();
      return file && sourceOf(file);
    };
    const outcome = await this.#queue.scan({ key: sha256, size, open: source });
    if (outcome.kind === 'clean' || outcome.kind === 'infected') {
      await this.#ctx.db.write('mediaScans.set', async (tx) => {
        // Unless it has gone meanwhile: nobody would forget what was said of it.
        if ((await held(tx, [sha256])).has(sha256)) await this.#note(tx, sha256, outcome);
      });
    }
    return outcome;
  }

  /**
   * Whether nothing was found with the signatures of today, or the operator has allowed it. While the scanner does not
   * answer, what it said last holds.
   */
  async #isKnownClear(sha256: string): Promise<boolean> {
    const known = await mediaScans.of(this.#ctx.db, sha256);
    if (known === undefined || known.verdict === 'infected') return false;
    if (known.verdict === 'allowed') return true;
    const version = await this.#queue.version();
    return version === undefined || version === known.version;
  }

  async #note(
    tx: Tx,
    sha256: string,
    outcome: Extract<ScanOutcome, { readonly kind: 'clean' | 'infected' }>,
  ): Promise<void> {
    const { kind: verdict, version } = outcome;
    const scannedTs = this.#ctx.clock.now();
    const signature = outcome.kind === 'infected' ? outcome.signature : undefined;
    await mediaScans.set(tx, sha256, { verdict, version, signature, scannedTs });
    if (verdict === 'infected') await quarantineFile(tx, sha256, scannedTs);
  }

  #log(fields: object): void {
    this.#ctx.log.warn(fields, 'malware was found in a file');
  }
}

function sourceOf(pieces: Readable): ScanSource {
  // Whoever reads it is told; nobody may have begun to.
  pieces.on('error', () => undefined);
  return { pieces, close: () => pieces.destroy() };
}

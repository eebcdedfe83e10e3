/** What the scanner says of encrypted files, by the keys that clients give for a moment. */

import { hash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Clearance } from '#federation/media/scanner.ts';
import { Lru } from '#storage/lru.ts';
import { clearanceOf } from './clearance.ts';
import { decryptedSource, type EncryptedFile } from './encrypted-file.ts';
import type { ScanOutcome, ScanQueue } from './scan-queue.ts';

const MOST_REMEMBERED = 10_000;

/**
 * Results are kept in memory, by a hash: neither keys nor what was in the files are. An infected file is not put in
 * quarantine, since anybody may give a key that turns it into what looks like malware.
 */
export class EncryptedScanner {
  readonly #queue: ScanQueue;
  readonly #failsOpen: boolean;
  readonly #results = new Lru<string, ScanOutcome & { readonly version: string }>({
    maxEntries: MOST_REMEMBERED,
  });

  /** `failsOpen`: what the scanner does not look at is let through. */
  constructor(queue: ScanQueue, { failsOpen }: { readonly failsOpen: boolean }) {
    this.#queue = queue;
    this.#failsOpen = failsOpen;
  }

  /** Has what is in a file of `size` bytes looked at, unless it was with the signatures of today. */
  async look(
    file: EncryptedFile & { readonly size: number },
    open: () => Promise<Readable | undefined>,
  ): Promise<{ readonly clearance: Clearance; readonly isScanned: boolean }> {
    const outcome = await this.#outcomeOf(file, open);
    const isScanned = outcome.kind === 'clean' || outcome.kind === 'infected';
    return { clearance: clearanceOf(outcome, this.#failsOpen), isScanned };
  }

  async #outcomeOf(
    file: EncryptedFile & { readonly size: number },
    open: () => Promise<Readable | undefined>,
  ): Promise<ScanOutcome> {
    const key = hash('sha256', Buffer.concat([file.key, file.iv, Buffer.from(file.sha256, 'hex')]), 'hex');
    const known = this.#results.get(key);
    const version = known && (await this.#queue.version());
    if (known !== undefined && (version === undefined || version === known.version)) return known;
    const outcome = await this.#queue.scan({
      key: `encrypted ${key}`,
      size: file.size,
      open: async () => {
        const handle = await open();
        return handle && decryptedSource(file, handle);
      },
    });
    if (outcome.kind === 'clean' || outcome.kind === 'infected') this.#results.set(key, outcome);
    return outcome;
  }
}

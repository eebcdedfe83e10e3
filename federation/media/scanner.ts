import type { Readable } from 'node:stream';
import type { Mxc } from '#keys/mxc.ts';
import type { ReceivedFile } from '#storage/blobs.ts';
import type { Tx } from '#storage/database.ts';
import type { StoredFile } from '#storage/media-scans.ts';

/**
 * Whether bytes may be given to anybody:
 * - `clear`: nothing was found in them, or what was not looked at is let through
 * - `infected`: malware was found
 * - `too_large`: they are more than is looked at
 * - `unavailable`: the scanner does not answer
 * - `busy`: too many files wait for it
 */
export type Clearance = 'clear' | 'infected' | 'too_large' | 'unavailable' | 'busy';

/** What looks for malware in files. */
export interface MediaScanner {
  /**
   * Looks at bytes that are not kept yet; `about` goes into the log where malware is found. `note` writes down what was
   * said, with what names them in the database.
   */
  received(
    file: ReceivedFile,
    about: object,
  ): Promise<{ readonly clearance: Clearance; readonly note: (tx: Tx) => Promise<void> }>;
  /**
   * Looks at bytes that are here, unless it has with the signatures of today. Where they are infected, all that has them
   * is in quarantine from then on.
   */
  stored(file: StoredFile & Mxc, open: () => Promise<Readable | undefined>): Promise<Clearance>;
  /** Whether malware was found in bytes that are here. */
  isInfected(sha256: string): Promise<boolean>;
}

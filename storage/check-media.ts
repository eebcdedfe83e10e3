/** Whether the files that users uploaded are where they should be. Reads only. */

import type { Blobs } from './blobs.ts';
import type { Finding } from './check.ts';
import type { Reader } from './database.ts';
import { sql } from './sql.ts';

const PAGE = sql<[string, number], { sha256: string; size: number }>(
  'checkMedia.page',
  `SELECT DISTINCT sha256, size FROM media WHERE sha256 > ? AND user_id IS NOT NULL ORDER BY sha256 LIMIT ?`,
);
const FILES_AT_ONCE = 500;
const ASKED_AT_ONCE = 16;

/**
 * The first upload whose file is missing or cut. What is kept of other servers is fetched again where it is missing.
 */
export async function mediaFindings(reader: Reader, files: Pick<Blobs, 'sizeOf'>): Promise<Finding[]> {
  for (let after = ''; ; ) {
    // Page by page: there may be many.
    const page = await reader.all(PAGE, after, FILES_AT_ONCE);
    for (let at = 0; at < page.length; at += ASKED_AT_ONCE) {
      const some = page.slice(at, at + ASKED_AT_ONCE);
      // A few at once: each may be on another machine.
      const sizes = await Promise.all(some.map(({ sha256 }) => files.sizeOf(sha256)));
      const wrong = some.find(({ size }, index) => sizes[index] !== size);
      if (wrong !== undefined)
        return [{ rule: 'the file of a media is there, and whole', example: wrong.sha256 }];
    }
    const last = page.at(-1);
    if (last === undefined) return [];
    after = last.sha256;
  }
}

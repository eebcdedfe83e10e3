/** Whether the files that users uploaded are where they should be. Reads only. */

import { stat } from 'node:fs/promises';
import { blobPath } from './blobs.ts';
import type { Finding } from './check.ts';
import type { Reader } from './database.ts';
import { sql } from './sql.ts';

const PAGE = sql<[string, number], { sha256: string; size: number }>(
  'checkMedia.page',
  `SELECT DISTINCT sha256, size FROM media WHERE sha256 > ? AND user_id IS NOT NULL ORDER BY sha256 LIMIT ?`,
);
const FILES_AT_ONCE = 500;

/**
 * The first upload whose file is missing or cut, in the folder of the content repository. What is kept of other
 * servers is fetched again where it is missing.
 */
export async function mediaFindings(reader: Reader, folder: string): Promise<Finding[]> {
  for (let after = ''; ; ) {
    // Page by page: there may be many.
    const page = await reader.all(PAGE, after, FILES_AT_ONCE);
    for (const { sha256, size } of page) {
      const found = await sizeOf(blobPath(folder, sha256));
      if (found !== size) return [{ rule: 'the file of a media is there, and whole', example: sha256 }];
    }
    const last = page.at(-1);
    if (last === undefined) return [];
    after = last.sha256;
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

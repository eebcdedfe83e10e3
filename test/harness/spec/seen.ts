/** Which operations were answered with success, for the end of the suite: see `suite.ts`. */

import { appendFileSync } from 'node:fs';
import path from 'node:path';

/** The folder that the suite collects in; undefined where only some tests run. */
export const SEEN_FOLDER = 'KURIR_TEST_SEEN';

const seen = new Set<string>();

export function noteSeen(operation: string): void {
  const folder = process.env[SEEN_FOLDER];
  if (folder === undefined || seen.has(operation)) return;
  seen.add(operation);
  appendFileSync(path.join(folder, `${process.pid}.txt`), `${operation}\n`);
}

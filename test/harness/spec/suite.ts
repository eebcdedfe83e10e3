/**
 * For `node --test --test-global-setup`, where the whole suite runs: at its end, each operation that is served must
 * have been answered with success, and so checked, at least once; each of application services and push gateways must
 * have been asked.
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { specBundle } from './bundle.ts';
import { nameOf } from './operations.ts';
import { SEEN_FOLDER } from './seen.ts';
import { UNSEEN } from './unseen.ts';

const NOT_SERVED = path.join(import.meta.dirname, '../../not-served.json');

export function globalSetup(): void {
  process.env[SEEN_FOLDER] = mkdtempSync(path.join(os.tmpdir(), 'kurir-seen-'));
}

export async function globalTeardown(): Promise<void> {
  const folder = process.env[SEEN_FOLDER] ?? '';
  const problems = await unseenProblems(seenIn(folder));
  rmSync(folder, { recursive: true, force: true });
  if (problems.length === 0) return;
  console.error(problems.join('\n'));
  process.exitCode = 1;
}

/** What processes have noted in a folder. */
export function seenIn(folder: string): Set<string> {
  const files = readdirSync(folder).map((name) => readFileSync(path.join(folder, name), 'utf8'));
  return new Set(files.flatMap((text) => text.trimEnd().split('\n')));
}

/** What of the served operations nothing has asked for, and what of the list of those is wrong. */
export async function unseenProblems(seen: ReadonlySet<string>): Promise<string[]> {
  const notServed: readonly string[] = JSON.parse(readFileSync(NOT_SERVED, 'utf8')).operations;
  const served = (await specBundle()).operations
    .filter(({ api }) => api !== 'identity')
    .map(nameOf)
    .filter((name) => !notServed.includes(name));
  const unseen = new Set(served).difference(seen);
  return [
    ...[...unseen]
      .filter((name) => !UNSEEN.has(name))
      .map((name) => `no test gets an answer of ${name}: write one, or give the reason in unseen.ts`),
    ...[...UNSEEN.keys()]
      .filter((name) => !unseen.has(name))
      .map((name) => `unseen.ts lists ${name}, which is not served or which a test asks for`),
  ];
}

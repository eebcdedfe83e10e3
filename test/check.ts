/**
 * `npm run check`: types, format and lint, layers, size limits. Runs all of them, says which fail and what to do,
 * and exits with 1 if any does.
 */

import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { layerProblems } from '#test/layers.ts';
import { readRepository } from '#test/source-facts.ts';
import { styleProblems } from '#test/style.ts';

const root = path.resolve(import.meta.dirname, '..');
const files = readRepository(root);

const checks = [
  {
    name: 'types (tsc --noEmit)',
    problems: () => runTool('typescript/bin/tsc', ['--noEmit', '--pretty', 'false', '-p', root]),
    advice: 'Mend the lines that it names.',
  },
  {
    name: 'format and lint (biome check)',
    problems: () =>
      runTool('@biomejs/biome/bin/biome', ['check', '--error-on-warnings', '--colors=off', root]),
    advice: 'Most of it mends itself: node_modules/.bin/biome check --write',
  },
  {
    name: `layers (${files.length} files)`,
    problems: () => layerProblems(files),
    advice: 'The order is keys, storage, rooms, federation, server; see docs/ and test/layers.ts.',
  },
  {
    name: 'size limits and style',
    problems: () => styleProblems(files),
    advice: 'A file or function that is too long holds two nouns: give each a place of its own.',
  },
];

let failed = 0;
for (const { name, problems, advice } of checks) {
  const lines = problems();
  console.log(`${lines.length === 0 ? 'ok    ' : 'FAILED'}  ${name}`);
  if (lines.length === 0) continue;
  failed++;
  console.log(`${lines.map((line) => `        ${line}\n`).join('')}        ${advice}`);
}
console.log(failed === 0 ? 'All checks passed.' : `${failed} of ${checks.length} checks failed.`);
process.exitCode = failed === 0 ? 0 : 1;

/** What a tool of node_modules printed if it failed, as lines; none if it passed. */
function runTool(script: string, args: readonly string[]): string[] {
  const { status, stdout, stderr, error } = spawnSync(
    process.execPath,
    [path.join(root, 'node_modules', script), ...args],
    { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
  );
  if (error !== undefined) return [`could not run ${script}: ${error.message}`];
  return status === 0 ? [] : [...`${stderr}${stdout}`.trimEnd().split('\n'), `(exit code ${status})`];
}

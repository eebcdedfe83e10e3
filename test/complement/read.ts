/**
 * `npm run complement:read -- FILE`: what `go test -json` of Complement printed, against our table and Synapse's.
 * Fails where something that passed does not any more; `--write` makes the results the table.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  type Count,
  compare,
  countByPackage,
  formatTable,
  readGoTest,
  readTable,
  replacePackages,
} from './results.ts';

const table = new URL('./results.tsv', import.meta.url);
const synapse = readTable(readFileSync(new URL('./synapse.tsv', import.meta.url), 'utf8'));

const { values, positionals } = parseArgs({
  options: { write: { type: 'boolean' } },
  allowPositionals: true,
});
const [file] = positionals;
if (file === undefined) {
  console.error('Name the file with what `go test -json` printed: npm run complement:read -- FILE [--write]');
  process.exit(2);
}
const now = readGoTest(readFileSync(file, 'utf8'));
if (now.size === 0) {
  console.error(`${file} holds no result: run Complement with "go test -json"`);
  process.exit(2);
}
const before = existsSync(table) ? readTable(readFileSync(table, 'utf8')) : new Map();
const { gains, losses } = compare(before, now);
const beside = compare(synapse, now);

for (const count of countByPackage(now)) console.log(lineOf(count));
show('Passes now and did not before', gains);
show('PASSED BEFORE AND DOES NOT NOW', losses);
show('Passes here and not with Synapse', beside.gains);
show('Passes with Synapse and not here', beside.losses);
if (values.write === true) {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const day = new Date().toISOString().slice(0, 10);
  writeFileSync(
    table,
    formatTable(replacePackages(before, now), `${day}, Kurir ${commit}, Complement 50044edb`),
  );
  console.log('\nresults.tsv is written.');
}
process.exitCode = losses.length > 0 ? 1 : 0;

function lineOf({ packageName, top, sub }: Count): string {
  return `${packageName.padEnd(16)} tests ${top.pass}/${top.fail}/${top.skip}, subtests ${sub.pass}/${sub.fail}/${sub.skip} (pass/fail/skip)`;
}

function show(title: string, keys: readonly string[]): void {
  console.log(`\n${title}: ${keys.length}`);
  for (const key of keys) console.log(`  ${key.replace('\t', ' ')}`);
}

/** Complement's results as tables: a line for each test and subtest, `package`, `test` and `result`. */

import { isObject, stringAt } from '#keys/json.ts';

export const outcomes = ['pass', 'fail', 'skip'] as const;
export type Outcome = (typeof outcomes)[number];

/** By package and test, as `keyOf` has them. */
export type Results = ReadonlyMap<string, Outcome>;

export interface Comparison {
  /** What passes now and did not before. */
  readonly gains: readonly string[];
  /** What passed before and does not now, or did not run although its package did. */
  readonly losses: readonly string[];
}

const MODULE = 'github.com/matrix-org/complement/';
const HEADER = 'package\ttest\tresult';

export function keyOf(packageName: string, test: string): string {
  return `${packageName}\t${test}`;
}

/** What `go test -json` printed: one JSON object a line, among lines of the compiler that are none. */
export function readGoTest(text: string): Results {
  const results = new Map<string, Outcome>();
  for (const line of text.split('\n')) {
    if (!line.startsWith('{')) continue;
    const event: unknown = JSON.parse(line);
    if (!isObject(event)) continue;
    const test = stringAt(event, 'Test');
    const outcome = outcomes.find((known) => known === event.Action);
    if (test === undefined || outcome === undefined) continue;
    results.set(keyOf((stringAt(event, 'Package') ?? '').replace(MODULE, ''), test), outcome);
  }
  return results;
}

/** A table; lines that begin with `#`, and the header, are passed over. */
export function readTable(text: string): Results {
  const results = new Map<string, Outcome>();
  for (const line of text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .slice(1)) {
    const [packageName = '', test = '', result = ''] = line.split('\t');
    const outcome = outcomes.find((known) => known === result);
    if (outcome === undefined) throw new Error(`no result: ${line}`);
    results.set(keyOf(packageName, test), outcome);
  }
  return results;
}

/** The text of a table, with a comment as its first line. */
export function formatTable(results: Results, comment: string): string {
  const lines = [...results].map(([key, outcome]) => `${key}\t${outcome}`).sort();
  return [`# ${comment}`, HEADER, ...lines, ''].join('\n');
}

/** `now` against `before`; of packages that did not run now nothing is said. */
export function compare(before: Results, now: Results): Comparison {
  const ran = new Set([...now.keys()].map(packageOf));
  const passed = (results: Results, key: string) => results.get(key) === 'pass';
  const gains = [...now.keys()].filter((key) => passed(now, key) && !passed(before, key));
  const losses = [...before.keys()].filter(
    (key) => ran.has(packageOf(key)) && passed(before, key) && !passed(now, key),
  );
  return { gains: gains.sort(), losses: losses.sort() };
}

/** `now` over `before`: packages that ran now are replaced whole. */
export function replacePackages(before: Results, now: Results): Results {
  const ran = new Set([...now.keys()].map(packageOf));
  return new Map([...[...before].filter(([key]) => !ran.has(packageOf(key))), ...now]);
}

export interface Count {
  readonly packageName: string;
  readonly top: Readonly<Record<Outcome, number>>;
  readonly sub: Readonly<Record<Outcome, number>>;
}

/** How many pass, fail and are skipped in each package: tests, and their subtests. */
export function countByPackage(results: Results): Count[] {
  const counts = new Map<string, { top: Record<Outcome, number>; sub: Record<Outcome, number> }>();
  for (const [key, outcome] of results) {
    const none = { pass: 0, fail: 0, skip: 0 };
    const count = counts.get(packageOf(key)) ?? { top: { ...none }, sub: { ...none } };
    counts.set(packageOf(key), count);
    count[key.includes('/', packageOf(key).length) ? 'sub' : 'top'][outcome] += 1;
  }
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([packageName, count]) => ({ packageName, ...count }));
}

function packageOf(key: string): string {
  return key.slice(0, key.indexOf('\t'));
}

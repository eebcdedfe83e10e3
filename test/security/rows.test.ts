/**
 * The published attacks and the faults, one line each: its number, what it is, and the file with the test whose name
 * begins with `row N`, or `FN`; or `row M`, whose test is for both; or `owed: PART`, the part of the server that has no
 * such test yet; or `nothing: REASON`, where there is nothing that could be tested. Several are divided by `; `.
 */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const root = new URL('../../', import.meta.url);

for (const [file, prefix] of [
  ['rows.tsv', 'row '],
  ['faults.tsv', 'F'],
] as const) {
  const lines = readFileSync(new URL(file, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n');
  const rows = lines.map((line) => line.split('\t'));

  test(`${file}: each row has a number of its own, in order, a title and a place`, () => {
    for (const row of rows) assert.ok(row.length === 3 && row.every((part) => part !== ''), row.join(' '));
    const numbers = rows.map(([number]) => Number(number));
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
    );
  });

  test(`${file}: each row has its test in the file that it names, or says who owes it`, () => {
    const places = new Map(rows.map(([number, , place]) => [number, place]));
    const isThere = (number: string, place: string): boolean => {
      if (/^(owed|nothing): \w/.test(place)) return true;
      const other = /^row (\d+)$/.exec(place)?.[1];
      if (other !== undefined) return places.get(other)?.startsWith('test/') === true;
      const url = new URL(place, root);
      if (!existsSync(url)) return false;
      return new RegExp(`['"\`](row \\d+: )?${prefix}${number}: `).test(readFileSync(url, 'utf8'));
    };
    const wrong = rows.filter(
      ([number = '', , place = '']) => !place.split('; ').every((part) => isThere(number, part)),
    );
    assert.deepEqual(wrong, []);
  });
}

test('rows.tsv: no attack is missing of those that were published', () => {
  const read = (name: string) => readFileSync(new URL(name, import.meta.url), 'utf8');
  const { from, to } = JSON.parse(read('required-rows.json')) as { from: number; to: number };
  const present = new Set(
    read('rows.tsv')
      .split('\n')
      .map((line) => Number(line.split('\t', 1)[0])),
  );
  const required = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  assert.deepEqual(
    required.filter((number) => !present.has(number)),
    [],
  );
});

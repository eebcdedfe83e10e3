import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compare, countByPackage, formatTable, readGoTest, readTable, replacePackages } from './results.ts';

const line = (Action: string, Package: string, Test?: string) =>
  JSON.stringify({
    Time: '2026-01-01T00:00:00Z',
    Action,
    Package: `github.com/matrix-org/complement/${Package}`,
    Test,
  });

const printed = [
  'go: downloading something',
  line('run', 'tests', 'TestA'),
  line('output', 'tests', 'TestA'),
  line('pass', 'tests', 'TestA/one_thing'),
  line('fail', 'tests', 'TestA'),
  line('skip', 'tests/csapi', 'TestB'),
  line('fail', 'tests'),
].join('\n');

test('complement:read takes the last word on each test and subtest, and nothing of packages as a whole', () => {
  assert.deepEqual(
    [...readGoTest(printed)],
    [
      ['tests\tTestA/one_thing', 'pass'],
      ['tests\tTestA', 'fail'],
      ['tests/csapi\tTestB', 'skip'],
    ],
  );
});

test('complement:read gives back the table that it wrote', () => {
  const results = readGoTest(printed);
  const text = formatTable(results, 'a day, a commit');
  assert.match(text, /^# a day, a commit\npackage\ttest\tresult\n/);
  assert.deepEqual(new Map([...readTable(text)].sort()), new Map([...results].sort()));
  assert.throws(() => readTable('package\ttest\tresult\ntests\tTestA\tperhaps\n'), /no result/);
});

test('complement:read: a loss is what passed and does not now, or did not run though its package did', () => {
  const before = readTable(
    'package\ttest\tresult\na\tT1\tpass\na\tT2\tpass\na\tT3\tfail\na\tT4\tpass\nb\tT5\tpass\n',
  );
  const now = readTable('package\ttest\tresult\na\tT1\tpass\na\tT2\tfail\na\tT3\tpass\n');
  assert.deepEqual(compare(before, now), { gains: ['a\tT3'], losses: ['a\tT2', 'a\tT4'] });
  assert.deepEqual([...replacePackages(before, now).keys()], ['b\tT5', 'a\tT1', 'a\tT2', 'a\tT3']);
});

test('complement:read counts tests and subtests apart', () => {
  assert.deepEqual(countByPackage(readGoTest(printed)), [
    { packageName: 'tests', top: { pass: 0, fail: 1, skip: 0 }, sub: { pass: 1, fail: 0, skip: 0 } },
    { packageName: 'tests/csapi', top: { pass: 0, fail: 0, skip: 1 }, sub: { pass: 0, fail: 0, skip: 0 } },
  ]);
});

test("the table of Synapse's results can be read", () => {
  const synapse = readTable(readFileSync(new URL('./synapse.tsv', import.meta.url), 'utf8'));
  assert.ok(synapse.size > 700);
});

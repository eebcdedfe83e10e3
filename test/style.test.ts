import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { readRepository, readSamples } from '#test/source-facts.ts';
import { styleProblems } from '#test/style.ts';

function problemsOf(samples: Record<string, string>): string[] {
  return styleProblems(readSamples(samples));
}

test('style: this repository keeps its limits', () => {
  const files = readRepository(path.resolve(import.meta.dirname, '..'));
  assert.ok(
    files.some(({ file }) => file === 'keys/ids.ts'),
    'the product was read',
  );
  assert.deepEqual(styleProblems(files), []);
});

test('style: a product file has at most 400 lines', () => {
  const lines = (count: number) => 'export {};\n'.repeat(count);
  assert.deepEqual(
    problemsOf({ 'keys/long.ts': lines(401), 'keys/short.ts': lines(400), 'test/long.ts': lines(999) }),
    ['keys/long.ts: 401 lines, more than 400'],
  );
});

test('style: a function has at most 80 lines, its braces in strings, templates and patterns not counted', () => {
  const body = (lines: number) => `  f("}", \`}\${\`}\`}\`, /[}/]/);\n`.repeat(lines - 2);
  const samples = {
    'rooms/a.ts': `/** Doc.\n */\nexport function right() {\n${body(80)}}\nexport function wrong() {\n${body(81)}}\n`,
    'rooms/b.ts': `export const arrow = () => {\n${body(81)}};\nclass C {\n  method() {\n${body(82)}}\n}\n`,
  };
  assert.deepEqual(problemsOf(samples), [
    'rooms/a.ts:83: function wrong has 81 lines, more than 80',
    'rooms/b.ts:1: function arrow has 81 lines, more than 80',
    'rooms/b.ts:83: function method has 82 lines, more than 80',
  ]);
});

test('style: a function has at most 4 parameters', () => {
  const samples = {
    'storage/a.ts':
      'export function f(a: 1, b: 2, c: 3, d: 4) {}\nexport const g = (a = 1, { b, c } = {}, d = 1, e = 1, ...f: 1[]) => 1;\n',
  };
  assert.deepEqual(problemsOf(samples), ['storage/a.ts:2: function g has 5 parameters, more than 4']);
});

test('style: no any, no enum, no default export in the product', () => {
  const samples = {
    'server/a.ts': 'export const a: any = 1;\nexport const b = a as any;\nexport const any = 1; // any\n',
    'server/b.ts': 'enum Colour { red }\nexport default Colour;\n',
    'server/c.ts': 'export default function c() {\n  switch (1) {\n    default:\n  }\n}\n',
    'test/d.ts': 'export const a: any = 1;\n',
  };
  assert.deepEqual(problemsOf(samples), [
    'server/a.ts:1: any is not used here',
    'server/a.ts:2: any is not used here',
    'server/b.ts:1: enum is not used here',
    'server/b.ts:2: default export is not used here',
    'server/c.ts:1: default export is not used here',
  ]);
});

test('style: file names are kebab-case, in tests too', () => {
  const samples = {
    'keys/keyRing.ts': '',
    'keys/key-ring.ts': '',
    'test/Key_ring.test.ts': '',
    'test/a.test.ts': '',
  };
  assert.deepEqual(problemsOf(samples), [
    'keys/keyRing.ts: file names are kebab-case',
    'test/Key_ring.test.ts: file names are kebab-case',
  ]);
});

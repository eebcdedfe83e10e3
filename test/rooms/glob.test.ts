import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { containsInWords, globOf, matchesGlob, matchesGlobInWords } from '#rooms/glob.ts';
import { tryOn } from '#test/harness/rounds.ts';

/** By definition: character by character, every way. */
function slow(pattern: readonly string[], text: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return text.length === 0;
  if (first === '*') return slow(rest, text) || (text.length > 0 && slow(pattern, text.slice(1)));
  return text.length > 0 && (first === '?' || first === text[0]) && slow(rest, text.slice(1));
}

function slowInWords(pattern: string, text: string): boolean {
  const characters = [...text];
  const isWord = (at: number) => /[A-Za-z0-9_]/.test(characters[at] ?? '');
  for (let start = 0; start <= characters.length; start++) {
    if (start > 0 && isWord(start - 1)) continue;
    for (let end = start; end <= characters.length; end++) {
      if (!isWord(end) && slow([...pattern], characters.slice(start, end))) return true;
    }
  }
  return false;
}

const patterns = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '-', '\u{1f370}'), maxLength: 7 });
const texts = fc.string({ unit: fc.constantFrom('a', 'b', '-', ' ', '\u{1f370}'), maxLength: 9 });
const cases = fc.record({ pattern: patterns, text: texts });

test('a glob matches what it means: the whole text', async (t) => {
  await tryOn(t, cases, { usual: 3_000, of: 'patterns' }, ({ pattern, text }) => {
    assert.equal(matchesGlob(pattern, text), slow([...pattern], [...text]));
  });
});

test('a glob matches what it means: a part between two word boundaries', async (t) => {
  await tryOn(t, cases, { usual: 3_000, of: 'patterns' }, ({ pattern, text }) => {
    assert.equal(matchesGlobInWords(globOf(pattern), text), slowInWords(pattern, text));
  });
});

test('a piece is found as it is', () => {
  assert.equal(containsInWords('b*', 'a b* c'), true);
  assert.equal(containsInWords('b*', 'a bb c'), false);
  assert.equal(containsInWords('b', 'bb b'), true);
  assert.equal(containsInWords('b', 'bb bbb'), false);
  assert.equal(containsInWords('b', ''), false);
});

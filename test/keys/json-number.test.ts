/** Numbers in events of room versions 1 to 5, against what Python writes (`event-vectors.py`). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { encodeCanonical, type Parsed, parseStrict } from '#keys/canonical-json.ts';
import { isObject, own } from '#keys/json.ts';
import { bigIntOf, isRawNumber, numberOf } from '#keys/json-number.ts';
import { fc } from '#test/harness/rounds.ts';

const { numbers }: { numbers: readonly { token: string; text: string }[] } = JSON.parse(
  readFileSync(new URL('../rooms/fixtures/event-vectors.json', import.meta.url), 'utf8'),
);

function kept(token: string): Parsed {
  return parseStrict(`{"n":${token}}`, { anyNumbers: true });
}

for (const { token, text } of numbers) {
  test(`the number ${token} is hashed as ${text}, and kept so`, () => {
    const parsed = kept(token);
    assert.ok(parsed.kind === 'ok' && isObject(parsed.value));
    assert.equal(encodeCanonical(parsed.value), `{"n":${text}}`);
    assert.equal(JSON.stringify(parsed.value), `{"n":${text}}`);
    assert.equal(numberOf(own(parsed.value, 'n')), Number(token) + 0 || Number(text));
    // Written and read again it stays the same.
    const again = kept(text);
    assert.ok(again.kind === 'ok');
    assert.equal(encodeCanonical(again.value), `{"n":${text}}`);
  });
}

test('a number beyond a double, and an integer that nobody reads, are refused', () => {
  for (const token of ['1e400', '-1e309', '9'.repeat(4_301)]) {
    assert.deepEqual(kept(token), { kind: 'invalid', reason: 'a number is too large' });
  }
  assert.equal(kept('9'.repeat(4_300)).kind, 'ok');
  for (const token of ['01', '1.', '.5', '+1', '1e', 'NaN', 'Infinity', '-']) {
    assert.equal(kept(token).kind, 'invalid', token);
  }
});

test('without being told so, none of them is taken', () => {
  const strict = numbers.filter(({ token }) => parseStrict(token).kind === 'ok');
  assert.deepEqual(
    strict.map(({ token }) => token),
    ['0', '9007199254740991'],
  );
});

test('a number that is kept is neither an object nor a string, wherever it stands', () => {
  const parsed = parseStrict('[1.0,{"__proto__":2.0,"a":[3.0]}]', { anyNumbers: true });
  assert.ok(parsed.kind === 'ok' && Array.isArray(parsed.value));
  const [first, second] = parsed.value;
  assert.equal(isObject(first), false);
  assert.equal(isRawNumber(first), true);
  assert.ok(isObject(second));
  assert.equal(numberOf(own(second, '__proto__')), 2);
  assert.equal(encodeCanonical(parsed.value), '[1.0,{"__proto__":2.0,"a":[3.0]}]');
  // An object with the same key is none.
  assert.equal(isRawNumber({ rawJSON: '1.0' }), false);
  assert.equal(isObject({ rawJSON: '1.0' }), true);
});

test('integers of any size have their value; what is written with a point is none', () => {
  const value = (token: string) => {
    const parsed = kept(token);
    return parsed.kind === 'ok' && isObject(parsed.value) ? bigIntOf(own(parsed.value, 'n')) : 'refused';
  };
  assert.equal(value('9223372036854775807'), 9_223_372_036_854_775_807n);
  assert.equal(value('-9007199254740993'), -9_007_199_254_740_993n);
  assert.equal(value('12'), 12n);
  for (const token of ['1.0', '1e22', '0.5', '"1"', 'null']) assert.equal(value(token), undefined, token);
});

test('any double is read back from what is written', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (double) => {
      const parsed = kept(Object.is(double, -0) ? '-0.0' : String(double));
      assert.ok(parsed.kind === 'ok');
      assert.ok(Object.is(Number(encodeCanonical(parsed.value).slice(5, -1)), double));
    }),
  );
});

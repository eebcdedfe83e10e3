import assert from 'node:assert/strict';
import { test } from 'node:test';
import oracle from 'canonicaljson';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { Json } from '#keys/json.ts';
import { fc } from '#test/harness/rounds.ts';
import { json } from './json-values.ts';

/** The examples of the specification: https://spec.matrix.org/v1.19/appendices/#examples (Apache-2.0). */
const examples: [input: string, canonical: string][] = [
  ['{}', '{}'],
  ['{ "one": 1, "two": "Two" }', '{"one":1,"two":"Two"}'],
  ['{ "b": "2", "a": "1" }', '{"a":"1","b":"2"}'],
  [
    `{ "auth": { "success": true, "mxid": "@john.doe:example.com", "profile": { "display_name": "John Doe",
       "three_pids": [ { "medium": "email", "address": "john.doe@example.org" },
                       { "medium": "msisdn", "address": "123456789" } ] } } }`,
    '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}',
  ],
  ['{ "a": "日本語" }', '{"a":"日本語"}'],
  ['{ "本": 2, "日": 1 }', '{"日":1,"本":2}'],
  ['{ "a": "\\u65E5" }', '{"a":"日"}'],
  ['{ "a": null }', '{"a":null}'],
  ['{ "a": -0, "b": 1e10 }', '{"a":0,"b":10000000000}'],
];

for (const [index, [input, canonical]] of examples.entries()) {
  test(`canonical JSON: example ${index + 1} of the specification`, () => {
    assert.equal(encodeCanonical(JSON.parse(input)), canonical);
  });
}

test('canonical JSON: keys that look like integers sort as text', () => {
  assert.equal(
    encodeCanonical({ '10': 1, '2': 2, a: 3, '1': 4, '-': 5 }),
    '{"-":5,"1":4,"10":1,"2":2,"a":3}',
  );
});

test('canonical JSON: keys sort by code point, not by UTF-16 unit', () => {
  const keys = ['\u{1F600}', '\uFFFD', '\uE000', '\uD7FF', 'z', '\u{10000}', 'z\u{1F600}', 'z\uFFFD'];
  const encoded = encodeCanonical(Object.fromEntries(keys.map((key) => [key, 0])));
  const order = ['z', 'z\uFFFD', 'z\u{1F600}', '\uD7FF', '\uE000', '\uFFFD', '\u{10000}', '\u{1F600}'];
  assert.equal(encoded, `{${order.map((key) => `"${key}":0`).join(',')}}`);
});

test('canonical JSON: an own __proto__ key is kept', () => {
  const value: Json = JSON.parse('{"b":1,"__proto__":{"c":[{"__proto__":null}]}}');
  assert.equal(encodeCanonical(value), '{"__proto__":{"c":[{"__proto__":null}]},"b":1}');
});

test('canonical JSON: only quotes, backslashes and control characters are escaped, in lower case', () => {
  const controls = Array.from({ length: 0x20 }, (_, unit) => String.fromCharCode(unit)).join('');
  const escaped =
    '\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f' +
    '\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001a\\u001b\\u001c\\u001d\\u001e\\u001f';
  assert.equal(encodeCanonical(controls), `"${escaped}"`);
  assert.equal(encodeCanonical('"\\/\u007f\u0080\u2028\u{1F600}'), '"\\"\\\\/\u007f\u0080\u2028\u{1F600}"');
});

test('canonical JSON: the value that is encoded stays as it was', () => {
  const value = Object.freeze({ b: Object.freeze([1, Object.freeze({ d: 1, c: 2 })]), a: 1 });
  assert.equal(encodeCanonical(value), '{"a":1,"b":[1,{"c":2,"d":1}]}');
  assert.deepEqual(Object.keys(value), ['b', 'a']);
});

test('canonical JSON: as npm canonicaljson has it, which deviates by capitals in \\u001F', () => {
  const lower = (canonical: string) =>
    canonical.replace(/\\\\|\\u00[01][0-9A-F]/g, (found) => found.toLowerCase());
  assert.equal(oracle.stringify('\u001f'), '"\\u001F"');
  fc.assert(
    fc.property(json, (value) => {
      // It takes a member of this name for a constructor and fails where that is null.
      fc.pre(!JSON.stringify(value).includes('"constructor"'));
      assert.equal(encodeCanonical(value), lower(oracle.stringify(value)));
    }),
    { numRuns: 1_000 },
  );
});

test('canonical JSON: reading it back and encoding it again changes nothing', () => {
  fc.assert(
    fc.property(json, (value) => {
      const once = encodeCanonical(value);
      const again: Json = JSON.parse(once);
      assert.deepEqual(again, value);
      assert.equal(encodeCanonical(again), once);
    }),
    { numRuns: 1_000 },
  );
});

test('canonical JSON: the order in which an object was built does not matter', () => {
  const members = fc.uniqueArray(fc.tuple(fc.string(), fc.integer()), {
    selector: ([key]) => key,
    maxLength: 8,
  });
  fc.assert(
    fc.property(members, (list) => {
      const reversed = list.toReversed();
      assert.equal(encodeCanonical(Object.fromEntries(list)), encodeCanonical(Object.fromEntries(reversed)));
    }),
  );
});

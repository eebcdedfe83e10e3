import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCanonical, parseStrict } from '#keys/canonical-json.ts';
import { canonicalMembers, parseMembers, pickMembers } from '#keys/canonical-members.ts';
import type { JsonObject } from '#keys/json.ts';
import { fc } from '#test/harness/rounds.ts';
import { json, jsonObject } from './json-values.ts';

const options = { anyNumbers: false };
const isRecognised = (text: string): boolean => {
  const parsed = parseMembers(text, options);
  return parsed.kind === 'ok' && parsed.members !== undefined;
};

/** The text with a piece put in or cut out somewhere. */
const spoilt = fc
  .tuple(
    json.map(encodeCanonical),
    fc.nat({ max: 200 }),
    fc.nat({ max: 3 }),
    fc.constantFrom(
      '',
      ' ',
      '\\',
      '\\u0041',
      '\\/',
      '\\n',
      '"',
      ',',
      ':',
      '"a":1,',
      ',"a":1',
      '{',
      '}',
      '{}',
      '[',
      ']',
      '-',
      '0',
      '.0',
      'e1',
      '9007199254740993',
      '\ud83d',
      '\ufeff',
    ),
  )
  .map(([text, at, cut, piece]) => {
    const place = at % (text.length + 1);
    return text.slice(0, place) + piece + text.slice(place + cut);
  });

test('text that is taken as canonical JSON is that, and any text is read as parseStrict reads it', () => {
  const texts = fc.oneof(
    spoilt,
    json.map((value) => JSON.stringify(value)),
    jsonObject.map((value) => JSON.stringify(value, null, 1)),
    jsonObject.map(encodeCanonical),
  );
  fc.assert(
    fc.property(texts, fc.boolean(), (text, anyNumbers) => {
      const read = parseMembers(text, { anyNumbers });
      const strict = parseStrict(text, { anyNumbers });
      if (strict.kind === 'invalid') {
        assert.deepEqual(read, strict);
        return;
      }
      assert.ok(read.kind === 'ok');
      assert.deepEqual(read.value, strict.value);
      if (read.members === undefined) return;
      assert.equal(text, encodeCanonical(strict.value));
      assert.deepEqual(read.members, canonicalMembers(strict.value as JsonObject));
    }),
    { numRuns: 5_000 },
  );
});

test('canonical text is recognised by itself: also with escapes, and names beyond U+FFFF', () => {
  assert.ok(isRecognised('{}'));
  assert.ok(isRecognised('{"":1,"\n":2}') === false, 'a control character');
  assert.ok(isRecognised('{"a":{"b":[1,-20,{"b":null}],"c":true},"a!":"\\n\\"\\\\","b":"ä😀"}'));
  assert.ok(isRecognised('{"10":0,"9":0,"__proto__":{"a":1}}'));
  assert.ok(isRecognised('{"z\uE000":0,"z\uFFFD":0,"z\u{1F600}":0}'));
});

test('text that is not canonical is not recognised', () => {
  const texts = [
    '{"b":1,"a":1}',
    '{"a":1,"a":1}',
    '{"a":{"b":1,"b":1}}',
    '{"a!":1,"a":1}',
    '{"z\u{1F600}":0,"z\uFFFD":0}',
    '{"a": 1}',
    '{"a":-0}',
    '{"a":1.0}',
    '{"a":1e1}',
    '{"a":"\\u0041"}',
    '{"a":"\\/"}',
    '{"a":"\ud83d"}',
    '{"a":"\\ud83d"}',
    '\ufeff{}',
    '{} ',
    '{}{}',
    '[]',
    '1',
  ];
  for (const text of texts) assert.equal(isRecognised(text), false, text);
});

test('the members that are picked make the canonical JSON of the object that has these', () => {
  fc.assert(
    fc.property(jsonObject, fc.infiniteStream(fc.constantFrom(true, false, '[0]')), (object, choices) => {
      // Names with escapes are picked by nobody: they stay here.
      const names = Object.keys(object).filter((name) => JSON.stringify(name) === `"${name}"`);
      const wanted = new Map(names.map((name) => [name, choices.next().value as boolean | string]));
      const left = Object.entries(object).flatMap(([name, value]) => {
        const want = wanted.get(name) ?? true;
        return want === false ? [] : [[name, want === true ? value : [0]] as const];
      });
      const picked = pickMembers(canonicalMembers(object), (name) => wanted.get(name) ?? true);
      assert.equal(picked, encodeCanonical(Object.fromEntries(left)));
    }),
    { numRuns: 2_000 },
  );
});

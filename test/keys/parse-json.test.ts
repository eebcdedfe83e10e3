import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCanonical, parseLoose, parseStrict, splitArrayAt } from '#keys/canonical-json.ts';
import type { Json } from '#keys/json.ts';
import { fc } from '#test/harness/rounds.ts';
import { text as anyText, json } from './json-values.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const kindOf = (input: string | Uint8Array) => parseStrict(input).kind;
const looseKindOf = (input: string | Uint8Array) => parseLoose(input).kind;

const reasonOf = (input: string | Uint8Array) => {
  const parsed = parseStrict(input);
  return parsed.kind === 'invalid' ? parsed.reason : undefined;
};

const nested = (depth: number) => `${'[{"a":'.repeat(depth / 2)}1${'}]'.repeat(depth / 2)}`;

const refused: Record<string, string[]> = {
  'a number has a fraction or an exponent': [
    '{"a":1.0}',
    '[1e3]',
    '1E3',
    '[-1.5]',
    '{"a":{"b":[0.1]}}',
    '1e400',
  ],
  'a number is outside of the range of integers': [
    '9007199254740992',
    '[-9007199254740992]',
    '{"depth":9223372036854775807}',
    `1${'0'.repeat(400)}`,
  ],
  'a number is negative zero': ['-0', '[1,-0]', '{"a":-0}'],
  'duplicate keys': [
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '[{"b":{"a":{},"a":{}}}]',
    '{"__proto__":1,"__proto__":2}',
    '{"1":1,"1":2}',
    '{"a":{"x":1,"y":2},"a":{"x":1}}',
  ],
  'a string has a lone surrogate': [
    '"\\ud800"',
    '["\\udc00"]',
    '{"\\uD83D":1}',
    '"\\ude00\\ud83d"',
    '"\\ud83dx"',
    '"\\ud83d\\\\ude00"',
    '"\ud800"',
  ],
  'not JSON': [
    '',
    ' ',
    '{',
    '{"a":1,}',
    '[1,]',
    "{'a':1}",
    '{a:1}',
    '01',
    '+1',
    '-',
    'NaN',
    '[Infinity]',
    '[-Infinity]',
    '0x10',
    '1 2',
    '{"a":1}x',
    '// c\n1',
    '"\u0001"',
    '"\\x"',
    '"\\u12"',
    '"a',
    'tru',
    '\u00a01',
    '\ufeff{}',
  ],
};

for (const [reason, inputs] of Object.entries(refused)) {
  test(`a PDU is refused: ${reason}`, () => {
    for (const input of inputs) assert.equal(reasonOf(input), reason, input);
  });
}

test('a PDU is refused: invalid UTF-8', () => {
  const inputs = [
    [0x22, 0xff, 0x22],
    [0x22, 0xc0, 0x80, 0x22],
    [0x22, 0xed, 0xa0, 0x80, 0x22],
    [0x22, 0xe2, 0x82],
  ];
  for (const input of inputs) assert.equal(reasonOf(Uint8Array.from(input)), 'not UTF-8');
});

test('a PDU is refused: a byte order mark', () => {
  assert.equal(reasonOf(Uint8Array.from([0xef, 0xbb, 0xbf, 0x7b, 0x7d])), 'not JSON');
});

test('a PDU may be nested 100 deep and no deeper', () => {
  assert.equal(kindOf(nested(98)), 'ok');
  assert.equal(kindOf(nested(100)), 'ok');
  assert.equal(kindOf(`[${nested(100)}]`), 'invalid');
  assert.equal(reasonOf('['.repeat(1_000_000)), 'nested too deeply');
  assert.equal(parseStrict(nested(102), { maxDepth: 102 }).kind, 'ok');
});

test('a PDU may hold every integer in +-(2^53-1)', () => {
  for (const input of ['9007199254740991', '-9007199254740991', '0', '-1', '[10,20]']) {
    assert.equal(kindOf(input), 'ok', input);
  }
});

test('a PDU may hold, inside strings, what is refused outside of them', () => {
  const inputs = [
    '"1.0"',
    '"-0"',
    '"1e3 [[[{{{"',
    '{"1.5":1}',
    '{"a:b":"c:d","e":"{\\"a\\":1,\\"a\\":1}"}',
    '"\\\\"',
  ];
  for (const input of inputs) assert.equal(kindOf(input), 'ok', input);
  assert.equal(kindOf('"\\\\ud800"'), 'ok', 'an escaped backslash before ud800');
  assert.equal(kindOf('"\\ud83d\\ude00"'), 'ok', 'a whole pair');
});

test('a PDU keeps its own __proto__ key', () => {
  const parsed = parseStrict('{"__proto__":{"admin":true},"constructor":1}');
  assert.ok(parsed.kind === 'ok');
  assert.equal(encodeCanonical(parsed.value), '{"__proto__":{"admin":true},"constructor":1}');
  assert.equal('admin' in Object(parsed.value), false);
});

test('a PDU in any spelling reads as JSON.parse reads it', () => {
  fc.assert(
    fc.property(json, fc.constantFrom(0, 1, '\t'), (value, space) => {
      const text = JSON.stringify(value, null, space);
      assert.deepEqual(parseStrict(text), { kind: 'ok', value });
      assert.deepEqual(parseStrict(bytes(text)), { kind: 'ok', value });
    }),
    { numRuns: 1_000 },
  );
});

test('a PDU of random text is accepted only if JSON.parse accepts it', () => {
  const piece = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    '"',
    '\\',
    ':',
    ',',
    '1',
    '0',
    '-',
    '.',
    'e',
    ' ',
    '"a"',
    'null',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join('');
      const parsed = parseStrict(text);
      if (parsed.kind === 'ok') assert.deepEqual(JSON.parse(text), parsed.value);
    }),
    { numRuns: 5_000 },
  );
});

test('a PDU with one key doubled anywhere is refused', () => {
  fc.assert(
    fc.property(json, anyText, json, (value, key, first) => {
      const name = JSON.stringify(key);
      const doubled = `[{${name}:${JSON.stringify(first)},${name}:${JSON.stringify(value)}}]`;
      assert.equal(reasonOf(doubled), 'duplicate keys');
    }),
  );
});

test('a body may hold fractions, and of duplicate keys the last counts', () => {
  assert.deepEqual(parseLoose(bytes('{"a":1.5,"a":[1e3,-0.0],"b":1.0}')), {
    kind: 'ok',
    value: { a: [1000, -0], b: 1 },
  });
});

test('a body is refused: NaN, Infinity, overflow, comments, byte order mark, invalid UTF-8', () => {
  const inputs = [
    'NaN',
    '[Infinity]',
    '-Infinity',
    '1e400',
    '[-1e400]',
    `1${'0'.repeat(400)}`,
    '0x10',
    '[1,]',
  ];
  for (const input of [...inputs, '/**/1', '\ufeff{}', ''])
    assert.equal(looseKindOf(bytes(input)), 'invalid', input);
  assert.equal(looseKindOf(Uint8Array.from([0x22, 0xff, 0x22])), 'invalid');
});

test('a body may be nested 100 deep, or as the caller says', () => {
  assert.equal(looseKindOf(bytes(nested(100))), 'ok');
  assert.equal(looseKindOf(bytes(`[${nested(100)}]`)), 'invalid');
  assert.equal(parseLoose(bytes(nested(1_000)), { maxDepth: 1_000 }).kind, 'ok');
});

test('a body as deep as relayed ones may be can still be encoded', () => {
  const parsed = parseLoose(bytes(nested(1_000)), { maxDepth: 1_000 });
  assert.ok(parsed.kind === 'ok');
  assert.equal(encodeCanonical(parsed.value), nested(1_000));
  const keyed: Json = JSON.parse(nested(1_000).replaceAll('"a"', '"10"'));
  assert.equal(encodeCanonical(keyed), nested(1_000).replaceAll('"a"', '"10"'));
});

test('a body may hold 200,000 values and no more', () => {
  const list = (length: number) => bytes(`[${'1,'.repeat(length - 2)}1]`);
  assert.equal(looseKindOf(list(200_001)), 'ok');
  assert.equal(looseKindOf(list(200_003)), 'invalid');
  assert.equal(looseKindOf(bytes(`[${'[],'.repeat(150_000)}[]]`)), 'invalid');
});

test('a body may hold lone surrogates unless the caller refuses them', () => {
  const body = bytes('{"a":"\\ud800"}');
  assert.equal(looseKindOf(body), 'ok');
  assert.equal(parseLoose(body, { refuseLoneSurrogates: true }).kind, 'invalid');
  assert.equal(parseLoose(bytes('{"a":"\\ud83d\\ude00"}'), { refuseLoneSurrogates: true }).kind, 'ok');
});

test('a body keeps its own __proto__ key', () => {
  const parsed = parseLoose(bytes('{"__proto__":{"a":1}}'));
  assert.ok(parsed.kind === 'ok');
  assert.deepEqual(Object.keys(Object(parsed.value)), ['__proto__']);
});

test('the PDUs of a transaction are cut out as they were sent', () => {
  const text = ` { "origin" : "a]b", "pdus" : [ {"depth":1.0} , {"a":1,"a":2},"x,]\\"" , [1, 2] ,-0, null,{}\n] , "edus":[] }`;
  const pdus = ['{"depth":1.0}', '{"a":1,"a":2}', '"x,]\\""', '[1, 2]', '-0', 'null', '{}'];
  assert.deepEqual(splitArrayAt(text, 'pdus'), pdus);
  assert.deepEqual(splitArrayAt(text, 'edus'), []);
});

test('only an array of a top-level object is cut up', () => {
  for (const text of [
    '{}',
    '[]',
    '1',
    '""',
    '{"pdus":1}',
    '{"pdus":{"pdus":[1]}}',
    '{"a":{"pdus":[1]}}',
    '',
    '{',
    '{"pdus"',
  ]) {
    assert.equal(splitArrayAt(text, 'pdus'), undefined, text);
  }
});

test('of several arrays under one key the last is cut up, as JSON.parse reads the last', () => {
  assert.deepEqual(splitArrayAt('{"pdus":[1],"\\u0070dus":[2,3]}', 'pdus'), ['2', '3']);
  assert.equal(splitArrayAt('{"pdus":[1],"pdus":0}', 'pdus'), undefined);
});

test('cutting up an array loses nothing', () => {
  fc.assert(
    fc.property(fc.array(json), json, fc.constantFrom(0, 2), (items, other, space) => {
      const text = JSON.stringify({ before: other, pdus: items, after: other }, null, space);
      const parts = splitArrayAt(text, 'pdus');
      assert.deepEqual(
        parts?.map((part) => JSON.parse(part)),
        items,
      );
    }),
    { numRuns: 500 },
  );
});

test('cutting up ends on any text', () => {
  const piece = fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', '1', ' ', '"pdus"', '"pdus":[');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = `{"pdus":[${pieces.join('')}`;
      try {
        splitArrayAt(text, 'pdus');
      } catch (error) {
        assert.ok(error instanceof SyntaxError);
      }
    }),
    { numRuns: 2_000 },
  );
});

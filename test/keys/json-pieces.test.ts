import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JsonPieces } from '#keys/json-pieces.ts';
import { fc } from '#test/harness/rounds.ts';

const wanted = { lists: ['state', 'auth_chain'], members: ['event'], maxBytes: 200 };

/** What is made of a text that comes in chunks of some length. */
function cut(
  text: string | Buffer,
  length = Number.POSITIVE_INFINITY,
): { pieces: string[]; fault: string | undefined } {
  const bytes = Buffer.from(text);
  const cutter = new JsonPieces(wanted);
  const pieces: string[] = [];
  for (let from = 0; from < bytes.length; from += length) {
    for (const piece of cutter.push(bytes.subarray(from, from + length))) {
      const body = piece.kind === 'list' ? '' : ` ${piece.bytes?.toString() ?? 'too long'}`;
      pieces.push(`${piece.kind} ${piece.key}${body}`);
    }
  }
  return { pieces, fault: cutter.end() };
}

const answer = ` {"x":[1,{"state":[2]}], "state" : [ {"a":"]}\\"\\\\"} ,7,"ü😀,[", [] ],"event":{"e":[{}]},
  "auth_chain":[],"y":-1.5e3 , "z":null}\n`;
const pieces = [
  'list state',
  'item state {"a":"]}\\"\\\\"}',
  'item state 7',
  'item state "ü😀,["',
  'item state []',
  'member event {"e":[{}]}',
  'list auth_chain',
];

for (const length of [1, 2, 3, 7, 1_000]) {
  test(`items and members come whole in chunks of ${length} bytes, split characters and escapes among them`, () => {
    assert.deepEqual(cut(answer, length), { pieces, fault: undefined });
  });
}

test('any JSON gives the same pieces as JSON.parse, wherever it is cut', () => {
  const lists = fc.record({
    state: fc.array(fc.jsonValue()),
    other: fc.jsonValue(),
    auth_chain: fc.array(fc.jsonValue()),
  });
  fc.assert(
    fc.property(lists, fc.integer({ min: 1, max: 50 }), fc.constantFrom(0, 2), (value, length, indent) => {
      const cutter = new JsonPieces({ ...wanted, maxBytes: 100_000 });
      const bytes = Buffer.from(JSON.stringify(value, undefined, indent));
      const found: Record<string, unknown[]> = { state: [], auth_chain: [] };
      for (let from = 0; from < bytes.length; from += length) {
        for (const piece of cutter.push(bytes.subarray(from, from + length))) {
          if (piece.kind === 'item') found[piece.key]?.push(JSON.parse(String(piece.bytes)));
        }
      }
      assert.equal(cutter.end(), undefined);
      const { state, auth_chain } = JSON.parse(JSON.stringify(value));
      assert.deepEqual(found, { state, auth_chain });
    }),
    { numRuns: 200 },
  );
});

test('a megabyte of white space between values is passed over', () => {
  const space = ' \n'.repeat(500_000);
  assert.deepEqual(cut(`{${space}"state"${space}:${space}[${space}1${space}]${space}}${space}`, 65_536), {
    pieces: ['list state', 'item state 1'],
    fault: undefined,
  });
});

test('an item that is too long keeps its place without its text, and the next ones come', () => {
  assert.deepEqual(cut(`{"state":["${'x'.repeat(300)}",1],"event":"${'y'.repeat(300)}"}`, 16).pieces, [
    'list state',
    'item state too long',
    'item state 1',
    'member event too long',
  ]);
});

test('a wanted list that is none is a member', () => {
  assert.deepEqual(cut('{"state":{"a":1}}').pieces, ['member state {"a":1}']);
});

test('the object may be the second of a pair, as the first version of send_join answers', () => {
  const cutter = new JsonPieces({ ...wanted, isPair: true });
  const found = [...Buffer.from(' [ 200 , {"x":[],"state":[1]} ] ')].flatMap((byte) =>
    cutter.push(Buffer.from([byte])).map(({ kind }) => kind),
  );
  assert.equal(cutter.end(), undefined);
  assert.deepEqual(found, ['list', 'item']);
  for (const text of [
    '{"state":[1]}',
    '[{"state":[1]}]',
    '[200,{"state":[1]}',
    '[200,{"state":[1]},1]',
    '[,{}]',
  ]) {
    const other = new JsonPieces({ ...wanted, isPair: true });
    other.push(Buffer.from(text));
    assert.notEqual(other.end(), undefined, text);
  }
});

test('a key written with escapes is the same key', () => {
  assert.deepEqual(cut('{"st\\u0061te":[1]}').pieces, ['list state', 'item state 1']);
});

const faults: Readonly<Record<string, string>> = {
  nothing: '',
  'a list': '[]',
  'an end inside a list': '{"state":[1,',
  'an end inside a string': '{"state":["a',
  'an end before the last bracket': '{"state":[1]',
  'something after it': '{"state":[1]} x',
  'a second object': '{}{}',
  'a wanted key twice': '{"state":[1],"state":[2]}',
  'a wanted key twice, once with escapes': '{"state":[1],"st\\u0061te":[2]}',
  'a key that is no string': '{1:2}',
  'no colon': '{"state" [1]}',
  'no value': '{"state":}',
  'no value of what is not wanted': '{"x":,"state":[]}',
  'an item that is missing': '{"state":[1,,2]}',
  'a comma before the end of a list': '{"state":[1,]}',
  'a comma before the end of the object': '{"state":[1],}',
  'a list that ends like an object': '{"state":[1}}',
  'a byte order mark': '\ufeff{}',
};

for (const [what, text] of Object.entries(faults)) {
  test(`a fault: ${what}`, () => {
    for (const length of [1, 1_000]) assert.notEqual(cut(text, length).fault, undefined);
  });
}

test('after a fault there are no more pieces', () => {
  assert.deepEqual(cut('{"state":[1],,"state":[2]}').pieces, ['list state', 'item state 1']);
});

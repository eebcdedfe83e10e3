/** Random JSON, as the oracles and as we write it in its canonical form. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { casesOf, seed } from '#test/harness/rounds.ts';
import { json } from '#test/keys/json-values.ts';
import { Oracle } from './oracle.ts';
import { canonicalOf } from './ours.ts';
import { oracles } from './programs.ts';
import { type CanonicalRequest, isFailure } from './protocol.ts';

const TEXTS = 2_000;

/** Numbers as text, of which canonical JSON has only some, and strings that are escaped in many ways. */
const leaf = fc.oneof(
  { weight: 8, arbitrary: json.map((value) => JSON.stringify(value)) },
  fc.constantFrom('9007199254740991', '9007199254740992', '-9007199254740991', '-9007199254740992'),
  fc.constantFrom(
    '1.5',
    '1e400',
    '-1.25e-3',
    '123456789012345678901234567890',
    '01',
    '+1',
    'NaN',
    'Infinity',
  ),
  fc.constantFrom(
    '"\\u00e9"',
    '"\\/"',
    '"\\u0000\\u001f\\u007f"',
    '"\\ud83d\\ude00"',
    '"\\u2028"',
    '"\\b\\f\\n\\r\\t"',
  ),
);
const text = fc.oneof(
  leaf,
  leaf.map((inner) => `{ "b" : ${inner} , "a":[ ${inner} ]}`),
  leaf.map((inner) => `[${inner},{"":${inner}}]`),
);

const { programs, missing } = await oracles();

for (const { name, reason } of missing) {
  test(`${name} is not asked about canonical JSON: ${reason.replaceAll('\n', ' ')}`, {
    skip: true,
  }, () => {});
}

for (const program of programs) {
  test(`${program.name} writes canonical JSON as we do, and refuses what we refuse`, async (t) => {
    await using oracle = new Oracle(program);
    after(() => oracle[Symbol.asyncDispose]());
    const texts = fc.sample(text, { seed, numRuns: casesOf({ usual: TEXTS }) });
    const requests = texts.map((value): CanonicalRequest => ({ op: 'canonical', text: value }));
    const answers = await oracle.ask(requests);
    let refused = 0;
    for (const [at, request] of requests.entries()) {
      const [ours, theirs] = [canonicalOf(request), answers[at]];
      assert.ok(theirs !== undefined && !isFailure(theirs), request.text);
      if ('refused' in ours && 'refused' in theirs) refused += 1;
      else assert.deepEqual(theirs, { id: undefined, ...theirs, ...ours }, request.text);
    }
    t.diagnostic(`seed ${seed}, ${texts.length} texts, ${refused} refused by both, 0 disagreements`);
  });
}

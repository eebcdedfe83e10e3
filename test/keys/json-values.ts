/** Random JSON values for the property tests of this folder. */

import fc from 'fast-check';
import type { Json, JsonObject } from '#keys/json.ts';

/** Strings of whole code points, often with astral, private-use and control characters, never lone surrogates. */
export const text = fc.string({ unit: 'binary', maxLength: 8 });

const key = fc.oneof(
  text,
  fc.nat({ max: 2 ** 32 }).map(String),
  fc.constantFrom(
    '__proto__',
    'constructor',
    'toString',
    '',
    '10',
    '2',
    '01',
    '-1',
    '\u{1F600}',
    '\uFFFD',
    '\uE000',
  ),
);

const integer = fc.maxSafeInteger().map((value) => (value === 0 ? 0 : value));

/** Values that canonical JSON can hold. Objects keep own `__proto__` keys, as parsed ones do. */
export const json: fc.Arbitrary<Json> = fc.letrec<{ value: Json; object: JsonObject }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, false),
    integer,
    text,
    fc.array(tie('value'), { maxLength: 5 }),
    tie('object'),
  ),
  object: fc
    .array(fc.tuple(key, tie('value')), { maxLength: 6 })
    .map((members) => Object.fromEntries(members)),
})).value;

/** Objects that canonical JSON can hold. */
export const jsonObject: fc.Arbitrary<JsonObject> = fc
  .array(fc.tuple(key, json), { maxLength: 6 })
  .map((members) => Object.fromEntries(members));

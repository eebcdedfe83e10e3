import assert from 'node:assert/strict';
import { test } from 'node:test';
import { integerAt, isObject, isStringArray, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';

test('members of the prototype read as absent', () => {
  for (const key of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    assert.equal(own({}, key), undefined);
    assert.equal(objectAt({}, key), undefined);
  }
  const parsed: JsonObject = JSON.parse('{"__proto__":{"a":1}}');
  assert.deepEqual(own(parsed, '__proto__'), { a: 1 });
});

test('a value of another type reads as absent', () => {
  const object = { text: 'a', one: 1, half: 0.5, huge: 2 ** 53, list: [], inner: {}, nothing: null };
  assert.equal(stringAt(object, 'one'), undefined);
  assert.equal(stringAt(object, 'text'), 'a');
  assert.equal(integerAt(object, 'one'), 1);
  for (const key of ['half', 'huge', 'text', 'nothing']) assert.equal(integerAt(object, key), undefined);
  assert.deepEqual(objectAt(object, 'inner'), {});
  for (const key of ['list', 'nothing', 'text']) assert.equal(objectAt(object, key), undefined);
});

test('arrays and null are no objects', () => {
  assert.deepEqual([{}, [], null, 'a', undefined].map(isObject), [true, false, false, false, false]);
  assert.deepEqual([[], ['a'], ['a', 1], 'a', { length: 0 }].map(isStringArray), [
    true,
    true,
    false,
    false,
    false,
  ]);
});

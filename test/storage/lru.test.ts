import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lru } from '#storage/lru.ts';

test('the least recently used entry goes first, and reading counts as use', () => {
  const evicted: string[] = [];
  const lru = new Lru<string, number>({ maxEntries: 2, onEvict: (key) => evicted.push(key) });
  lru.set('a', 1);
  lru.set('b', 2);
  assert.equal(lru.get('a'), 1);
  lru.set('c', 3);
  assert.deepEqual(evicted, ['b']);
  assert.equal(lru.get('b'), undefined);
  assert.equal(lru.get('a'), 1);
  assert.equal(lru.size, 2);
});

test('the weight budget holds, and a replaced value gives its weight back', () => {
  const lru = new Lru<string, string>({ maxEntries: 100, maxWeight: 10, weigh: (value) => value.length });
  lru.set('a', 'xxxx');
  lru.set('b', 'xxxx');
  lru.set('a', 'xx');
  assert.equal(lru.weight, 6);
  lru.set('c', 'xxxxx');
  assert.equal(lru.get('b'), undefined);
  assert.equal(lru.weight, 7);
  lru.delete('c');
  assert.equal(lru.weight, 2);
  lru.clear();
  assert.equal(lru.weight, 0);
  assert.equal(lru.size, 0);
});

test('a value heavier than the budget is not kept, and evicts nothing', () => {
  const lru = new Lru<string, string>({ maxEntries: 100, maxWeight: 10, weigh: (value) => value.length });
  lru.set('a', 'xxxx');
  lru.set('huge', 'x'.repeat(11));
  assert.equal(lru.get('huge'), undefined);
  assert.equal(lru.get('a'), 'xxxx');
});

test('hits and misses are counted', () => {
  const lru = new Lru<string, number>({ maxEntries: 2 });
  lru.set('a', 0);
  lru.get('a');
  lru.get('a');
  lru.get('b');
  assert.deepEqual([lru.hits, lru.misses], [2, 1]);
});

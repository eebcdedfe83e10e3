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

test('what is read again and again stays while a cache fills up and then overflows', () => {
  const evicted: number[] = [];
  const lru = new Lru<number, number>({ maxEntries: 100, onEvict: (key) => evicted.push(key) });
  for (let key = 0; key < 500; key++) {
    lru.set(key, key);
    for (const used of [0, 1, 2]) assert.equal(lru.get(used), key < used ? undefined : used, `${key}`);
  }
  assert.equal(lru.size, 100);
  assert.equal(evicted.length, 400);
  assert.deepEqual(evicted.toSorted((a, b) => a - b).slice(0, 3), [3, 4, 5]);
});

test('of entries that were used alike the newest stay, also where a weight is the bound', () => {
  const lru = new Lru<number, number>({ maxEntries: 1_000, maxWeight: 100, weigh: () => 10 });
  for (let key = 0; key < 50; key++) {
    lru.set(key, key);
    lru.get(0);
  }
  assert.deepEqual(
    Array.from({ length: 50 }, (_, key) => key).filter((key) => lru.peek(key) !== undefined),
    [0, ...Array.from({ length: 9 }, (_, index) => 41 + index)],
  );
});

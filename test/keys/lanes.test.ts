import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BoundedMap } from '#keys/bounded-map.ts';
import { Lanes, LanesFull } from '#keys/lanes.ts';

test('as many jobs run as there are lanes, the others in the order they came', async () => {
  const lanes = new Lanes(2, 10);
  const started: number[] = [];
  const gates = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
  const jobs = gates.map((gate, index) =>
    lanes.run(async () => {
      started.push(index);
      await gate.promise;
      return index;
    }),
  );
  await Promise.resolve();
  assert.deepEqual(started, [0, 1]);
  gates[1]?.resolve();
  await jobs[1];
  await Promise.resolve();
  assert.deepEqual(started, [0, 1, 2]);
  for (const gate of gates) gate.resolve();
  assert.deepEqual(await Promise.all(jobs), [0, 1, 2, 3]);
});

test('a job that fails frees its lane', async () => {
  const lanes = new Lanes(1, 0);
  await assert.rejects(
    lanes.run(() => Promise.reject(new Error('no'))),
    /no/,
  );
  assert.equal(await lanes.run(async () => 'yes'), 'yes');
});

test('who finds the queue full is refused, others are not', async () => {
  const lanes = new Lanes(1, 1);
  const gate = Promise.withResolvers<void>();
  const first = lanes.run(() => gate.promise);
  const second = lanes.run(async () => 'second');
  await assert.rejects(
    lanes.run(async () => 'third'),
    LanesFull,
  );
  gate.resolve();
  await first;
  assert.equal(await second, 'second');
});

test('who gives up waiting is refused at once, and the lane goes to the next', async () => {
  const lanes = new Lanes(1, 2);
  const gate = Promise.withResolvers<void>();
  const givenUp = new AbortController();
  const first = lanes.run(() => gate.promise, givenUp.signal);
  const second = lanes.run(() => assert.fail('it was given up'), givenUp.signal);
  const third = lanes.run(async () => 'third');
  givenUp.abort(new Error('no longer wanted'));
  await assert.rejects(second, /no longer wanted/);
  gate.resolve();
  await first;
  assert.equal(await third, 'third');
  await assert.rejects(
    lanes.run(async () => 'late', givenUp.signal),
    /no longer wanted/,
  );
});

test('a bounded map forgets what was used longest ago', () => {
  const map = new BoundedMap<string, number>(2);
  map.set('a', 1);
  map.set('b', 2);
  assert.equal(map.get('a'), 1);
  map.set('c', 3);
  assert.deepEqual(
    ['a', 'b', 'c'].map((key) => map.get(key)),
    [1, undefined, 3],
  );
  map.set('a', 4);
  assert.equal(map.size, 2);
  map.delete('a');
  assert.equal(map.get('a'), undefined);
});

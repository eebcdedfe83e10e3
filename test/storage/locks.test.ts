import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyedQueue, QueueFull } from '#storage/locks.ts';

test('jobs of one key run one after the other, in the order they came', async () => {
  const queue = new KeyedQueue();
  const steps: string[] = [];
  const job = (name: string) => async () => {
    steps.push(`${name} begins`);
    await new Promise((resolve) => setImmediate(resolve));
    steps.push(`${name} ends`);
  };
  await Promise.all(['a', 'b', 'c'].map((name) => queue.run('room', job(name))));
  assert.deepEqual(steps, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});

test('jobs of different keys run side by side', async () => {
  const queue = new KeyedQueue();
  const gate = Promise.withResolvers<void>();
  const held = queue.run('a', () => gate.promise);
  assert.equal(await queue.run('b', async () => 'b'), 'b');
  gate.resolve();
  await held;
});

test('a job that fails frees its key, and its caller gets the error', async () => {
  const queue = new KeyedQueue();
  const failing = queue.run('a', async () => {
    throw new Error('boom');
  });
  const next = queue.run('a', async () => 'next');
  await assert.rejects(failing, /boom/);
  assert.equal(await next, 'next');
  assert.equal(queue.size, 0);
});

test('a key takes a bounded number of waiting jobs, and takes jobs again later', async () => {
  const queue = new KeyedQueue({ maxWaiting: 2 });
  const gate = Promise.withResolvers<void>();
  const accepted = [1, 2, 3].map(() => queue.run('a', () => gate.promise));
  await assert.rejects(
    queue.run('a', async () => undefined),
    QueueFull,
  );
  assert.equal(await queue.run('b', async () => 'other'), 'other');
  gate.resolve();
  await Promise.all(accepted);
  assert.equal(await queue.run('a', async () => 'again'), 'again');
  assert.equal(queue.size, 0);
});

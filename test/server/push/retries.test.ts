import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import { Retries } from '#server/push/retries.ts';
import { until } from '#test/harness/until.ts';

const HOUR_MS = 60 * 60_000;

test('a user with a pusher that is to be left alone for long is woken for another one', async () => {
  const woken: UserId[] = [];
  using retries = new Retries((userId) => woken.push(userId));
  retries.failed('quick', '@anna:test');
  retries.failed('slow', '@anna:test', HOUR_MS);
  assert.equal(retries.mayTry('quick'), false);
  await until(() => woken.length === 1, 'that she is woken');
  assert.equal(retries.mayTry('quick'), true);
  assert.equal(retries.mayTry('slow'), false);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import { PresencePace } from '#storage/presence-pace.ts';

const ALICE: UserId = '@alice:here.test';
const BOB: UserId = '@bob:here.test';

function taken(pace: PresencePace, userId: UserId, now: number, times = 100): number {
  return Array.from({ length: times }, () => pace.takes(userId, now)).filter(Boolean).length;
}

test('who changes all the time is announced ten times at once, and then once in ten seconds; others are not held up', () => {
  const pace = new PresencePace();
  assert.equal(taken(pace, ALICE, 0), 10);
  assert.equal(taken(pace, ALICE, 9_999), 0);
  assert.equal(taken(pace, ALICE, 10_000), 1);
  assert.equal(taken(pace, BOB, 10_000), 10);
  assert.equal(taken(pace, ALICE, 60_000), 5);
  assert.equal(taken(pace, ALICE, 86_400_000), 10, 'nobody saves more up than that');
});

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { DueTimer } from '#keys/due-timer.ts';

function timerOf(t: TestContext): { timer: DueTimer; woken: number[]; pass: (ms: number) => void } {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  const woken: number[] = [];
  const clock = { now: () => Date.now() };
  const timer = new DueTimer({ clock, wake: () => woken.push(Date.now() - 1_000_000) });
  return { timer, woken, pass: (ms) => t.mock.timers.tick(ms) };
}

test('a timer wakes once, at the earliest of the times it is told of', (t) => {
  const { timer, woken, pass } = timerOf(t);
  for (const ms of [3_000, 1_000, 2_000]) timer.set(1_000_000 + ms);
  pass(999);
  assert.deepEqual(woken, []);
  pass(1);
  pass(10_000);
  assert.deepEqual(woken, [1_000]);
});

test('what was due before now wakes at once', (t) => {
  const { timer, woken, pass } = timerOf(t);
  timer.set(5);
  pass(0);
  assert.deepEqual(woken, [0]);
});

test('a timer wakes within a minute for what is due later, since the clock may be set', (t) => {
  const { timer, woken, pass } = timerOf(t);
  timer.set(1_000_000 + 30 * 24 * 3_600_000);
  pass(60_000);
  assert.deepEqual(woken, [60_000]);
});

test('whoever is woken may say at once when the next thing is due', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 });
  let rounds = 0;
  const timer: DueTimer = new DueTimer({
    clock: { now: () => Date.now() },
    wake: () => {
      rounds += 1;
      if (rounds < 3) timer.set(Date.now() + 1_000);
    },
  });
  timer.set(1_000);
  t.mock.timers.tick(1_000);
  t.mock.timers.tick(1_000);
  t.mock.timers.tick(1_000);
  t.mock.timers.tick(60_000);
  assert.equal(rounds, 3);
});

test('a timer that was cleared wakes for later times only, one that was stopped for none', (t) => {
  const { timer, woken, pass } = timerOf(t);
  timer.set(1_001_000);
  timer.clear();
  timer.set(1_002_000);
  pass(1_000);
  pass(1_000);
  assert.deepEqual(woken, [2_000]);
  timer.set(1_006_000);
  timer.stop();
  timer.set(1_007_000);
  pass(60_000);
  assert.deepEqual(woken, [2_000]);
});

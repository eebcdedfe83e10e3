import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MatrixError } from '#federation/errors.ts';
import { RateLimits } from '#server/limits.ts';
import { register, request } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

function manual(enabled = true): { limits: RateLimits; pass: (ms: number) => void } {
  let now = 1_000_000;
  const limits = new RateLimits({ enabled, clock: { now: () => now } });
  return {
    limits,
    pass: (ms) => {
      now += ms;
    },
  };
}

/** How often `take` succeeds before it is refused, and when it may be tried again. */
function exhaust(limits: RateLimits, key: string): { taken: number; retryAfterMs: number } {
  for (let taken = 0; taken < 1_000; taken += 1) {
    try {
      limits.take('message', key);
    } catch (error) {
      assert.ok(error instanceof MatrixError);
      assert.equal(error.status, 429);
      return { taken, retryAfterMs: Number(error.extras.retry_after_ms) };
    }
  }
  return { taken: 1_000, retryAfterMs: 0 };
}

test('a burst is allowed, then as many as come back by the rate, for each key on its own', () => {
  const { limits, pass } = manual();
  const first = exhaust(limits, 'alice');
  assert.deepEqual(first, { taken: 20, retryAfterMs: 200 });
  assert.equal(exhaust(limits, 'bob').taken, 20);
  pass(199);
  assert.equal(exhaust(limits, 'alice').taken, 0);
  pass(1);
  assert.equal(exhaust(limits, 'alice').taken, 1);
  pass(3_600_000);
  assert.equal(exhaust(limits, 'alice').taken, 20, 'never more than the burst');
});

test('a clock that is set back gives nothing', () => {
  const { limits, pass } = manual();
  exhaust(limits, 'alice');
  pass(-10_000);
  assert.equal(exhaust(limits, 'alice').taken, 0);
  pass(200);
  assert.equal(exhaust(limits, 'alice').taken, 1);
});

test('check takes nothing', () => {
  const { limits } = manual();
  for (let n = 0; n < 100; n += 1) limits.check('message', 'alice');
  assert.equal(exhaust(limits, 'alice').taken, 20);
  assert.throws(() => limits.check('message', 'alice'), MatrixError);
});

test('without limits everything is allowed', () => {
  const { limits } = manual(false);
  assert.equal(exhaust(limits, 'alice').taken, 1_000);
});

test('a client that is limited is told by 429 M_LIMIT_EXCEEDED, retry_after_ms and Retry-After', async () => {
  let now = Date.now();
  await using server = await startServer({ rateLimits: true, clock: { now: () => now } });
  const { password } = await register(server, 'alice');
  const attempt = (guess: string) =>
    request(server, 'POST', '/_matrix/client/v3/login', {
      body: { type: 'm.login.password', user: 'alice', password: guess },
    });
  for (let n = 0; n < 5; n += 1) assert.equal((await attempt('wrong')).status, 403);
  const limited = await attempt(password);
  assert.equal(limited.status, 429);
  assert.equal(limited.body.errcode, 'M_LIMIT_EXCEEDED');
  assert.ok(limited.body.retry_after_ms > 0);
  assert.equal(limited.headers.get('retry-after'), String(Math.ceil(limited.body.retry_after_ms / 1_000)));
  now += limited.body.retry_after_ms;
  assert.equal((await attempt(password)).status, 200);
});

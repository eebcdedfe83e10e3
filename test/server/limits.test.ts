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

test('all addresses of an IPv6 network share a limit, and an IPv4 address is one however it is written', () => {
  const { limits } = manual();
  exhaust(limits, '2001:db8:0:1::1');
  assert.equal(exhaust(limits, '2001:db8:0:1:ffff:0:0:2').taken, 0);
  assert.equal(exhaust(limits, '2001:0db8::1:0:0:0:3').taken, 0);
  assert.ok(exhaust(limits, '2001:db8:0:2::1').taken > 0);
  assert.ok(exhaust(limits, '::1').taken > 0);
  exhaust(limits, '192.0.2.1');
  assert.equal(exhaust(limits, '::ffff:192.0.2.1').taken, 0);
  assert.ok(exhaust(limits, '::ffff:192.0.2.2').taken > 0);
});

test('a user whom the limits spare is spared on each device, but guarded as before', () => {
  const { limits } = manual();
  limits.setUnlimited('@bot:a', true);
  assert.equal(exhaust(limits, '@bot:a').taken, 1_000);
  assert.equal(exhaust(limits, '@bot:a DEVICE').taken, 1_000);
  assert.equal(exhaust(limits, '@bot:ab').taken, 20);
  for (let n = 0; n < 10; n += 1) limits.take('login_account', '@bot:a');
  assert.throws(() => limits.take('login_account', '@bot:a'), MatrixError);
  limits.setUnlimited('@bot:a', false);
  assert.equal(exhaust(limits, '@bot:a').taken, 20);
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

test('accounts made by the page, aliases of other servers and invitations by any way are limited', async () => {
  let now = Date.now();
  await using server = await startServer({ rateLimits: true, clock: { now: () => now } });
  const alice = await register(server);
  const form = (name: string) => {
    const fields = new URLSearchParams({ username: name, password: 'p', repeated: 'p' });
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return request(server, 'POST', '/_kurir/register', { body: `${fields}`, headers });
  };
  const made = await Promise.all(Array.from({ length: 10 }, (_, number) => form(`page${number}`)));
  // One of the burst of five was taken by the first account.
  assert.equal(made.filter(({ status }) => status === 200).length, 4);

  const alias = encodeURIComponent('#room:[::1]:1');
  const lookups = await Promise.all(
    Array.from({ length: 30 }, () => request(server, 'GET', `/_matrix/client/v3/directory/room/${alias}`)),
  );
  assert.equal(lookups.filter(({ status }) => status === 429).length, 10);

  const roomId = await alice.createRoom();
  let limited = 0;
  for (let number = 0; number < 15; number++) {
    now += 250;
    const member = `state/m.room.member/${encodeURIComponent(`@nobody${number}:kurir.test`)}`;
    const answer = await alice.try('PUT', `/rooms/${encodeURIComponent(roomId)}/${member}`, {
      membership: 'invite',
    });
    if (answer.status === 429) limited += 1;
  }
  assert.ok(limited >= 3, `${limited} of 15 invitations were limited`);
});

test('reading history and beginning to sync anew are limited too', async () => {
  const now = Date.now();
  await using server = await startServer({ rateLimits: true, clock: { now: () => now } });
  const alice = await register(server, 'alice');
  const roomId = await alice.createRoom();
  const firstRefusal = async (path: string, most: number) => {
    for (let n = 0; n < most; n += 1) {
      const { status } = await alice.try('GET', path);
      if (status !== 200) return [status, n];
    }
    return undefined;
  };
  assert.deepEqual(await firstRefusal('/sync', 30), [429, 20]);
  assert.deepEqual(await firstRefusal(`/rooms/${roomId}/messages?dir=b`, 300), [429, 200]);
  assert.equal((await alice.try('GET', `/rooms/${roomId}/members`)).status, 429);
});

test('row 158: passwords are guessed five times from an address, then no more, right or wrong', async () => {
  let now = Date.now();
  await using server = await startServer({ rateLimits: true, clock: { now: () => now } });
  const alice = await register(server, 'alice');
  const signIn = (password: string) =>
    request(server, 'POST', '/_matrix/client/v3/login', {
      body: { type: 'm.login.password', user: 'alice', password },
    });
  for (let n = 0; n < 5; n += 1) assert.equal((await signIn('guess')).status, 403);
  for (const password of ['guess', alice.password]) {
    const refused = await signIn(password);
    assert.equal(refused.status, 429);
    assert.equal(Number(refused.headers.get('retry-after')) * 1_000, refused.body.retry_after_ms);
  }
  now += 20_000;
  assert.equal((await signIn(alice.password)).status, 200);
});

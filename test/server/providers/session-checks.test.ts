import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { SessionChecks } from '#server/providers/session-checks.ts';
import * as providerTokens from '#storage/provider-tokens.ts';
import { type SignInServer, signInBy, startWithProvider } from './signing-in.ts';

const MINUTE_MS = 60_000;
const PERSON = { sub: 'p-1', preferred_username: 'ann' } as const;

/** A server that does not look by itself, each few seconds, amid what the test does. */
async function start({ mock }: TestContext, clock: { now(): number }): Promise<SignInServer> {
  mock.timers.enable({ apis: ['setInterval'] });
  const s = await startWithProvider({ check_every: '1m' }, { clock });
  mock.timers.reset();
  return s;
}

async function check({ server }: SignInServer): Promise<void> {
  await using checks = new SessionChecks(server.ctx);
  await checks.run();
}

test('where the provider takes no refresh token any more, every session of the user ends; others go on', async (t) => {
  let now = Date.now();
  await using s = await start(t, { now: () => now });
  s.provider.person = PERSON;
  const ann = await signInBy(s);
  s.provider.person = { sub: 'p-2', preferred_username: 'bob' };
  const bob = await signInBy(s);
  const stored = await providerTokens.due(s.server.ctx.db, 'staff', { before: now, limit: 10 });
  assert.equal(stored.length, 2);
  await check(s);
  assert.equal(s.provider.asked.filter((path) => path === '/token').length, 2, 'not before it is time');
  now += MINUTE_MS;
  await check(s);
  const rotated = await providerTokens.due(s.server.ctx.db, 'staff', { before: now, limit: 10 });
  assert.notDeepEqual(rotated, stored);
  assert.equal((await ann.try('GET', '/account/whoami')).status, 200);
  s.provider.disabled.add(PERSON.sub);
  now += MINUTE_MS;
  await check(s);
  assert.equal((await ann.try('GET', '/account/whoami')).status, 401);
  assert.equal((await bob.try('GET', '/account/whoami')).status, 200);
  assert.equal((await providerTokens.due(s.server.ctx.db, 'staff', { before: now, limit: 10 })).length, 1);
});

test('a provider that is down, or fails, ends nobody\u2019s session', async (t) => {
  let now = Date.now();
  await using s = await start(t, { now: () => now });
  s.provider.person = PERSON;
  const ann = await signInBy(s);
  for (const [status, error] of [
    [500, 'server_error'],
    [400, 'invalid_client'],
    [401, 'invalid_client'],
    [429, 'slow_down'],
  ] as const) {
    s.provider.instead.set('/token', (_, response) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
    });
    now += MINUTE_MS;
    await check(s);
    assert.equal((await ann.try('GET', '/account/whoami')).status, 200, error);
  }
  s.provider.instead.clear();
  await s.provider.down();
  now += MINUTE_MS;
  await check(s);
  assert.equal((await ann.try('GET', '/account/whoami')).status, 200);
  await s.provider.up();
});

import assert from 'node:assert/strict';
import type { LookupFunction } from 'node:net';
import { test } from 'node:test';
import { AddressGuard } from '#federation/network/address-guard.ts';
import { Dialer } from '#federation/network/dial.ts';
import { type Delegation, fetchDelegation, WellKnown } from '#federation/network/well-known.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { type PeerOptions, startPeer } from '#test/harness/peer.ts';

const authority = await createAuthority();
const HOUR = 3_600_000;

/** Every `.test` name is at 127.0.0.1, as if it were a public address; `inside.test` is not public. */
const lookup: LookupFunction = (hostname, options, callback) => {
  const address = hostname === 'inside.test' ? '10.0.0.1' : '127.0.0.1';
  if (options.all) callback(null, [{ address, family: 4 }]);
  else callback(null, address, 4);
};

class LoopbackIsPublic extends AddressGuard {
  override allows(address: string): boolean {
    return address === '127.0.0.1' || super.allows(address);
  }
}

async function delegation(
  answer: PeerOptions['answer'],
  hostname = 'a.test',
): Promise<Delegation & { asked: number }> {
  await using peer = await startPeer({ authority, names: ['a.test', 'b.test', 'inside.test'], answer });
  const dialer = new Dialer({
    guard: new LoopbackIsPublic({ allowPrivate: false, lookup }),
    extraCa: authority.cert,
  });
  const found = await fetchDelegation(dialer, hostname, peer.port);
  return { ...found, asked: peer.requests.length };
}

test('step 3: m.server of /.well-known/matrix/server, for 24 hours unless told otherwise', async () => {
  const found = await delegation(({ url, headers }, peer) => {
    assert.equal(url, '/.well-known/matrix/server');
    assert.equal(headers.host, `a.test:${peer.port}`);
    return { json: { 'm.server': 'b.test:443', other: 1 } };
  });
  assert.deepEqual(found, { kind: 'delegated', server: 'b.test:443', ttlMs: 24 * HOUR, asked: 1 });
});

const lifetimes: readonly (readonly [Record<string, string>, number])[] = [
  [{ 'cache-control': 'public, max-age=7200' }, 2 * HOUR],
  [{ 'cache-control': 'max-age=99999999' }, 48 * HOUR],
  [{ 'cache-control': 'max-age=1' }, HOUR / 12],
  [{ 'cache-control': 'no-store' }, HOUR / 12],
  [{ date: 'Mon, 01 Jan 2024 00:00:00 GMT', expires: 'Mon, 01 Jan 2024 03:00:00 GMT' }, 3 * HOUR],
  [{ 'cache-control': 'max-age=3600', expires: 'Mon, 01 Jan 2024 03:00:00 GMT' }, HOUR],
  [{ expires: '0' }, HOUR / 12],
];

for (const [headers, ttlMs] of lifetimes) {
  test(`step 3: an answer with ${JSON.stringify(headers)} is kept for ${ttlMs / 60_000} minutes`, async () => {
    const found = await delegation(() => ({ json: { 'm.server': 'b.test' }, headers }));
    assert.deepEqual(found, { kind: 'delegated', server: 'b.test', ttlMs, asked: 1 });
  });
}

test('row 33: step 3: redirects are followed, five at most', async () => {
  const chainOf =
    (length: number): PeerOptions['answer'] =>
    ({ url }, peer) => {
      const hop = Number(/\d+$/.exec(url)?.[0] ?? 0);
      if (hop === length) return { json: { 'm.server': 'c.test' } };
      return { status: 302, json: {}, headers: { location: `https://b.test:${peer.port}/hop/${hop + 1}` } };
    };
  assert.equal((await delegation(chainOf(5))).kind, 'delegated');
  const endless = await delegation(chainOf(6));
  assert.deepEqual([endless.kind, endless.asked], ['error', 6]);
});

test('step 3: a redirect to a private address, or away from HTTPS, is not followed', async () => {
  for (const location of [
    'https://127.0.0.2/x',
    'https://inside.test/x',
    'https://2130706434/',
    'http://b.test/x',
    'file:///etc/passwd',
  ]) {
    const found = await delegation(() => ({ status: 301, json: {}, headers: { location } }));
    assert.deepEqual([found.kind, found.asked], ['error', 1], location);
  }
});

const broken: readonly (readonly [string, PeerOptions['answer']])[] = [
  ['404', () => ({ status: 404, json: { 'm.server': 'b.test' } })],
  ['500', () => ({ status: 500, json: {} })],
  ['no m.server', () => ({ json: { server: 'b.test' } })],
  ['an m.server that is no string', () => ({ json: { 'm.server': ['b.test'] } })],
  ['an m.server that is no server name', () => ({ json: { 'm.server': 'https://b.test' } })],
  ['HTML', () => (response) => response.end('<!doctype html>')],
  [
    'an answer without end',
    () => (response) => {
      const write = (): void => {
        if (!response.destroyed) response.write('x'.repeat(16_384), () => setImmediate(write));
      };
      write();
    },
  ],
  ['a redirect without a target', () => ({ status: 302, json: {} })],
];

for (const [rule, answer] of broken) {
  test(`step 3: ${rule} is an error`, async () => {
    assert.equal((await delegation(answer)).kind, 'error');
  });
}

test('step 3: a host that does not answer is an error', async () => {
  const dialer = new Dialer({
    guard: new AddressGuard({ allowPrivate: true, lookup }),
    extraCa: authority.cert,
  });
  assert.equal((await fetchDelegation(dialer, 'a.test', 1)).kind, 'error');
});

test('answers are cached, errors for a minute at first and an hour at last', async () => {
  let now = 0;
  let asked = 0;
  let answer: Delegation = { kind: 'error', problem: 'unreachable', reason: 'x' };
  const wellKnown = new WellKnown(
    async () => {
      asked += 1;
      return answer;
    },
    { now: () => now },
  );
  assert.equal(await wellKnown.delegationOf('a.test'), undefined);
  assert.equal(await wellKnown.delegationOf('a.test'), undefined);
  assert.equal(asked, 1);
  const waits: number[] = [];
  for (let failures = 1; failures < 10; failures += 1) {
    const since = now;
    const before: number = asked;
    while (asked === before) {
      now += 60_000;
      await wellKnown.delegationOf('a.test');
    }
    waits.push((now - since) / 60_000);
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
  answer = { kind: 'delegated', server: 'b.test', ttlMs: HOUR };
  now += HOUR;
  assert.equal(await wellKnown.delegationOf('a.test'), 'b.test');
  asked = 0;
  now += HOUR - 1;
  assert.equal(await wellKnown.delegationOf('a.test'), 'b.test');
  assert.equal(asked, 0);
});

test('a delegation outlives errors, up to 48 hours after it was seen', async () => {
  let now = 0;
  let answer: Delegation = { kind: 'delegated', server: 'b.test', ttlMs: HOUR };
  const wellKnown = new WellKnown(async () => answer, { now: () => now });
  await wellKnown.delegationOf('a.test');
  answer = { kind: 'error', problem: 'unreachable', reason: 'x' };
  now = 2 * HOUR;
  assert.equal(await wellKnown.delegationOf('a.test'), 'b.test');
  now = 49 * HOUR;
  assert.equal(await wellKnown.delegationOf('a.test'), undefined);
});

test('those who ask for a host at the same time share one request', async () => {
  let asked = 0;
  const wellKnown = new WellKnown(
    async () => {
      asked += 1;
      return { kind: 'delegated', server: 'b.test', ttlMs: HOUR };
    },
    { now: () => 0 },
  );
  const all = await Promise.all(['a.test', 'a.test', 'a.test'].map((name) => wellKnown.delegationOf(name)));
  assert.deepEqual(all, ['b.test', 'b.test', 'b.test']);
  assert.equal(asked, 1);
});

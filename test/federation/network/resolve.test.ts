import assert from 'node:assert/strict';
import type { SrvRecord } from 'node:dns';
import { test } from 'node:test';
import { ServerResolver } from '#federation/network/resolve.ts';
import { everybody } from '#test/harness/connect.ts';

interface World {
  readonly delegations?: Readonly<Record<string, string>>;
  readonly srv?: Readonly<Record<string, readonly SrvRecord[]>>;
  readonly random?: () => number;
}

function resolverIn(
  { delegations = {}, srv = {}, random = () => 0.5 }: World,
  asked: string[] = [],
): ServerResolver {
  return new ServerResolver({
    partners: everybody,
    clock: { now: () => 0 },
    random,
    delegationOf: async (hostname) => {
      asked.push(`https://${hostname}`);
      return delegations[hostname];
    },
    resolveSrv: async (name) => {
      asked.push(name);
      const records = srv[name];
      if (records === undefined) throw Object.assign(new Error('queryResolveSrv'), { code: 'ENOTFOUND' });
      return [...records];
    },
  });
}

const record = (name: string, port: number, priority = 1, weight = 1): SrvRecord => ({
  name,
  port,
  priority,
  weight,
});

const table: readonly (readonly [
  rule: string,
  server: string,
  World,
  expected: readonly [string, number, string, string],
])[] = [
  ['step 1: an IPv4 literal goes to 8448', '1.2.3.4', {}, ['1.2.3.4', 8448, '1.2.3.4', '1.2.3.4']],
  ['step 1: an IPv4 literal with a port', '1.2.3.4:5', {}, ['1.2.3.4', 5, '1.2.3.4', '1.2.3.4:5']],
  ['step 1: an IPv6 literal goes to 8448', '[2606::1]', {}, ['2606::1', 8448, '2606::1', '[2606::1]']],
  ['step 1: an IPv6 literal with a port', '[2606::1]:5', {}, ['2606::1', 5, '2606::1', '[2606::1]:5']],
  [
    'step 2: an explicit port',
    'a.test:5',
    { delegations: { 'a.test': 'b.test' } },
    ['a.test', 5, 'a.test', 'a.test:5'],
  ],
  [
    'step 3.1: delegated to an IP literal',
    'a.test',
    { delegations: { 'a.test': '1.2.3.4' } },
    ['1.2.3.4', 8448, '1.2.3.4', '1.2.3.4'],
  ],
  [
    'step 3.1: delegated to an IP literal with a port',
    'a.test',
    { delegations: { 'a.test': '[2606::1]:7' } },
    ['2606::1', 7, '2606::1', '[2606::1]:7'],
  ],
  [
    'step 3.2: delegated to a host and a port',
    'a.test',
    { delegations: { 'a.test': 'b.test:443' }, srv: { '_matrix-fed._tcp.b.test': [record('c.test', 9)] } },
    ['b.test', 443, 'b.test', 'b.test:443'],
  ],
  [
    'step 3.3: delegated to a host with an SRV record',
    'a.test',
    {
      delegations: { 'a.test': 'b.test' },
      srv: { '_matrix-fed._tcp.b.test': [record('c.test', 9)], '_matrix._tcp.b.test': [record('d.test', 8)] },
    },
    ['c.test', 9, 'b.test', 'b.test'],
  ],
  [
    'step 3.4: delegated to a host with a legacy SRV record',
    'a.test',
    { delegations: { 'a.test': 'b.test' }, srv: { '_matrix._tcp.b.test': [record('d.test', 8)] } },
    ['d.test', 8, 'b.test', 'b.test'],
  ],
  [
    'step 3.5: delegated to a host without SRV records',
    'a.test',
    { delegations: { 'a.test': 'b.test' }, srv: { '_matrix-fed._tcp.a.test': [record('c.test', 9)] } },
    ['b.test', 8448, 'b.test', 'b.test'],
  ],
  [
    'step 4: an SRV record of the host itself',
    'a.test',
    {
      srv: { '_matrix-fed._tcp.a.test': [record('c.test', 9)], '_matrix._tcp.a.test': [record('d.test', 8)] },
    },
    ['c.test', 9, 'a.test', 'a.test'],
  ],
  [
    'step 5: a legacy SRV record of the host itself',
    'a.test',
    { srv: { '_matrix._tcp.a.test': [record('d.test', 8)] } },
    ['d.test', 8, 'a.test', 'a.test'],
  ],
  ['step 6: nothing at all', 'a.test', {}, ['a.test', 8448, 'a.test', 'a.test']],
  [
    'an SRV target of "." is no service (RFC 2782)',
    'a.test',
    { srv: { '_matrix-fed._tcp.a.test': [record('.', 0)] } },
    ['a.test', 8448, 'a.test', 'a.test'],
  ],
];

for (const [rule, server, world, [host, port, tlsName, hostHeader]] of table) {
  test(`server names: ${rule}`, async () => {
    const destination = await resolverIn(world).resolve(server);
    assert.deepEqual(destination, { host, port, tlsName, hostHeader, fallbacks: [] });
  });
}

test('server names: steps 1 and 2 ask nobody', async () => {
  const asked: string[] = [];
  const resolver = resolverIn({}, asked);
  for (const server of ['1.2.3.4', '[::1]', 'a.test:1']) await resolver.resolve(server);
  assert.deepEqual(asked, []);
});

test('F23: delegations and SRV records that lead in circles, or ever further, are followed by one step and no more', async () => {
  const asked: string[] = [];
  const delegations = { 'a.test': 'b.test', 'b.test': 'a.test', 'c.test': 'c.test', 'd.test': 'e.test' };
  const srv = {
    '_matrix-fed._tcp.b.test': [record('a.test', 1)],
    '_matrix-fed._tcp.c.test': [record('_matrix-fed._tcp.c.test', 2)],
    '_matrix-fed._tcp.e.test': [record('f.test', 3)],
    '_matrix-fed._tcp.f.test': [record('g.test', 4)],
  };
  const resolver = resolverIn({ delegations, srv }, asked);
  const found = [];
  for (const server of ['a.test', 'c.test', 'd.test']) {
    const { host, port, tlsName } = (await resolver.resolve(server)) ?? assert.fail(server);
    found.push([host, port, tlsName]);
  }
  assert.deepEqual(found, [
    ['a.test', 1, 'b.test'],
    ['_matrix-fed._tcp.c.test', 2, 'c.test'],
    ['f.test', 3, 'e.test'],
  ]);
  assert.deepEqual(asked, [
    ...['https://a.test', '_matrix-fed._tcp.b.test'],
    ...['https://c.test', '_matrix-fed._tcp.c.test'],
    ...['https://d.test', '_matrix-fed._tcp.e.test'],
  ]);
});

test('server names: SRV targets are tried by priority, within it at random by weight', async () => {
  const srv = {
    '_matrix-fed._tcp.a.test': [
      record('late', 1, 20, 100),
      record('light', 2, 10, 1),
      record('heavy', 3, 10, 99),
    ],
  };
  let draws = 0;
  const first: string[] = [];
  for (let count = 0; count < 200; count += 1) {
    // Evenly spread draws in place of random ones.
    const random = (): number => {
      draws += 61;
      return (draws % 100) / 100;
    };
    const resolver = resolverIn({ srv, random });
    const destination = await resolver.resolve('a.test');
    first.push(destination?.host ?? '');
    assert.deepEqual(destination?.fallbacks.at(-1), { host: 'late', port: 1 });
  }
  const heavy = first.filter((host) => host === 'heavy').length;
  assert.ok(heavy > 150, `${heavy} of 200`);
  assert.ok(!first.includes('late'));
});

test('server names: SRV records are kept for a while, a failed lookup shorter than an absent record', async () => {
  let now = 0;
  let code = 'ENOTFOUND';
  let lookups = 0;
  const resolver = new ServerResolver({
    partners: everybody,
    clock: { now: () => now },
    delegationOf: async () => undefined,
    resolveSrv: async () => {
      lookups += 1;
      throw Object.assign(new Error('no'), { code });
    },
  });
  await resolver.resolve('a.test');
  await resolver.resolve('a.test');
  assert.equal(lookups, 2);
  now += 60_000;
  await resolver.resolve('a.test');
  assert.equal(lookups, 2);
  now += 5 * 60_000;
  code = 'ETIMEOUT';
  await resolver.resolve('a.test');
  now += 60_000;
  await resolver.resolve('a.test');
  assert.equal(lookups, 6);
});

test('server names: what is none resolves to nothing', async () => {
  for (const server of ['', 'a b', 'a:b', 'a.test:70000', '[::1', 'a.test:80:90', '@a:b']) {
    assert.equal(await resolverIn({}).resolve(server), undefined, server);
  }
});

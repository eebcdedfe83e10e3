/** What is wrong on the way to a server, each put into a real network on loopback, and named by the check. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { test } from 'node:test';
import { createServer as createTls } from 'node:tls';
import type { Step } from '#federation/doctor/step.ts';
import { createAuthority, selfSigned } from '#test/harness/certificates.ts';
import { freePort } from '#test/harness/free-port.ts';
import { startPeer } from '#test/harness/peer.ts';
import { authority, faultsOf, honest, html, of, startHonest, stepsIn, type World } from './world.ts';

const AT = ['127.0.0.1'];
const record = (name: string, port: number) => ({ name, port, priority: 1, weight: 1 });

/** The words of what went wrong in a step. */
function wordsOf(steps: readonly Step[], name: Step['name']): string {
  return of(steps, name)
    .filter(({ state }) => state !== 'fine')
    .map(({ words }) => words)
    .join('; ');
}

test('a server with which nothing is wrong: each step is fine, and says what was seen', async () => {
  const certificate = await authority.issue(['a.test'], { days: 90 });
  await using peer = await startPeer({ authority, certificate, answer: honest('a.test') });
  await using web = await startPeer({
    authority,
    names: ['a.test'],
    answer: () => ({ json: { 'm.server': `a.test:${peer.port}` } }),
  });
  const steps = await stepsIn({ names: { 'a.test': AT }, web: { 'a.test': web.port } }, 'a.test');
  assert.deepEqual(faultsOf(steps), []);
  const shown = Object.fromEntries(steps.map(({ name, words }) => [name, words]));
  assert.equal(shown['well-known'], `leads to a.test:${peer.port}`);
  assert.equal(shown.connection, `127.0.0.1 port ${peer.port}`);
  assert.match(shown.certificate ?? '', /^for a\.test, by Kurir test authority, until \d{4}-\d\d-\d\d$/);
  assert.match(shown.key ?? '', /^ed25519:peer, valid for 1 hour$/);
  assert.equal(shown.clock, 'as ours');
  assert.equal(shown.version, 'Synapse 1.150.0');
  assert.equal(shown.signature, 'it verifies ours, so it has our key');
});

test('a name that is none, or our own', async () => {
  for (const name of ['no name', 'a.test:99999', 'here.test']) {
    assert.deepEqual(faultsOf(await stepsIn({}, name)), ['not_a_server'], name);
  }
});

const lookups: readonly (readonly [string, World['names'] & object, cause: string, words: RegExp])[] = [
  ['a name that is not in the DNS', {}, 'name_not_found', /^a\.test: name not found$/],
  [
    'a name that the resolver cannot look up',
    { 'a.test': 'EAI_AGAIN' },
    'name_lookup_failed',
    /could not be looked up/,
  ],
  [
    'a name that leads to a private address only',
    { 'a.test': ['10.0.0.1', 'fd00::1'] },
    'address_denied',
    /^a\.test leads to 10\.0\.0\.1, fd00::1, which is not a public address$/,
  ],
];

for (const [what, names, cause, words] of lookups) {
  test(`${what}: ${cause}`, async () => {
    const steps = await stepsIn({ names }, 'a.test:8448');
    assert.deepEqual(faultsOf(steps), [cause]);
    assert.match(wordsOf(steps, 'addresses'), words);
  });
}

test('a server with IPv6 addresses only, where this machine has none', async () => {
  const world = { names: { 'a.test': ['100::1'] }, hasIpv6: false, connectTimeoutMs: 500 };
  const steps = await stepsIn(world, 'a.test:8448');
  assert.deepEqual(faultsOf(steps), ['ipv6_only']);
  assert.match(wordsOf(steps, 'addresses'), /has IPv6 addresses only \(100::1\)/);
});

test('one of two addresses that answers is enough; the other is noted', async () => {
  await using peer = await startPeer({ authority, names: ['a.test'], answer: honest('a.test') });
  await using web = await startPeer({
    authority,
    names: ['a.test'],
    answer: () => ({ json: { 'm.server': `a.test:${peer.port}` } }),
  });
  const world = { names: { 'a.test': ['127.0.0.1', '127.0.0.2'] }, web: { 'a.test': web.port } };
  const steps = await stepsIn(world, 'a.test');
  assert.deepEqual(faultsOf(steps), []);
  assert.equal(wordsOf(steps, 'connection'), `127.0.0.2 port ${peer.port}: connection refused`);
});

test('a port that is closed', async () => {
  const port = await freePort();
  const steps = await stepsIn({}, `localhost:${port}`);
  assert.deepEqual(faultsOf(steps), ['connection_refused']);
  assert.equal(wordsOf(steps, 'connection'), `127.0.0.1 port ${port}: connection refused`);
  assert.equal(of(steps, 'key')[0]?.state, 'skipped');
});

test('a firewall that drops packets', { skip: process.platform !== 'linux' }, async () => {
  // A process that stands still, and whose queue of connections is full: the system answers no more.
  const program = `require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () {
    console.log(this.address().port) })`;
  const child = spawn(process.execPath, ['-e', program]);
  const [line] = await once(child.stdout, 'data');
  const port = Number(String(line));
  child.kill('SIGSTOP');
  const fillers = [1, 2, 3, 4].map(() => connect(port, '127.0.0.1').on('error', () => undefined));
  await Promise.all(fillers.slice(0, 2).map((socket) => once(socket, 'connect')));
  try {
    const steps = await stepsIn({ connectTimeoutMs: 1_000 }, `localhost:${port}`);
    assert.deepEqual(faultsOf(steps), ['no_answer']);
    assert.match(of(steps, 'connection')[0]?.fault?.remedy ?? '', /firewall/);
  } finally {
    for (const socket of fillers) socket.destroy();
    child.kill('SIGKILL');
  }
});

async function withServer<T>(server: Server, use: (name: string) => Promise<T>): Promise<T> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    return await use(`localhost:${(server.address() as AddressInfo).port}`);
  } finally {
    server.close();
  }
}

test('a port that accepts and says nothing, and one that speaks plain HTTP', async () => {
  const silent = createServer((socket) => socket.on('error', () => undefined).resume());
  await withServer(silent, async (name) => {
    const steps = await stepsIn({ connectTimeoutMs: 1_000 }, name);
    assert.deepEqual(faultsOf(steps), ['no_answer']);
    assert.equal(of(steps, 'connection')[0]?.state, 'fine', 'the port is open');
  });
  const plain = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await withServer(plain, async (name) => {
    const steps = await stepsIn({}, name);
    assert.deepEqual(faultsOf(steps), ['not_tls']);
    assert.match(wordsOf(steps, 'certificate'), /does not speak TLS$/);
  });
});

test('certificates: expired, for another name, of an unknown authority, incomplete, self-signed, ending', async () => {
  const stranger = await createAuthority();
  const strange = await stranger.issue(['localhost']);
  const intermediate = await authority.intermediate();
  const below = await intermediate.issue(['localhost'], { days: 90 });
  const cases = [
    [
      await authority.issue(['localhost'], { expired: true }),
      'certificate_expired',
      /certificate expired on \d/,
    ],
    [await authority.issue(['b.test']), 'certificate_name', /for another name \(DNS:b\.test\)$/],
    [
      { cert: `${strange.cert}\n${stranger.cert}`, key: strange.key },
      'certificate_untrusted',
      /authority that is not trusted here \(Kurir test authority\)$/,
    ],
    [below, 'certificate_incomplete', /comes without that of the authority .* \(Kurir test intermediate\)$/],
    [await selfSigned(['localhost']), 'certificate_self_signed', /signed by itself \(DNS:localhost\)$/],
  ] as const;
  for (const [certificate, cause, words] of cases) {
    await using peer = await startHonest({}, { certificate });
    const steps = await stepsIn({}, peer.name);
    assert.deepEqual(faultsOf(steps), [cause]);
    assert.match(wordsOf(steps, 'certificate'), words);
    assert.ok((of(steps, 'certificate')[0]?.fault?.remedy ?? '') !== '');
  }
  const whole = { cert: `${below.cert}\n${intermediate.cert}`, key: below.key };
  await using complete = await startHonest({}, { certificate: whole });
  assert.deepEqual(faultsOf(await stepsIn({}, complete.name)), []);
  await using ending = await startHonest(
    {},
    { certificate: await authority.issue(['localhost'], { days: 5 }) },
  );
  const steps = await stepsIn({}, ending.name);
  assert.deepEqual([faultsOf(steps), of(steps, 'certificate')[0]?.fault?.cause], [[], 'certificate_ending']);
});

test('an SRV record without a certificate for the name itself; with one it works, and is noted', async () => {
  const answer = honest('a.test');
  const names = { 'a.test': AT, 'matrix.a.test': AT };
  for (const [certificateName, faults] of [
    ['matrix.a.test', ['srv_certificate']],
    ['a.test', []],
  ] as const) {
    await using peer = await startPeer({ authority, names: [certificateName], answer });
    const srv = { '_matrix-fed._tcp.a.test': [record('matrix.a.test', peer.port)] };
    const steps = await stepsIn({ names, srv }, 'a.test');
    assert.deepEqual(faultsOf(steps), faults);
    assert.equal(of(steps, 'DNS SRV')[0]?.words, `leads to matrix.a.test:${peer.port}`);
    if (faults.length > 0)
      assert.match(wordsOf(steps, 'certificate'), /; behind an SRV record it must be for a\.test$/);
    else assert.equal(of(steps, 'DNS SRV')[1]?.fault?.cause, 'srv_only');
  }
});

const brokenWells = [
  ['a page', html(), /well-known\/matrix\/server: the answer is not JSON$/],
  ['no m.server', { json: { server: 'a.test' } }, /has no valid m\.server$/],
  [
    'an m.server that is no server name',
    { json: { 'm.server': 'https://a.test' } },
    /has no valid m\.server$/,
  ],
  [
    'a redirect to itself',
    { status: 302, json: {}, headers: { location: '/.well-known/matrix/server' } },
    /too many redirects$/,
  ],
  [
    'a redirect to plain HTTP',
    { status: 301, json: {}, headers: { location: 'http://a.test/' } },
    /other than HTTPS$/,
  ],
  ['an error of the proxy', html(502), /answers 502$/],
] as const;

for (const [what, answer, words] of brokenWells) {
  test(`a .well-known with ${what}: a fault where nothing else leads to the server, else a note`, async () => {
    await using web = await startPeer({ authority, names: ['a.test'], answer: () => answer });
    const world = { names: { 'a.test': AT, 'matrix.a.test': AT }, web: { 'a.test': web.port } };
    const srv = (port: number) => ({ '_matrix-fed._tcp.a.test': [record('matrix.a.test', port)] });
    const lost = await stepsIn({ ...world, srv: srv(await freePort()) }, 'a.test');
    assert.deepEqual(faultsOf(lost), ['delegation_broken', 'connection_refused']);
    assert.match(wordsOf(lost, 'well-known'), words);
    await using peer = await startPeer({ authority, names: ['a.test'], answer: honest('a.test') });
    const found = await stepsIn({ ...world, srv: srv(peer.port) }, 'a.test');
    assert.deepEqual(faultsOf(found), []);
    assert.equal(of(found, 'well-known')[0]?.state, 'notice');
  });
}

test('a .well-known behind a certificate that has expired', async () => {
  const certificate = await authority.issue(['a.test'], { expired: true });
  await using web = await startPeer({ authority, certificate, answer: () => ({ json: {} }) });
  const srv = { '_matrix._tcp.a.test': [record('a.test', await freePort())] };
  const steps = await stepsIn({ names: { 'a.test': AT }, web: { 'a.test': web.port }, srv }, 'a.test');
  assert.deepEqual(faultsOf(steps), ['certificate_expired', 'connection_refused']);
  assert.match(wordsOf(steps, 'well-known'), /^\.well-known\/matrix\/server: certificate expired on/);
});

test('a name without .well-known is no fault, whether its web server answers 404 or there is none', async () => {
  await using web = await startPeer({
    authority,
    names: ['a.test'],
    answer: () => ({ status: 404, json: {} }),
  });
  await using peer = await startPeer({ authority, names: ['a.test'], answer: honest('a.test') });
  const srv = { '_matrix._tcp.a.test': [record('a.test', peer.port)] };
  for (const port of [web.port, await freePort()]) {
    const steps = await stepsIn({ names: { 'a.test': AT }, web: { 'a.test': port }, srv }, 'a.test');
    assert.deepEqual([faultsOf(steps), of(steps, 'well-known')[0]?.state], [[], 'fine']);
  }
});

test('a name server that does not answer ends the check in time, and is named', async () => {
  const limit = new AbortController();
  const resolveSrv = (name: string) => {
    // All that comes before was in time.
    if (name.endsWith('.a.test')) setImmediate(() => limit.abort());
    return new Promise<never>(() => undefined);
  };
  const steps = await stepsIn({ resolveSrv, stop: limit.signal }, 'a.test');
  assert.deepEqual(faultsOf(steps), ['name_lookup_failed']);
  assert.match(wordsOf(steps, 'addresses'), /could not be looked up in time$/);
});

test('a server that offers no TLS 1.2', async () => {
  const certificate = await authority.issue(['localhost']);
  const old = createTls({
    ...certificate,
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'ALL@SECLEVEL=0',
  });
  old.on('tlsClientError', () => undefined);
  await withServer(old, async (name) => {
    assert.deepEqual(faultsOf(await stepsIn({}, name)), ['tls_version']);
  });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createTcp } from 'node:net';
import { test } from 'node:test';
import { createServer as createTls } from 'node:tls';
import { failure } from '#federation/client.ts';
import { clockFault, duration, faultOf, keyFault } from '#federation/fault.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { connectFederation } from '#test/harness/connect.ts';
import { freePort } from '#test/harness/free-port.ts';
import { openRooms } from '#test/harness/rooms.ts';

const NOW = Date.UTC(2026, 0, 31, 12);
const MINUTE = 60_000;

/** The fault of a request to `server`, made for real. */
async function faultAt(server: string, extraCa: string | undefined) {
  await using rooms = await openRooms();
  const { serverName, signingKey, db } = rooms.ctx;
  const { client } = connectFederation({
    serverName,
    signingKey,
    db,
    clock: Date,
    allowPrivate: true,
    extraCa,
  });
  await using _ = client;
  const answer = await client.request({ server, method: 'GET', path: '/_matrix/federation/v1/version' });
  assert.equal(answer.kind, 'failed');
  return answer.kind === 'failed' ? faultOf(answer, Date.now()) : undefined;
}

async function withTls<T>(
  certificate: { cert: string; key: string },
  use: (port: number) => Promise<T>,
): Promise<T> {
  const server = createTls(certificate, (socket) => socket.destroy()).listen(0, '127.0.0.1');
  server.on('tlsClientError', () => undefined);
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  try {
    return await use(address.port);
  } finally {
    server.close();
  }
}

test('what a real connection fails with is named: refused, name not found, certificate, no TLS', async () => {
  const authority = await createAuthority();
  const refused = await faultAt(`localhost:${await freePort()}`, authority.cert);
  assert.deepEqual([refused?.cause, refused?.words], ['connection_refused', 'connection refused']);
  const unknown = await faultAt('nowhere.invalid:8448', authority.cert);
  assert.ok(['name_not_found', 'name_lookup_failed'].includes(unknown?.cause ?? ''), unknown?.words);

  const expired = await authority.issue(['localhost'], { expired: true });
  await withTls(expired, async (port) => {
    const found = await faultAt(`localhost:${port}`, authority.cert);
    assert.equal(found?.cause, 'certificate_expired');
    const yesterday = new Date(Date.now() - 24 * 60 * MINUTE).toISOString().slice(0, 10);
    assert.equal(found?.words, `certificate expired on ${yesterday}`);
  });
  await withTls(await authority.issue(['other.test']), async (port) => {
    const found = await faultAt(`localhost:${port}`, authority.cert);
    assert.equal(found?.cause, 'certificate_name');
    assert.equal(found?.words, 'certificate is for another name (DNS:other.test)');
  });
  const stranger = await createAuthority();
  await withTls(await stranger.issue(['localhost']), async (port) => {
    const found = await faultAt(`localhost:${port}`, authority.cert);
    assert.equal(found?.cause, 'certificate_untrusted');
    assert.match(found?.words ?? '', /\(Kurir test authority\)$/);
  });
  const plain = createTcp((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(0, '127.0.0.1');
  await once(plain, 'listening');
  const address = plain.address();
  assert.ok(typeof address === 'object' && address !== null);
  assert.equal((await faultAt(`localhost:${address.port}`, authority.cert))?.cause, 'not_tls');
  plain.close();
});

test('what a server answers is named, with its own words on one line', () => {
  const refusal = (status: number, rest: object = {}) =>
    faultOf({ ...failure('refused', 'no\n\u001b[31mway'), status, ...rest }, NOW);
  assert.deepEqual([refusal(403).cause, refusal(403).words], ['refuses_us', 'answers 403: no [31mway']);
  assert.equal(refusal(401, { serverTs: NOW + 1_000 }).cause, 'signature_refused');
  assert.equal(
    refusal(401, { serverTs: NOW - 4 * MINUTE }).words,
    'its clock is off by 4 minutes (behind ours)',
  );
  assert.equal(refusal(429, { retryAfterMs: 90 * MINUTE }).words, 'asks to be left alone for 2 hours');
  assert.equal(refusal(502).cause, 'gateway_error');
  assert.equal(refusal(500).cause, 'server_error');
  assert.equal(refusal(400).cause, 'request_refused');
  assert.ok(refusal(404).remedy.length > 0);
});

test('a clock that is off by less than a minute is no fault; lengths of time have one unit', () => {
  assert.equal(clockFault(59_000), undefined);
  assert.equal(clockFault(-59_000), undefined);
  assert.equal(clockFault(4 * MINUTE)?.words, 'its clock is off by 4 minutes (ahead of ours)');
  assert.deepEqual([1_000, 59_400, 60 * MINUTE, 49 * 60 * MINUTE].map(duration), [
    '1 second',
    '59 seconds',
    '1 hour',
    '2 days',
  ]);
});

test('another key under the same id is a fault, a new id is a rotation', () => {
  const known = new Map([['ed25519:a', 'AAAA']] as const);
  assert.equal(keyFault(known, new Map([['ed25519:a', 'BBBB']] as const))?.cause, 'key_changed');
  assert.equal(keyFault(known, new Map([['ed25519:b', 'BBBB']] as const)), undefined);
});

/** F21: what comes in slowly, in part, or in a form that two readers would read in two ways. */
import assert from 'node:assert/strict';
import { subscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, afterEach, test } from 'node:test';
import { RawConnection } from '#test/harness/hostile-server.ts';
import { isLongRun } from '#test/harness/long-run.ts';
import { until } from '#test/harness/until.ts';
import { startWitness } from './witness.ts';

const witness = await startWitness();
after(() => witness[Symbol.asyncDispose]());
afterEach(() => witness.check());
const { alice, server } = witness;

const connects: Readonly<Record<string, () => Promise<RawConnection>>> = {
  clients: () => RawConnection.tcp(server.clientUrl),
  servers: () => RawConnection.federation(server),
};

const GET = 'GET /_matrix/client/versions HTTP/1.1\r\nhost: x\r\n';

for (const [whose, connect] of Object.entries(connects)) {
  test(`F21: connections of ${whose} whose headers come byte by byte are ended, and others are served meanwhile`, async () => {
    const slow = await Promise.all(Array.from({ length: 200 }, connect));
    for (const connection of slow) {
      connection.write('GET / HTTP/1.1\r\nhost: x\r\n');
      connection.drip('x: y\r\n', 500);
    }
    await witness.check();
    await Promise.all(slow.map(({ closed }) => closed));
    for (const { received } of slow) assert.ok(received === '' || received.startsWith('HTTP/1.1 408'));
  });

  test(`F21: connections of ${whose} whose body comes byte by byte are ended`, {
    skip: isLongRun ? false : 'it takes a minute',
  }, async () => {
    const slow = await Promise.all(Array.from({ length: 50 }, connect));
    for (const connection of slow) {
      connection.write('POST /_matrix/key/v2/query HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{');
      connection.drip(' ', 500);
    }
    await witness.check();
    await Promise.all(slow.map(({ closed }) => closed));
  });

  test(`row 26: of ${whose}: what can be read in two ways is refused, and nothing after it is answered`, async () => {
    const hidden = `${GET}\r\n`;
    const ambiguous: Readonly<Record<string, string>> = {
      'a length and chunks': `POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      'two lengths': 'POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\ncontent-length: 44\r\n\r\n',
      'a length with a sign': 'POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: +0\r\n\r\n',
      'chunks by another name': 'POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n',
      'a space before a colon': 'POST /x HTTP/1.1\r\nhost: x\r\ncontent-length : 44\r\n\r\n',
      'line feeds alone': 'POST /x HTTP/1.1\nhost: x\ncontent-length: 0\n\n',
      'a header in two lines': 'POST /x HTTP/1.1\r\nhost: x\r\nx: y\r\n content-length: 44\r\n\r\n',
      'a header with NUL': 'POST /x HTTP/1.1\r\nhost: x\r\nx: \0\r\n\r\n',
      'a chunk that is longer than it says':
        'POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n',
      'two hosts': `${GET}host: y\r\n\r\n`,
    };
    for (const [what, text] of Object.entries(ambiguous)) {
      using connection = await connect();
      connection.write(text + hidden);
      await until(() => connection.received !== '' || connection.socket.destroyed, `an answer to ${what}`);
      if (what !== 'two hosts') await connection.closed;
      assert.ok(!connection.received.startsWith('HTTP/1.1 200'), `${what}: ${connection.received}`);
      if (what !== 'two hosts') assert.ok(!connection.received.includes('"versions"'), what);
    }
  });

  test(`row 64: of ${whose}: requests that are sent all at once are answered in their order`, async () => {
    using connection = await connect();
    const count = 100;
    for (let index = 0; index < count; index++) {
      connection.write(`GET /number-${index} HTTP/1.1\r\nhost: x\r\n\r\n${GET}\r\n`);
    }
    await until(() => connection.received.split('HTTP/1.1 ').length > 2 * count);
    const statuses = [...connection.received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
    const known = whose === 'clients' ? '200' : '404';
    assert.deepEqual(statuses, Array.from({ length: count }, () => ['404', known]).flat());
  });

  test(`row 52: of ${whose}: many who go away in the middle of a request or of its answer leave nothing`, async () => {
    const body =
      'POST /_matrix/key/v2/query HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{"server_keys":{';
    for (let round = 0; round < 6; round++) {
      const some = await Promise.all(Array.from({ length: 50 }, connect));
      for (const [index, connection] of some.entries()) {
        connection.write(index % 2 === 0 ? body : `${GET}\r\n`.repeat(20));
        connection[Symbol.dispose]();
      }
      await Promise.all(some.map(({ closed }) => closed));
    }
    await alice.sync();
  });
}

test('F21: a connection whose other end takes nothing of an answer is ended', {
  skip: isLongRun ? false : 'it takes half a minute',
}, async () => {
  const roomId = await alice.createRoom();
  for (let count = 0; count < 300; count++) await alice.send(roomId, `${count}`.padEnd(60_000, 'x'));
  // Who reads nothing does not see the end either: it is looked at from the server's side, in this same process.
  const accepted: Socket[] = [];
  subscribe('net.server.socket', (message) => accepted.push((message as { socket: Socket }).socket));
  using connection = await RawConnection.tcp(server.clientUrl);
  connection.socket.pause();
  const side = accepted.find(({ remotePort }) => remotePort === connection.socket.localPort);
  assert.ok(side);
  const ended = once(side, 'close');
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=500`;
  connection.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${alice.accessToken}\r\n\r\n`);
  await until(() => side.writableLength > 0, 'an answer that waits');
  await ended;
});

test('F20: a connection that its other end half closes in the middle of a request is given up', async () => {
  for (const connect of Object.values(connects)) {
    using connection = await connect();
    connection.write('POST /_matrix/key/v2/query HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{');
    connection.socket.end();
    await connection.closed;
    assert.ok(!connection.received.startsWith('HTTP/1.1 200'));
  }
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Connection } from '#bench/lib/connection.ts';

/** A server that answers each request with the next of `answers`, in the pieces given; then closes. */
async function serverOf(t: TestContext, answers: readonly (readonly Buffer[])[]) {
  const requests: string[] = [];
  const server = net.createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('data', async (chunk) => {
      requests.push(chunk.toString());
      const pieces = answers[requests.length - 1];
      for (const piece of pieces ?? []) {
        socket.write(piece);
        await nextTurn();
      }
      if (pieces === undefined) socket.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const connection = await Connection.open(`http://127.0.0.1:${address.port}`);
  t.after(() => {
    connection.close();
    server.close();
  });
  return { connection, requests, host: `127.0.0.1:${address.port}` };
}

/** Every byte on its own. */
function bytesOf(text: string): Buffer[] {
  return Array.from(Buffer.from(text), (byte) => Buffer.of(byte));
}

test('connection: an answer with a length is read to its last byte, in whatever pieces it comes', async (t) => {
  const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 15\r\nX: y\r\n\r\n{"name":"Åsa"}';
  const { connection } = await serverOf(t, [[Buffer.from(answer)], bytesOf(answer)]);
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(await connection.request('GET', '/'), { status: 200, body: '{"name":"Åsa"}' });
  }
});

test('connection: a chunked answer is put together, in whatever pieces it comes', async (t) => {
  const answer =
    'HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{"a"\r\nC\r\n:"\r\n0\r\n\r\n"}x\r\n0\r\n\r\n';
  const { connection } = await serverOf(t, [[Buffer.from(answer)], bytesOf(answer)]);
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(await connection.request('GET', '/'), { status: 403, body: '{"a":"\r\n0\r\n\r\n"}x' });
  }
});

test('connection: a request carries its token, and its body with the length in bytes', async (t) => {
  const { connection, requests, host } = await serverOf(t, [
    [Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')],
  ]);
  await connection.request('PUT', '/a%20b', { token: 'secret', body: { name: 'Åsa' } });
  assert.deepEqual(requests, [
    `PUT /a%20b HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer secret\r\n` +
      'Content-Type: application/json\r\nContent-Length: 15\r\n\r\n{"name":"Åsa"}',
  ]);
});

test('connection: a server that closes instead of answering fails the request', async (t) => {
  const { connection } = await serverOf(t, []);
  await assert.rejects(connection.request('GET', '/'), /closed the connection|ECONNRESET/);
});

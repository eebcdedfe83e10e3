import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { test } from 'node:test';
import { answerClientError } from '#server/http/error-handler.ts';
import { LateRequests } from '#server/http/late-requests.ts';

const HEADERS_MS = 100;
const REQUEST = 'GET / HTTP/1.1\r\nHost: here.test\r\nConnection: close\r\n\r\n';

test('a request that has lain unread while the loop was busy is answered, however long that took', async () => {
  await using server = await listening();
  const socket = net.connect(server.port, '127.0.0.1');
  await once(socket, 'connect');
  await server.accepted;
  socket.write(REQUEST);
  // Nothing is read meanwhile, and the limit is over before anything is.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3 * HEADERS_MS);
  assert.match(await textOf(socket), /^HTTP\/1\.1 200 /);
});

test('a request of which some is missing when the limit is over is refused', async () => {
  await using server = await listening();
  const socket = net.connect(server.port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(REQUEST.slice(0, -2));
  assert.match(await textOf(socket), /^HTTP\/1\.1 408 /);
});

async function listening(): Promise<
  { readonly port: number; readonly accepted: Promise<unknown> } & AsyncDisposable
> {
  const limits = { headersTimeout: HEADERS_MS, connectionsCheckingInterval: HEADERS_MS / 10 };
  const server = http.createServer(limits, (_, response) => response.end('here'));
  const late = new LateRequests();
  late.watch(server);
  server.on('clientError', (error, socket) => late.refuse(socket, () => answerClientError(error, socket)));
  const accepted = once(server, 'connection');
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return {
    ...{ port: address.port, accepted },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function textOf(socket: net.Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket.setEncoding('utf8')) text += chunk;
  return text;
}

/** Clients that ask and take nothing of the answer, which waits in the server's memory. */

import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { register, type TestClient } from '#test/harness/client.ts';
import { RawConnection } from '#test/harness/hostile-server.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

/** In place of half a minute: the server's own side of one connection is told to look so soon. */
const STALLED_MS = 200;

/** A connection and the server's side of it, in this same process. */
async function connect(server: TestServer): Promise<{ connection: RawConnection; side: Socket }> {
  const accepted: Socket[] = [];
  const listener = (message: unknown) => accepted.push((message as { socket: Socket }).socket);
  subscribe('net.server.socket', listener);
  const connection = await RawConnection.tcp(server.clientUrl);
  const find = () => accepted.find(({ remotePort }) => remotePort === connection.socket.localPort);
  await until(() => find() !== undefined, 'the other side');
  unsubscribe('net.server.socket', listener);
  const side = find();
  assert.ok(side);
  side.setTimeout(STALLED_MS);
  return { connection, side };
}

function askFor(client: TestClient, query: string): string {
  const head = `GET /_matrix/client/v3/sync?${query} HTTP/1.1\r\nhost: x\r\n`;
  return `${head}authorization: Bearer ${client.accessToken}\r\n\r\n`;
}

test('sync: a client that takes nothing of its answer is ended, and so are the answers it asked for besides', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  for (let count = 0; count < 150; count++) await alice.send(roomId, `${count}`.padEnd(60_000, 'x'));
  const { connection, side } = await connect(server);
  using _ = connection;
  connection.socket.pause();
  const ended = once(side, 'close');
  const filter = encodeURIComponent('{"room":{"timeline":{"limit":1000}}}');
  connection.write(askFor(alice, `filter=${filter}`).repeat(20));
  await until(() => side.writableLength > 0, 'an answer that waits');
  // What is asked for behind an answer that nobody takes is not made: 20 answers would be 180 MB.
  assert.ok(side.writableLength < 30_000_000, `${side.writableLength} bytes wait`);
  await ended;
  assert.ok((await alice.sync()).next_batch, 'the others are served');
});

test('sync: a client that waits for news is not taken for one that takes nothing', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const { next_batch: since } = await alice.sync();
  const { connection } = await connect(server);
  using _ = connection;
  connection.write(askFor(alice, `timeout=${5 * STALLED_MS}&since=${since}`));
  await until(() => connection.received.includes('"next_batch"'), 'the answer');
  assert.ok(connection.received.startsWith('HTTP/1.1 200'));
});

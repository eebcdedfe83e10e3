import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { after, afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inRoom, untilMessages } from '#test/harness/conversation.ts';
import { RawConnection } from '#test/harness/hostile-server.ts';
import { until } from '#test/harness/until.ts';
import { drip, wrongAnswers } from '#test/harness/wrong-answers.ts';
import { startWitness } from './witness.ts';

const witness = await startWitness();
after(() => witness[Symbol.asyncDispose]());
afterEach(() => witness.check());
const { alice, server } = witness;

const MIB = 1024 * 1024;

for (const [what, answer] of Object.entries(wrongAnswers)) {
  test(`row 111: a peer that answers everything with ${what}`, async () => {
    await using peer = await witness.peerWithRoom();
    const { roomId } = peer.room;
    peer.answerAll(answer);
    const own = await alice.createRoom();
    const target = peer.user('carol');
    const tries: [string, string, unknown?][] = [
      ['POST', `/join/${encodeURIComponent(roomId)}?via=${encodeURIComponent(peer.name)}`],
      ['POST', `/join/${encodeURIComponent(`#x:${peer.name}`)}`],
      ['GET', `/profile/${encodeURIComponent(target)}`],
      ['GET', `/directory/room/${encodeURIComponent(`#x:${peer.name}`)}`],
      ['POST', `/publicRooms?server=${encodeURIComponent(peer.name)}`, {}],
      ['POST', `${inRoom(own)}/invite`, { user_id: target }],
    ];
    for (const [method, path, body] of tries) {
      const { status, headers, body: said } = await alice.try(method, path, body);
      assert.ok(
        [400, 403, 404, 429, 502, 504].includes(status) || (status === 200 && path.startsWith('/profile')),
        `${method} ${path}: ${status}`,
      );
      if (status !== 200) assert.equal(typeof said.errcode, 'string');
      assert.notEqual(said.errcode, 'M_UNKNOWN_TOKEN');
      assert.ok(Number(headers.get('retry-after') ?? 0) <= 3_600);
    }
    assert.deepEqual(
      peer.peer.requests.filter(({ url }) => url === '/'),
      [],
    );
  });
}

test('a peer from which 60 seconds and one byte at a time are to be had keeps nobody else waiting', async () => {
  await using slow = await witness.peerWithRoom();
  await using good = await witness.peerWithRoom();
  const held: ServerResponse[] = [];
  slow.script = ({ url }) => {
    if (url.includes('/key/')) return undefined;
    return (response) => {
      held.push(response);
      drip(100)(response);
    };
  };
  const path = `/join/${encodeURIComponent(slow.room.roomId)}?via=${encodeURIComponent(slow.name)}`;
  const joins = Array.from({ length: 5 }, () => alice.try('POST', path));
  await until(() => held.length > 0);
  await alice.join(good.room.roomId, [good.name]);
  await good.send(server, [good.room.message(good.user('mallory'), 'meanwhile')]);
  await untilMessages(alice, good.room.roomId, ['meanwhile']);
  await witness.check();
  await slow.peer.stop();
  for (const { status } of await Promise.all(joins)) assert.ok(status === 504 || status === 404);
});

test('row 39: an answer without end is cut off at the limit, however small its pieces', async () => {
  await using peer = await witness.peer();
  let written = 0;
  let closed = false;
  // As many chunks of one byte as fit into a write.
  const pieces = Buffer.from('1\r\nx\r\n'.repeat(20_000));
  peer.script = ({ url }) => {
    if (url.includes('/key/')) return undefined;
    return (response) => {
      const { socket } = response;
      assert.ok(socket);
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n');
      socket.on('close', () => {
        closed = true;
      });
      const more = () => {
        while (!closed && socket.write(pieces)) written += pieces.length;
        written += pieces.length;
        if (!closed) socket.once('drain', more);
      };
      more();
    };
  };
  const before = process.memoryUsage().rss;
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 50);
  const answer = await alice.try('GET', `/profile/${encodeURIComponent(peer.user('carol'))}`);
  clearInterval(watch);
  assert.ok(answer.status >= 400);
  await until(() => closed);
  assert.ok(
    most - before < 300 * MIB,
    `${Math.round((most - before) / MIB)} MiB for ${Math.round(written / MIB)} MiB`,
  );
});

test('a request body in very small pieces costs no more memory than it has bytes', async () => {
  using connection = await RawConnection.federation(server);
  const { socket } = connection;
  socket.write(
    'POST /_matrix/key/v2/query HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
  );
  const pieces = Buffer.from('1\r\n \r\n'.repeat(10_000));
  const before = process.memoryUsage().rss;
  let most = 0;
  let ended = false;
  void connection.closed.then(() => {
    ended = true;
  });
  for (let sent = 0; sent < MIB && !ended && connection.received === ''; sent += 10_000) {
    if (!socket.write(pieces)) await Promise.race([once(socket, 'drain'), sleep(2_000)]);
    most = Math.max(most, process.memoryUsage().rss);
  }
  assert.ok(most - before < 100 * MIB, `${Math.round((most - before) / MIB)} MiB`);
});

test('servers that accept connections and say nothing do not keep others from being reached', async () => {
  const accepted: Socket[] = [];
  const silent = createTcpServer((socket) => {
    accepted.push(socket.on('error', () => undefined).resume());
  });
  silent.listen(0, '0.0.0.0');
  await once(silent, 'listening');
  const { port } = silent.address() as { port: number };
  await using good = await witness.peerWithRoom();
  const origins = Array.from({ length: 200 }, (_, n) => `127.${n >> 8}.${n & 255}.${2}:${port}`);
  await using mute = await witness.peer();
  const path = '/_matrix/federation/v1/send/t';
  const asks = origins.map((origin) =>
    mute.request(server, { method: 'PUT', path, body: '{"pdus":[]}', as: origin }).catch(() => undefined),
  );
  await until(() => accepted.length >= 30, 'that they are asked');
  await sleep(1_000);
  const waitedFor = [...accepted];
  const areOpen = () => waitedFor.every((socket) => !socket.closed && !socket.readableEnded);
  assert.ok(areOpen());
  try {
    await alice.join(good.room.roomId, [good.name]);
    assert.ok(areOpen(), 'the join waited until silent servers were given up');
    await witness.check();
  } finally {
    silent.close();
    const ending = setInterval(() => {
      for (const socket of accepted.splice(0)) socket.destroy();
    }, 10);
    await Promise.all(asks);
    clearInterval(ending);
  }
});

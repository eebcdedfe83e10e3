/** Requests that wait again in the words of the last time are answered without the framework, and as with it. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import { syncContextOf } from '#server/sync/context.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

interface RawAnswer {
  readonly status: number | undefined;
  /** In their order, without those that differ each time. */
  readonly headers: readonly string[];
  readonly body: Body;
}

interface World {
  readonly alice: TestClient;
  readonly bob: TestClient;
  readonly roomId: string;
}

/** Of a body: the framework is to say what that means. */
const LONG_WAY = { 'content-type': 'application/json' };

const room = ({ roomId }: World) => `/rooms/${encodeURIComponent(roomId)}`;

const DEEDS: Readonly<Record<string, (world: World) => Promise<unknown>>> = {
  'a message': ({ bob, roomId }) => bob.send(roomId, 'hello'),
  'messages, not all in ASCII': async ({ bob, roomId }) => {
    for (const text of ['Grüße', '日本語', '😀']) await bob.send(roomId, text);
  },
  'a topic': (world) => world.alice.put(`${room(world)}/state/m.room.topic`, { topic: 'new' }),
  typing: (world) =>
    world.bob.put(`${room(world)}/typing/${encodeURIComponent(world.bob.userId)}`, {
      ...{ typing: true, timeout: 30_000 },
    }),
  'a message to the device': ({ alice, bob }) =>
    bob.put('/sendToDevice/org.example/t1', {
      messages: { [alice.userId]: { [alice.deviceId]: { n: 1 } } },
    }),
  'account data': ({ alice }) =>
    alice.put(`/user/${encodeURIComponent(alice.userId)}/account_data/org.example`, { n: 1 }),
  'an invitation': async ({ alice, bob }) => {
    const roomId = await bob.createRoom();
    await bob.post(`/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: alice.userId });
  },
};

test('what is answered without the framework is what is answered with it, headers and all', async () => {
  await using server = await startServer({ presence: 'off' });
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const world = { alice, bob, roomId };
  for (const [name, deed] of Object.entries(DEEDS)) {
    await bob.send(roomId, 'before');
    const { next_batch: since } = await alice.sync();
    const words = `timeout=10000&since=${since}`;
    await deed(world);
    const before = answeredDirectly(server);
    const expected = await ask(server, alice, words, LONG_WAY);
    assert.equal(answeredDirectly(server), before, name);
    for (let time = 0; time < 3; time++) assert.deepEqual(await ask(server, alice, words), expected, name);
    assert.equal(answeredDirectly(server), before + 3, name);
  }
});

test('a request that waits so is ended by what happens, and told what one is that goes the long way', async () => {
  await using server = await startServer({ presence: 'off' });
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  for (const [name, deed] of Object.entries(DEEDS)) {
    // Whoever waits is told of the first of several by itself.
    if (name.startsWith('messages')) continue;
    const since = await settle(server, { alice, bob, roomId });
    const before = answeredDirectly(server);
    const waiting = ask(server, alice, `timeout=10000&since=${since}`);
    await alice.get('/account/whoami');
    await deed({ alice, bob, roomId });
    const answer = await waiting;
    assert.equal(answeredDirectly(server), before + 1, name);
    assert.deepEqual(await ask(server, alice, `timeout=10000&since=${since}`, LONG_WAY), answer, name);
  }
});

test('when its time is over it is told that there is nothing, and goes on from there', async () => {
  await using server = await startServer({ presence: 'off' });
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const since = await settle(server, { alice, bob, roomId });
  const expected = await ask(server, alice, `timeout=50&since=${since}`, LONG_WAY);
  const before = answeredDirectly(server);
  const answer = await ask(server, alice, `timeout=50&since=${since}`);
  assert.deepEqual(answer, expected);
  assert.equal(answer.body.rooms, undefined);
  assert.equal(answeredDirectly(server), before + 1);
  const sent = await bob.send(roomId, 'later');
  const { body } = await ask(server, alice, `timeout=50&since=${answer.body.next_batch}`);
  assert.equal(body.rooms.join[roomId].timeline.events[0].event_id, sent);
});

test('whoever is signed out while a request waits so is told nothing more; who is looked up anew is', async () => {
  await using server = await startServer({ presence: 'off' });
  const bob = await register(server);
  for (const isSignedOut of [true, false]) {
    const alice = await register(server);
    const roomId = await alice.createRoom();
    await bob.join(roomId);
    const since = await settle(server, { alice, bob, roomId });
    const waiting = ask(server, alice, `timeout=10000&since=${since}`);
    await alice.get('/account/whoami');
    if (isSignedOut) await alice.post('/logout');
    else server.ctx.sessions.forget(alice.userId as UserId);
    await bob.send(roomId, 'for those who are in');
    const { status, body } = await waiting;
    assert.equal(status, isSignedOut ? 401 : 200);
    if (isSignedOut) assert.equal(body.errcode, 'M_UNKNOWN_TOKEN');
    else assert.ok(body.rooms.join[roomId]);
  }
});

test('the same words with another token, another since or more headers are judged anew', async () => {
  await using server = await startServer({ presence: 'off' });
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const since = await settle(server, { alice, bob, roomId });
  const words = (token: string) => `timeout=10000&since=${token}`;
  for (const token of ['s1', 's2_5', 's1_-4', 's1_5_', 's1_5%00', 's1_5&since=s1_6', 's1_1234567890123456']) {
    const { status, body } = await ask(server, alice, words(token));
    assert.equal(status, 400, token);
    assert.equal(body.errcode, 'M_INVALID_PARAM', token);
  }
  const future = await ask(server, alice, words('s1_999999999'));
  assert.ok(future.body.rooms.join[roomId].state, 'as an initial sync');
  const nobody = await ask(server, { accessToken: 'nobody' }, words(since));
  assert.equal(nobody.body.errcode, 'M_UNKNOWN_TOKEN');
  const { authorization } = authorizationOf(alice);
  const twice = await ask(server, alice, words(since), { authorization: [authorization, 'Bearer y'] });
  assert.equal(twice.status, 400);
  assert.equal(twice.body.errcode, 'M_INVALID_PARAM');
  await bob.send(roomId, 'news');
  const { body } = await ask(server, alice, words(since), LONG_WAY);
  assert.ok(body.rooms.join[roomId]);
});

test('of five requests of one device the oldest is answered, once, whichever way they wait', async () => {
  await using server = await startServer({ presence: 'off' });
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  // By the first filter an answer is made from memory, by the other it is not.
  for (const filter of ['{}', JSON.stringify({ room: { timeline: { not_types: ['org.example'] } } })]) {
    const since = await settle(server, { alice, bob, roomId });
    const words = `filter=${encodeURIComponent(filter)}&timeout=30000&since=${since}`;
    const settled: number[] = [];
    const polls = Array.from({ length: 5 }, async (_, index) => {
      const answer = await ask(server, alice, words);
      settled.push(index);
      return answer;
    });
    await Promise.race(polls);
    for (let turn = 0; turn < 5; turn++) await alice.get('/account/whoami');
    assert.equal(settled.length, 1);
    await bob.send(roomId, 'for all');
    const answers = await Promise.all(polls);
    assert.equal(answers.filter(({ body }) => body.rooms?.join[roomId] !== undefined).length, 4);
  }
});

test('all that wait so are answered when the server stops, and who has gone is left alone', async () => {
  await using server = await startServer({ presence: 'off' });
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const since = await settle(server, { alice, bob, roomId });
  const gone = http.get(urlOf(server, `timeout=30000&since=${since}`), { headers: authorizationOf(alice) });
  gone.on('error', () => undefined);
  await alice.get('/account/whoami');
  const closed = new Promise((resolve) => gone.once('close', resolve));
  gone.destroy();
  await closed;
  // There is an open connection again, on which it goes out before what comes next.
  const again = await settle(server, { alice, bob, roomId });
  const waiting = ask(server, alice, `timeout=30000&since=${again}`);
  await alice.get('/account/whoami');
  await server.stop();
  const { status, body } = await waiting;
  assert.equal(status, 200);
  assert.equal(typeof body.next_batch, 'string');
});

test('each answer is in the log of requests, by its route', async () => {
  const lines: Body[] = [];
  await using server = await startServer({
    ...{ presence: 'off', logLevel: 'debug', logTo: (line) => lines.push(JSON.parse(line)) },
  });
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const since = await settle(server, { alice, bob, roomId });
  lines.length = 0;
  await ask(server, alice, `timeout=10&since=${since}`, LONG_WAY);
  const before = answeredDirectly(server);
  await ask(server, alice, `timeout=10&since=${since}`);
  assert.equal(answeredDirectly(server), before + 1);
  const [long, direct, ...others] = lines
    .filter(({ msg }) => msg === 'request')
    .map(({ time: _, requestId, ms, ...fields }) => ({ ...fields, has: [typeof requestId, typeof ms] }));
  assert.deepEqual(direct, long);
  assert.deepEqual(others, []);
});

/** Syncs, so that what is in memory is there and the words of the next request are known; answers the token. */
test('a connection that ends with the answer is told so, and two requests on one are answered in their order', async () => {
  await using server = await startServer({ presence: 'off' });
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const since = await settle(server, { alice, bob, roomId });
  await bob.send(roomId, 'news');
  const words = `timeout=10000&since=${since}`;
  const close = { connection: 'close' };
  const expected = await ask(server, alice, words, { ...LONG_WAY, ...close });
  const before = answeredDirectly(server);
  assert.deepEqual(await ask(server, alice, words, close), expected);
  assert.equal(answeredDirectly(server), before + 1);

  const { pathname, search, host, hostname, port } = new URL(urlOf(server, words));
  const { authorization } = authorizationOf(alice);
  const head = (more: string) =>
    `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${authorization}\r\n${more}\r\n`;
  const socket = net.connect(Number(port), hostname);
  socket.write(head('') + head('Connection: close\r\n'));
  let text = '';
  for await (const chunk of socket.setEncoding('utf8')) text += chunk;
  assert.equal(answeredDirectly(server), before + 3);
  const [nothing, ...answers] = text.split('HTTP/1.1 200 OK\r\n');
  assert.equal(nothing, '');
  assert.deepEqual(
    answers.map((answer) => /^connection: (.*)\r$/im.exec(answer)?.[1]),
    ['keep-alive', 'close'],
  );
  for (const answer of answers) {
    const body = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
    assert.ok(body.rooms.join[roomId]);
  }
});

async function settle(server: TestServer, { alice, bob, roomId }: World): Promise<string> {
  let { next_batch: since } = await alice.sync();
  for (let time = 0; time < 2; time++) {
    await bob.send(roomId, 'to settle');
    ({
      body: { next_batch: since },
    } = await ask(server, alice, `timeout=10000&since=${since}`));
  }
  return since;
}

function answeredDirectly(server: TestServer): number {
  return syncContextOf(server.ctx).answered.direct;
}

function urlOf(server: TestServer, query: string): string {
  return `${server.clientUrl}/_matrix/client/v3/sync?${query}`;
}

function authorizationOf({ accessToken }: Pick<TestClient, 'accessToken'>): { authorization: string } {
  return { authorization: `Bearer ${accessToken}` };
}

async function ask(
  server: TestServer,
  client: Pick<TestClient, 'accessToken'>,
  query: string,
  more: Readonly<Record<string, string | string[]>> = {},
): Promise<RawAnswer> {
  const outgoing = http.get(urlOf(server, query), { headers: { ...authorizationOf(client), ...more } });
  const [incoming] = (await once(outgoing, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of incoming.setEncoding('utf8')) text += chunk;
  const headers = incoming.rawHeaders.map((value, index, all) =>
    /^(date|x-request-id|content-length)$/i.test(all[index - 1] ?? '') ? '*' : value,
  );
  assert.equal(incoming.headers['content-length'], `${Buffer.byteLength(text)}`);
  const body = JSON.parse(text, (key, value) => (key === 'age' ? 0 : value));
  return { status: incoming.statusCode, headers, body };
}

/** Requests that wait again in the words of the last time are answered without the framework, and as with it. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { test } from 'node:test';
import { syncContextOf } from '#server/sync/context.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { DEEDS, worldOn } from '#test/server/sync/quick-deeds.ts';
import { PATHS } from './face.ts';

interface RawAnswer {
  readonly status: number | undefined;
  /** In their order, without those that differ each time. */
  readonly headers: readonly string[];
  readonly body: Body;
}

const ASKED = {
  lists: { all: { ranges: [[0, 19]], timeline_limit: 20, required_state: [['m.room.topic', '']] } },
  extensions: { account_data: { enabled: true }, receipts: { enabled: true }, typing: { enabled: true } },
};
const LONG = 10_000;

test('what is answered without the framework is what is answered with it, headers and all', async () => {
  await using server = await startServer({ presence: 'off' });
  const world = await worldOn(server);
  const { alice } = world;
  for (const [name, deed] of Object.entries(DEEDS)) {
    const pos = await settle(server, world);
    const waiting = ask(server, alice, `timeout=${LONG}&pos=${pos}`);
    await alice.get('/account/whoami');
    await deed(world);
    await waiting;
    // Of other words than the last time, and then of the same ones.
    const expected = await ask(server, alice, `timeout=${LONG + 1}&pos=${pos}`);
    for (let time = 0; time < 2; time++)
      assert.deepEqual(await ask(server, alice, `timeout=${LONG + 1}&pos=${pos}`), expected, name);
  }
});

test('a message is told without the framework to who waits so', async () => {
  await using server = await startServer({ presence: 'off' });
  const world = await worldOn(server);
  const { alice, bob, roomId } = world;
  const pos = await settle(server, world);
  const before = answeredDirectly(server);
  const waiting = ask(server, alice, `timeout=${LONG}&pos=${pos}`);
  await alice.get('/account/whoami');
  await bob.send(roomId, 'hello');
  assert.deepEqual(Object.keys((await waiting).body.rooms), [roomId]);
  assert.equal(answeredDirectly(server), before + 1);
});

test('when its time is over it is told that there is nothing, and goes on from there', async () => {
  await using server = await startServer({ presence: 'off' });
  const world = await worldOn(server);
  const { alice, bob, roomId } = world;
  await ask(server, alice, `timeout=50&pos=${await settle(server, world)}`);
  const { body } = await ask(server, alice, `timeout=50&pos=${await settle(server, world)}`);
  assert.deepEqual(body.rooms, {});
  await bob.send(roomId, 'later');
  const later = await ask(server, alice, `timeout=50&pos=${body.pos}`);
  assert.equal(later.body.rooms[roomId].timeline.at(-1).content.body, 'later');
});

test('the same words with another token, pos or body are judged anew', async () => {
  await using server = await startServer({ presence: 'off' });
  const world = await worldOn(server);
  const { alice, bob, roomId } = world;
  const pos = await settle(server, world);
  const words = `timeout=${LONG}&pos=`;
  for (const wrong of ['s1_1', 's1_1.abc.1', `${pos}0`, `${pos}0&pos=${pos}`, '%00'])
    assert.equal((await ask(server, alice, words + wrong)).body.errcode, 'M_UNKNOWN_POS', wrong);
  const nobody = await ask(server, { accessToken: 'nobody' }, words + pos);
  assert.equal(nobody.body.errcode, 'M_UNKNOWN_TOKEN');
  for (const [sent, errcode] of [
    ['{', 'M_NOT_JSON'],
    ['[]', 'M_BAD_JSON'],
    ['{"lists":[]}', 'M_BAD_JSON'],
    ['{"timeout":-1}', 'M_INVALID_PARAM'],
  ] as const)
    assert.equal((await ask(server, alice, words + pos, { sent })).body.errcode, errcode, sent);
  const authorization = [`Bearer ${alice.accessToken}`, 'Bearer y'];
  const twice = await ask(server, alice, words + pos, { headers: { authorization } });
  assert.equal(twice.body.errcode, 'M_INVALID_PARAM');
  const types = { 'content-type': ['application/json', 'text/plain'] };
  assert.equal((await ask(server, alice, words + pos, { headers: types })).body.errcode, 'M_INVALID_PARAM');
  // Nothing is lost by all that; another body that is good tells what it asks for at once.
  await bob.send(roomId, 'news');
  const sent = JSON.stringify({ ...ASKED, lists: { all: { ...ASKED.lists.all, timeline_limit: 50 } } });
  for (const body of [sent, JSON.stringify(ASKED)]) {
    const answer = await ask(server, alice, words + pos, { sent: body });
    assert.equal(answer.body.rooms[roomId].timeline.at(-1).content.body, 'news');
  }
});

test('a body that comes in pieces is read whole; who goes in the middle of it is left alone', async () => {
  await using server = await startServer({ presence: 'off' });
  const world = await worldOn(server);
  const { alice, bob, roomId } = world;
  const pos = await settle(server, world);
  const text = JSON.stringify(ASKED);
  const begin = () => {
    const request = http.request(urlOf(server, `timeout=${LONG}&pos=${pos}`), {
      method: 'POST',
      headers: { ...authorizationOf(alice), 'content-length': Buffer.byteLength(text) },
    });
    request.on('error', () => undefined);
    request.write(text.slice(0, 10));
    return request;
  };
  const gone = begin();
  const whole = begin();
  await alice.get('/account/whoami');
  gone.destroy();
  whole.end(text.slice(10));
  const answered = answerTo(whole);
  await alice.get('/account/whoami');
  await bob.send(roomId, 'hello');
  assert.deepEqual(Object.keys((await answered).body.rooms), [roomId]);
});

test('who is signed out while a request waits so is told nothing more; all are answered when the server stops', async () => {
  await using server = await startServer({ presence: 'off' });
  const world = await worldOn(server);
  const { alice, bob, carol, roomId } = world;
  const waiting = ask(server, alice, `timeout=${LONG}&pos=${await settle(server, world)}`);
  await alice.get('/account/whoami');
  await alice.post('/logout');
  await bob.send(roomId, 'for those who are in');
  assert.equal((await waiting).body.errcode, 'M_UNKNOWN_TOKEN');
  const pos = await settle(server, { ...world, alice: carol });
  const last = ask(server, carol, `timeout=60000&pos=${pos}`);
  await bob.get('/account/whoami');
  await server.stop();
  const { status, body } = await last;
  assert.equal(status, 200);
  assert.equal(typeof body.pos, 'string');
});

test('who does not wait goes the long way', async () => {
  await using server = await startServer({ presence: 'off' });
  const before = answeredDirectly(server);
  const alice = await register(server);
  const first = await ask(server, alice, 'timeout=0');
  await ask(server, alice, `timeout=0&pos=${first.body.pos}`);
  await ask(server, alice, `timeout=0&pos=${first.body.pos}`);
  assert.equal(answeredDirectly(server), before);
});

/** Asks until what is in memory is there and the words of the next request are known; answers the `pos`. */
async function settle(
  server: TestServer,
  world: Pick<Awaited<ReturnType<typeof worldOn>>, 'alice' | 'bob' | 'roomId'>,
) {
  const { alice, bob, roomId } = world;
  let { body } = await ask(server, alice, 'timeout=0');
  for (let time = 0; time < 2; time++) {
    ({ body } = await ask(server, alice, `timeout=0&pos=${body.pos}`));
    await bob.send(roomId, 'to settle');
    ({ body } = await ask(server, alice, `timeout=${LONG}&pos=${body.pos}`));
  }
  return body.pos;
}

function answeredDirectly(server: TestServer): number {
  return syncContextOf(server.ctx).answered.direct;
}

function urlOf(server: TestServer, query: string): string {
  return `${server.clientUrl}${PATHS.experimental}?${query}`;
}

function authorizationOf({ accessToken }: Pick<TestClient, 'accessToken'>): { authorization: string } {
  return { authorization: `Bearer ${accessToken}` };
}

function ask(
  server: TestServer,
  client: Pick<TestClient, 'accessToken'>,
  query: string,
  {
    sent = JSON.stringify(ASKED),
    headers = {},
  }: { sent?: string; headers?: Readonly<Record<string, string | string[]>> } = {},
): Promise<RawAnswer> {
  const outgoing = http.request(urlOf(server, query), {
    method: 'POST',
    headers: { ...authorizationOf(client), ...headers },
  });
  outgoing.end(sent);
  return answerTo(outgoing);
}

async function answerTo(outgoing: http.ClientRequest): Promise<RawAnswer> {
  const [incoming] = (await once(outgoing, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of incoming.setEncoding('utf8')) text += chunk;
  const headers = incoming.rawHeaders.map((value, index, all) =>
    /^(date|x-request-id|content-length)$/i.test(all[index - 1] ?? '') ? '*' : value,
  );
  const body = JSON.parse(text, (key, value) => (key === 'age' ? 0 : value));
  return { status: incoming.statusCode, headers, body };
}

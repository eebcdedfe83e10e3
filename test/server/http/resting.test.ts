/** A connection whose request waits for long is let go by Node's HTTP, and nobody who is on it can tell. */

import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { createApp } from '#server/http/create-app.ts';
import { type Answerable, type DirectRequest, waitedMs } from '#server/http/direct-routes.ts';
import { drain, listen } from '#server/http/listener.ts';
import { createLog } from '#server/log.ts';
import { RawConnection } from '#test/harness/hostile-server.ts';
import { until } from '#test/harness/until.ts';

const WAIT = '/wait';
const POLL = `GET ${WAIT}?n=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n`;
const OTHER = 'POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"a":"b"}';

/** One request that waits. */
interface Poll {
  readonly request: IncomingMessage;
  by: Answerable;
  isResting: boolean;
  isGone: boolean;
}

interface World extends AsyncDisposable {
  readonly app: FastifyInstance;
  readonly url: string;
  readonly polls: Poll[];
  /** What the long way was asked for, and how long it had waited. */
  readonly long: { readonly request: IncomingMessage; readonly waited: number }[];
}

async function start(): Promise<World> {
  const app = createApp({ log: createLog('silent'), cors: true, bodyLimit: 1_000, restAfterMs: 0 });
  const polls: Poll[] = [];
  const long: World['long'] = [];
  app.directRoutes.add(WAIT, (direct) => {
    polls.push(pollOf(direct));
    return true;
  });
  app.get(WAIT, ({ raw }) => {
    long.push({ request: raw, waited: waitedMs(raw) });
    return { way: 'long' };
  });
  app.post('/other', ({ body }) => ({ got: body }));
  await listen(app, { host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return {
    ...{ app, url: `http://127.0.0.1:${port}`, polls, long },
    [Symbol.asyncDispose]: () => drain(app),
  };
}

function pollOf(direct: DirectRequest): Poll {
  const poll: Poll = { request: direct.request, by: direct, isResting: false, isGone: false };
  direct.wait({
    gone: () => {
      poll.isGone = true;
    },
    rest: (by) => {
      poll.by = by;
      poll.isResting = true;
    },
  });
  return poll;
}

/** Sends a request and waits until its connection rests. */
async function rest({ polls }: World, connection: RawConnection): Promise<Poll> {
  const before = polls.length;
  connection.write(POLL);
  await until(() => polls[before]?.isResting === true, 'the connection to rest');
  return polls[before] as Poll;
}

/** What has come, without what differs each time; forgotten then. */
function taken(connection: RawConnection): string {
  const text = connection.received.replaceAll(/^(x-request-id|date): .*$/gim, '$1: *');
  connection.received = '';
  return text;
}

async function answersOf(connection: RawConnection, count: number): Promise<string> {
  await until(() => connection.received.split('HTTP/1.1 ').length > count, `${count} answers`);
  return taken(connection);
}

test('what comes from a connection that rests is what comes from one that does not, and the next request is served', async () => {
  await using world = await start();
  using awake = await RawConnection.tcp(world.url);
  awake.write(POLL);
  await until(() => world.polls.length === 1, 'the request');
  world.polls[0]?.by.answer('{"text":"Grüße"}');
  const expected = await answersOf(awake, 1);
  using connection = await RawConnection.tcp(world.url);
  for (let time = 0; time < 3; time++) {
    const poll = await rest(world, connection);
    poll.by.answer('{"text":"Grüße"}');
    assert.equal(await answersOf(connection, 1), expected);
    connection.write(OTHER);
    assert.match(await answersOf(connection, 1), /\{"got":\{"a":"b"\}\}$/);
    assert.equal(poll.isGone, false);
  }
});

test('what is sent while a connection rests is answered after it, and the request goes the long way', async () => {
  await using world = await start();
  using connection = await RawConnection.tcp(world.url);
  const poll = await rest(world, connection);
  // In pieces, too.
  connection.write(OTHER.slice(0, 30));
  await until(() => poll.isGone, 'the request to be given up');
  connection.write(OTHER.slice(30));
  const [, first, second] = (await answersOf(connection, 2)).split('HTTP/1.1 200 OK');
  assert.match(first ?? '', /\{"way":"long"\}$/);
  assert.match(second ?? '', /\{"got":\{"a":"b"\}\}$/);
  assert.equal(world.long.length, 1);
});

test('a request that is handed over comes to the long way as it came, and has waited', async () => {
  await using world = await start();
  using connection = await RawConnection.tcp(world.url);
  for (const isOver of [false, true]) {
    const poll = await rest(world, connection);
    poll.by.handOver({ isOver });
    assert.match(await answersOf(connection, 1), /\{"way":"long"\}$/);
    const { request, waited } = world.long.pop() ?? {};
    assert.deepEqual(
      [request?.method, request?.url, request?.rawHeaders],
      ['GET', `${WAIT}?n=1`, poll.request.rawHeaders],
    );
    assert.equal(waited === Number.POSITIVE_INFINITY, isOver);
    assert.ok((waited ?? 0) > 0);
  }
});

test('who leaves while the connection rests is gone, whether with a word or without', async () => {
  await using world = await start();
  for (const leave of ['end', 'destroy', 'resetAndDestroy'] as const) {
    using connection = await RawConnection.tcp(world.url);
    const poll = await rest(world, connection);
    connection.socket[leave]();
    await until(() => poll.isGone, 'the request to be given up');
    await connection.closed;
  }
  assert.equal(await connectionsOf(world), 0);
});

test('a connection does not rest on which more has come than its request, or where the client wants no other', async () => {
  await using world = await start();
  const ways = [
    POLL + OTHER.slice(0, 30),
    POLL + OTHER,
    POLL + POLL,
    POLL.replace('Host: x', 'Host: x\r\nConnection: close'),
    POLL.replace('Host: x', 'Host: x\r\nExpect: 100-continue'),
    POLL.replace('HTTP/1.1', 'HTTP/1.0'),
  ];
  const connections: RawConnection[] = [];
  for (const text of ways) {
    const connection = await RawConnection.tcp(world.url);
    connections.push(connection);
    connection.write(text);
  }
  await until(() => world.polls.length === ways.length + 1, 'all requests');
  // Those that came first are looked at first.
  using last = await RawConnection.tcp(world.url);
  const poll = await rest(world, last);
  assert.deepEqual(
    world.polls.filter(({ isResting }) => isResting),
    [poll],
  );
  for (const { by } of world.polls) by.answer('{"way":"direct"}');
  connections[0]?.write(OTHER.slice(30));
  for (const connection of connections)
    await until(() => connection.received.includes('{"way":"direct"}'), 'an answer');
  await until(() => connections[0]?.received.endsWith('{"got":{"a":"b"}}') === true, 'the next answer');
  for (const connection of connections) connection[Symbol.dispose]();
});

test('who asks for another protocol is answered in this one, also while others rest', async () => {
  await using world = await start();
  using connection = await RawConnection.tcp(world.url);
  const poll = await rest(world, connection);
  using other = await RawConnection.tcp(world.url);
  other.write(OTHER.replace('Host: x', 'Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket'));
  assert.match(await answersOf(other, 1), /\{"got":\{"a":"b"\}\}$/);
  assert.equal(poll.isGone, false);
});

test('when the server stops, who rests is answered and then ended, and who is answered is ended at once', async () => {
  const world = await start();
  using idle = await RawConnection.tcp(world.url);
  (await rest(world, idle)).by.answer('{}');
  await answersOf(idle, 1);
  using waiting = await RawConnection.tcp(world.url);
  const poll = await rest(world, waiting);
  const stopped = world[Symbol.asyncDispose]();
  await idle.closed;
  poll.by.answer('{"way":"direct"}');
  await waiting.closed;
  assert.match(waiting.received, /\{"way":"direct"\}$/);
  await stopped;
});

test('when the server stops, who rests and is not answered in time is cut off', async () => {
  const world = await start();
  using connection = await RawConnection.tcp(world.url);
  const poll = await rest(world, connection);
  await world[Symbol.asyncDispose]();
  await until(() => poll.isGone, 'the request to be given up');
});

function connectionsOf({ app }: World): Promise<number> {
  return new Promise((resolve, reject) => {
    app.server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RoomId, UserId } from '#keys/ids.ts';
import { createLog } from '#server/log.ts';
import { DelayedEvents } from '#server/sending/delayed-events.ts';
import * as delayedEvents from '#storage/delayed-events.ts';
import { type Body, login, register, request, type TestClient } from '#test/harness/client.ts';
import { temporarySqlite } from '#test/harness/databases.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const MSC4140 = '/_matrix/client/unstable/org.matrix.msc4140';
const HOUR_MS = 3_600_000;
const inRoom = (roomId: string, rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;
const later = (ms: number | string) => `org.matrix.msc4140.delay=${ms}`;
const one = (delayId: string) => `${MSC4140}/delayed_events/${delayId}`;

/** Who restarts and sends needs no token. */
function act(server: TestServer, delayId: string, action: string) {
  return request(server, 'POST', `${one(delayId)}/${action}`, { body: {} });
}

async function waiting(client: TestClient): Promise<Body[]> {
  return (await client.get(`${MSC4140}/delayed_events`)).delayed_events;
}

async function stateOf(client: TestClient, roomId: string, stateKey: string): Promise<Body> {
  return (await client.try('GET', inRoom(roomId, `state/test.later/${stateKey}`))).body;
}

test('delayed messages are sent when their time has come, in that order, and their sender alone is told the delay id', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using server = await startServer({ clock });
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const since = (await alice.sync()).next_batch;
  const ids: string[] = [];
  for (const [index, delay] of [3 * HOUR_MS, 2 * HOUR_MS, HOUR_MS].entries()) {
    const path = inRoom(roomId, `send/test.later/t${index}?${later(delay)}`);
    const { delay_id: delayId } = await alice.put(path, { delay });
    assert.match(delayId, /^[\w-]{32}$/);
    ids.push(delayId);
    const again = await request(server, 'PUT', `/_matrix/client/v3${path}`, { token: alice.accessToken });
    assert.deepEqual(again.body, { delay_id: delayId }, 'the same request, without its body');
  }
  await server.stop();
  clock.time += 4 * HOUR_MS;
  await server.start();
  await until(async () => (await waiting(alice)).length === 0);
  const { events } = (await alice.sync({ since })).rooms.join[roomId].timeline;
  assert.deepEqual(
    events.map((event: Body) => [event.content.delay, event.unsigned['org.matrix.msc4140.delay_id']]),
    [
      [HOUR_MS, ids[2]],
      [2 * HOUR_MS, ids[1]],
      [3 * HOUR_MS, ids[0]],
    ],
  );
  assert.ok(events.every((event: Body) => event.unsigned.transaction_id === undefined));
  const seen = await bob.get(inRoom(roomId, 'messages?dir=b&limit=3'));
  assert.ok(seen.chunk.every((event: Body) => event.unsigned['org.matrix.msc4140.delay_id'] === undefined));
  const event = await alice.get(one(ids[0] ?? ''));
  assert.equal(event.finalised.event_id, events[2].event_id);
});

test('delayed state waits until it is sent, cancelled or its time has come; each may be asked for again', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const schedule = async (key: string, delay: number) =>
    (await alice.put(inRoom(roomId, `state/test.later/${key}?${later(delay)}`), { key })).delay_id;
  const [sent, cancelled, restarted] = [
    await schedule('sent', HOUR_MS),
    await schedule('cancelled', HOUR_MS),
    await schedule('restarted', 2 * HOUR_MS),
  ];
  const listed = await waiting(alice);
  assert.deepEqual(listed.map((event) => event.delay_id).sort(), [sent, cancelled, restarted].sort());
  assert.equal(listed[2].delay_id, restarted, 'the soonest first');
  const { running_since: runningSince, delayed_since_ts: sinceTs, ...shown } = listed[2];
  assert.deepEqual(shown, {
    ...{ delay_id: restarted, room_id: roomId, type: 'test.later', state_key: 'restarted' },
    ...{ content: { key: 'restarted' }, delay: 2 * HOUR_MS, delay_ms: 2 * HOUR_MS },
  });
  assert.equal(runningSince, sinceTs);
  assert.equal((await stateOf(alice, roomId, 'sent')).errcode, 'M_NOT_FOUND');

  const outcomes: [string, string, number][] = [
    [sent, 'send', 200],
    [sent, 'send', 200],
    [sent, 'cancel', 409],
    [sent, 'restart', 409],
    [cancelled, 'cancel', 200],
    [cancelled, 'cancel', 200],
    [cancelled, 'send', 409],
    [restarted, 'restart', 200],
    ['absent', 'send', 404],
    ['absent', 'cancel', 404],
    ['absent', 'restart', 404],
    [restarted, 'oops', 404],
  ];
  for (const [delayId, action, status] of outcomes) {
    assert.equal((await act(server, delayId, action)).status, status, `${delayId} ${action}`);
  }
  assert.deepEqual(await stateOf(alice, roomId, 'sent'), { key: 'sent' });
  assert.equal((await stateOf(alice, roomId, 'cancelled')).errcode, 'M_NOT_FOUND');
  assert.deepEqual(
    (await waiting(alice)).map((event) => event.delay_id),
    [restarted],
  );
  const finalised = (await alice.get(one(cancelled))).finalised;
  assert.deepEqual(Object.keys(finalised), ['finalised_ts']);
  const bare = await request(server, 'POST', one(restarted), { body: { action: 'send' } });
  assert.deepEqual([bare.status, bare.body], [200, {}]);
  for (const body of [{}, { action: 'oops' }, { action: 1 }])
    assert.equal((await request(server, 'POST', one(restarted), { body })).status, 400);
});

test('delayed events are shown to their user alone', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  const path = inRoom(roomId, `state/test.later?${later(HOUR_MS)}`);
  const { delay_id: delayId } = await alice.put(path, {});
  assert.deepEqual(await waiting(bob), []);
  const [others, absent] = [await bob.try('GET', one(delayId)), await bob.try('GET', one('absent'))];
  assert.deepEqual([others.status, others.body], [404, absent.body]);
  assert.equal((await request(server, 'GET', `${MSC4140}/delayed_events`)).status, 401);
  const other = await login(server, alice.userId, alice.password);
  assert.equal((await waiting(other)).length, 1);
});

test('a delayed event is judged when it is sent: on request the error is told and it waits on, at its time it is kept', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const { delay_id: asked } = await bob.put(inRoom(roomId, `state/test.later?${later(HOUR_MS)}`), {});
  const refused = await act(server, asked, 'send');
  assert.deepEqual([refused.status, refused.body.errcode], [403, 'M_FORBIDDEN']);
  assert.equal((await waiting(bob)).length, 1);
  const { delay_id: timed } = await bob.put(inRoom(roomId, `state/test.later/x?${later(1)}`), {});
  await until(async () => (await waiting(bob)).length === 1);
  const { finalised } = await bob.get(one(timed));
  assert.equal(finalised.error.errcode, 'M_FORBIDDEN');
  assert.equal((await act(server, timed, 'cancel')).status, 200);
  assert.equal((await act(server, timed, 'send')).status, 409);
});

test('delayed memberships and redactions do what they say', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  for (const version of ['10', '12']) {
    const roomId = await alice.createRoom({ room_version: version });
    const eventId = await alice.send(roomId, 'for a while');
    const put = async (rest: string, content: object) =>
      (await alice.put(inRoom(roomId, `${rest}?${later(HOUR_MS)}`), content)).delay_id;
    const ids = [
      await put('send/m.room.redaction/t1', { redacts: eventId }),
      await put(`state/m.room.member/${encodeURIComponent(bob.userId)}`, { membership: 'invite' }),
    ];
    for (const delayId of ids) assert.equal((await act(server, delayId, 'send')).status, 200);
    assert.deepEqual((await alice.get(inRoom(roomId, `event/${encodeURIComponent(eventId)}`))).content, {});
    const { invite } = (await bob.sync()).rooms;
    assert.ok(invite[roomId] !== undefined, version);
  }
});

test('a delayed event survives a restart, and is sent after it where its time came in between', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using server = await startServer({ clock });
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const schedule = (key: string, delay: number) =>
    alice.put(inRoom(roomId, `state/test.later/${key}?${later(delay)}`), { key });
  await schedule('soon', HOUR_MS);
  await schedule('late', 3 * HOUR_MS);
  await server.stop();
  clock.time += 2 * HOUR_MS;
  await server.start();
  await until(async () => (await waiting(alice)).length === 1);
  assert.deepEqual(await stateOf(alice, roomId, 'soon'), { key: 'soon' });
  assert.equal((await stateOf(alice, roomId, 'late')).errcode, 'M_NOT_FOUND');
});

test('a server that dies before it notes that a delayed event was sent sends it once', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const path = inRoom(roomId, `send/test.later/t1?${later(HOUR_MS)}`);
  const { delay_id: delayId } = await alice.put(path, {});
  const event = await delayedEvents.of(server.ctx.db, delayId);
  await act(server, delayId, 'send');
  // As the database is where the process ends between the two writes.
  const text = `UPDATE delayed_events SET finalised_ts = NULL, event_id = NULL WHERE delay_id = '${delayId}'`;
  await server.ctx.db.write('test.forget', (tx) => tx.run({ name: '', text }));
  await act(server, delayId, 'send');
  const { chunk } = await alice.get(inRoom(roomId, 'messages?dir=b&limit=20'));
  assert.equal(chunk.filter((one: Body) => one.type === 'test.later').length, 1);
  assert.equal(event?.finalised, undefined);
});

test('delayed events of a deactivated account are not sent', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using server = await startServer({ clock });
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const { delay_id: delayId } = await bob.put(inRoom(roomId, `send/test.later/t?${later(HOUR_MS)}`), {});
  const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: bob.userId } };
  await bob.post('/account/deactivate', { auth: { ...auth, password: bob.password } });
  assert.equal((await act(server, delayId, 'send')).status, 403);
});

test('what cannot be kept as a delayed event is refused with its error', async () => {
  await using server = await startServer({ maxEventDelay: HOUR_MS });
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  const put = (who: TestClient, rest: string, content: unknown = {}) =>
    who.try('PUT', inRoom(roomId, rest), content);
  const long = await put(alice, `send/test.later/t1?${later(HOUR_MS + 1)}`);
  assert.deepEqual([long.status, long.body.errcode], [400, 'M_INVALID_PARAM']);
  assert.equal(long.body['org.matrix.msc4140.errcode'], 'M_MAX_DELAY_EXCEEDED');
  assert.equal(long.body['org.matrix.msc4140.max_delay'], HOUR_MS);
  for (const delay of ['0', '-1', 'x', '1.5', ''])
    assert.equal((await put(alice, `send/test.later/t2?${later(delay)}`)).body.errcode, 'M_INVALID_PARAM');
  const parent = await put(alice, 'send/test.later/t3?org.matrix.msc4140.parent_delay_id=x');
  assert.equal(parent.body.errcode, 'M_INVALID_PARAM');
  const large = await put(alice, `send/test.later/t4?${later(5)}`, { body: 'x'.repeat(66_000) });
  assert.deepEqual([large.status, large.body.errcode], [413, 'M_TOO_LARGE']);
  assert.equal((await put(alice, `state/test.later?${later(5)}`, { half: 0.5 })).body.errcode, 'M_BAD_JSON');
  assert.equal((await put(alice, `state/${'t'.repeat(256)}?${later(5)}`)).body.errcode, 'M_BAD_JSON');
  assert.equal((await put(bob, `state/test.later?${later(5)}`)).status, 403);
  const endpoint = `${MSC4140}/rooms/${encodeURIComponent(roomId)}/delayed_event/test.later/t5`;
  const bodies = [
    {},
    { delay_ms: 5 },
    { content: {} },
    { delay_ms: '5', content: {} },
    { delay_ms: 5, content: 1 },
  ];
  for (const body of bodies) assert.equal((await alice.try('PUT', endpoint, body)).status, 400);
  const body = { delay_ms: HOUR_MS, content: { a: 1 }, state_key: 'k' };
  const { delay_id: delayId } = await alice.put(endpoint, body);
  assert.deepEqual(await alice.put(endpoint, body), { delay_id: delayId });
  assert.equal((await waiting(alice))[0].state_key, 'k');
  const { capabilities } = await alice.get('/capabilities');
  assert.deepEqual(capabilities['org.matrix.msc4140.delayed_events'], {
    ...{ max_delay_ms: HOUR_MS, max_scheduled: 100 },
  });
});

test('row 178: a user has a hundred delayed events at most; with max_event_delay off there are none', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const put = (key: number) =>
    alice.try('PUT', inRoom(roomId, `state/test.later/${key}?${later(HOUR_MS)}`), {});
  for (let key = 0; key < 100; key++) assert.equal((await put(key)).status, 200);
  const over = await put(100);
  assert.deepEqual([over.status, over.body.errcode], [429, 'M_LIMIT_EXCEEDED']);
  assert.ok(Number(over.headers.get('retry-after')) > 3_000);
  await server.restart({ maxEventDelay: 0 });
  assert.deepEqual([(await put(101)).status], [403]);
  const { capabilities } = await alice.get('/capabilities');
  assert.equal(capabilities['org.matrix.msc4140.delayed_events'], undefined);
});

test('where calls of many meet is told to who is signed in, and by /.well-known', async () => {
  const url = 'https://rtc.example.org';
  await using server = await startServer({
    livekitServiceUrl: [url],
    publicBaseurl: 'https://m.example.org',
  });
  const alice = await register(server);
  const transports = [{ type: 'livekit', livekit_service_url: url }];
  for (const path of ['v1', 'unstable/org.matrix.msc4143']) {
    const full = `/_matrix/client/${path}/rtc/transports`;
    assert.deepEqual(await alice.get(full), { rtc_transports: transports });
    assert.equal((await request(server, 'GET', full)).status, 401);
  }
  const { body } = await request(server, 'GET', '/.well-known/matrix/client');
  assert.deepEqual(body['org.matrix.msc4143.rtc_foci'], transports);
  await server.restart({ livekitServiceUrl: [] });
  assert.deepEqual(await alice.get('/_matrix/client/v1/rtc/transports'), { rtc_transports: [] });
});

test('a user with more delayed events than may be sent at once has all of them sent after the server was away', async () => {
  const clock = { ahead: 0, now: () => Date.now() + clock.ahead };
  await using server = await startServer({ clock, rateLimits: true });
  const alice = await register(server);
  const roomId = await alice.createRoom();
  // A few more than the limit of messages lets through at once.
  const most = 25;
  for (let number = 0; number < most; number++) await scheduled(server, alice, roomId, number);
  await server.stop();
  clock.ahead = 2 * HOUR_MS;
  await server.start();
  const { ctx } = server;
  const ofAlice = () => delayedEvents.scheduled(ctx.db, alice.userId as UserId);
  await until(async () => (await ofAlice()).length === 0, 'that none waits');
  const { chunk } = await alice.get(inRoom(roomId, 'messages?dir=b&limit=100'));
  assert.equal(chunk.filter(({ type }: Body) => type === 'test.later').length, most);
});

test('where sending fails by a fault of the server it is tried again, not at once, and the others are sent', async () => {
  await using database = await temporarySqlite();
  const { db } = database;
  const tried: unknown[] = [];
  const started = (ahead: number, send: (number: unknown) => void) => {
    const clock = { now: () => Date.now() + ahead };
    const events = new DelayedEvents({ db, clock, log: createLog('silent') });
    events.start(async ({ content }) => {
      tried.push(content.number);
      send(content.number);
      return '$event';
    });
    return events;
  };
  {
    await using events = started(0, (number) => {
      if (number === 1) throw new Error('the disk is full');
    });
    for (const number of [1, 2, 3]) {
      await events.schedule({
        ...{ userId: '@alice:test', roomId: '!room:test', type: 'test.later', stateKey: undefined },
        ...{ txn: undefined, content: { number }, delayMs: 1 },
      });
    }
    await until(() => tried.includes(3), 'that the last one is sent');
    await sleep(50);
    assert.deepEqual(tried, [1, 2, 3]);
  }
  await using _ = started(HOUR_MS, () => undefined);
  await until(() => tried.length > 3, 'that the first one is sent');
  assert.deepEqual(tried, [1, 2, 3, 1]);
});

/** Has an event sent in an hour, however many were asked for before. */
async function scheduled(
  { ctx }: TestServer,
  { userId }: TestClient,
  roomId: string,
  number: number,
): Promise<void> {
  await ctx.delayedEvents.schedule({
    ...{ userId: userId as UserId, roomId: roomId as RoomId, type: 'test.later', stateKey: undefined },
    ...{ txn: undefined, content: { number }, delayMs: HOUR_MS },
  });
}

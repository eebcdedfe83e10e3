/** https://spec.matrix.org/v1.19/client-server-api/#presence */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import * as presence from '#storage/presence.ts';
import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

let now = 1_700_000_000_000;
const clock = { now: () => now };
const server = await startServer({ clock });
after(() => server[Symbol.asyncDispose]());

const pathOf = (userId: string) => `/presence/${encodeURIComponent(userId)}/status`;

function set(user: TestClient, presenceState: string, status?: string | null): Promise<Body> {
  return user.put(pathOf(user.userId), {
    presence: presenceState,
    ...(status !== undefined && { status_msg: status }),
  });
}

function of(viewer: TestClient, user: TestClient): Promise<Body> {
  return viewer.get(pathOf(user.userId));
}

/** What an answer of /sync says of a user; undefined where it says nothing. */
function told({ presence }: Body, user: TestClient): Body {
  return presence?.events.find((event: Body) => event.sender === user.userId)?.content;
}

function untilTold(viewer: TestClient, since: string, user: TestClient, state: string): Promise<Body> {
  return viewer.syncUntil((answer) => told(answer, user)?.presence === state, { since });
}

async function pair(): Promise<{ alice: TestClient; bob: TestClient; roomId: string }> {
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  return { alice, bob, roomId };
}

/** Lets time go by, as the server does that looks every few seconds. */
function pass(ms: number): void {
  now += ms;
  server.ctx.presence.expire();
}

/** Until how a user is has been announced anew. */
async function untilAnnounced({ userId }: TestClient): Promise<void> {
  let isAnnounced = false;
  const stop = server.ctx.presence.onChange((users) => {
    isAnnounced ||= users.some((user) => user === userId);
  });
  await until(() => isAnnounced, `that ${userId} is announced`);
  stop();
}

const MINUTE = 60_000;

test('who was never there is offline; who says how they are is so, with their status', async () => {
  const { alice, bob } = await pair();
  assert.deepEqual(await of(bob, alice), { presence: 'offline' });
  await set(alice, 'online', 'in a meeting');
  const online = {
    presence: 'online',
    last_active_ago: 0,
    currently_active: true,
    status_msg: 'in a meeting',
  };
  assert.deepEqual(await of(bob, alice), online);
  now += 5_000;
  assert.deepEqual(await of(bob, alice), { ...online, last_active_ago: 5_000 });
  await set(alice, 'unavailable');
  assert.deepEqual(await of(alice, alice), { presence: 'unavailable', last_active_ago: 0 });
  await set(alice, 'offline', null);
  assert.equal((await of(bob, alice)).presence, 'offline');
});

test('presence is for those who share a room; strangers are not told apart from nobody', async () => {
  const { alice } = await pair();
  const stranger = await register(server);
  const since = (await stranger.sync()).next_batch;
  await set(alice, 'online');
  const answers = [alice.userId, '@nobody:kurir.test'].map((id) => stranger.try('GET', pathOf(id)));
  const [first, second] = await Promise.all(answers);
  assert.deepEqual([first?.status, first?.body.errcode], [403, 'M_FORBIDDEN']);
  assert.deepEqual(first?.body, second?.body);
  assert.deepEqual((await stranger.try('PUT', pathOf(alice.userId), { presence: 'online' })).status, 403);
  const { bob } = await pair();
  await stranger.join(await bob.createRoom());
  await set(bob, 'online');
  const answer = await untilTold(stranger, since, bob, 'online');
  assert.equal(told(answer, alice), undefined);
});

test('what is no presence is refused', async () => {
  const alice = await register(server);
  for (const body of [
    {},
    { presence: 'busy' },
    { presence: 5 },
    { presence: 'online', status_msg: 5 },
    { presence: 'online', status_msg: 'x'.repeat(1_001) },
  ]) {
    assert.equal((await alice.try('PUT', pathOf(alice.userId), body)).status, 400, JSON.stringify(body));
  }
  assert.equal((await alice.try('GET', '/sync?set_presence=busy')).status, 400);
  assert.equal((await alice.try('GET', pathOf('alice'))).status, 400);
});

test('who syncs is online, unless the client says otherwise', async () => {
  const { alice, bob } = await pair();
  for (const [query, state] of [
    ['set_presence=offline', 'offline'],
    ['set_presence=unavailable', 'unavailable'],
    ['', 'online'],
    ['set_presence=unavailable', 'unavailable'],
    ['set_presence=online', 'online'],
  ] as const) {
    await alice.get(`/sync?${query}`);
    assert.equal((await of(bob, alice)).presence, state, query);
  }
});

test('changes come by /sync to those who wait, and each state once', async () => {
  const { alice, bob } = await pair();
  await bob.sync();
  let { next_batch: since } = await bob.sync();
  await set(alice, 'online', 'here');
  const first = await untilTold(bob, since, alice, 'online');
  assert.equal(told(first, alice).status_msg, 'here');
  const [event] = first.presence.events;
  assert.deepEqual(Object.keys(event).sort(), ['content', 'sender', 'type']);
  since = first.next_batch;
  // The same again is no news.
  await set(alice, 'online', 'here');
  await set(alice, 'unavailable', 'here');
  const second = await bob.syncUntil((answer) => told(answer, alice) !== undefined, { since });
  assert.equal(told(second, alice).presence, 'unavailable');
  assert.equal(told(await bob.sync({ since: second.next_batch }), alice), undefined);
});

test('nobody is told how they are themselves', async () => {
  const { alice, bob } = await pair();
  const { next_batch: since } = await alice.sync();
  await set(alice, 'unavailable', 'x');
  await set(bob, 'online');
  const answer = await untilTold(alice, since, bob, 'online');
  assert.equal(told(answer, alice), undefined);
  assert.equal(told(await alice.sync(), alice), undefined);
});

test('an initial sync tells who is not offline', async () => {
  const { alice, bob } = await pair();
  assert.equal(told(await bob.sync(), alice), undefined);
  await set(alice, 'unavailable');
  assert.equal(told(await bob.sync(), alice).presence, 'unavailable');
});

test('who comes into a room is told how its members are, and they how the newcomer is', async () => {
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await Promise.all([untilAnnounced(alice), set(alice, 'online')]);
  await Promise.all([untilAnnounced(bob), set(bob, 'online')]);
  const [forAlice, forBob] = [await alice.sync(), await bob.sync()];
  await bob.join(roomId);
  const { next_batch } = await untilTold(bob, forBob.next_batch, alice, 'online');
  assert.equal(told(await bob.sync({ since: next_batch }), alice), undefined);
  await untilTold(alice, forAlice.next_batch, bob, 'online');
});

test('who does nothing for five minutes is unavailable, and online with the next thing they do', async () => {
  const { alice, bob, roomId } = await pair();
  const things: (() => Promise<unknown>)[] = [
    () => alice.send(roomId, 'here again'),
    () => alice.put(`${inRoom(roomId)}/typing/${encodeURIComponent(alice.userId)}`, { typing: true }),
    async () => {
      const eventId = await bob.send(roomId, 'read me');
      await alice.post(`${inRoom(roomId)}/receipt/m.read/${encodeURIComponent(eventId)}`);
    },
  ];
  const polling = server.ctx.presence.syncing(deviceOf(alice), 'online');
  for (const doIt of things) {
    pass(MINUTE + 1);
    assert.deepEqual((await of(bob, alice)).currently_active, false);
    pass(4 * MINUTE);
    assert.equal((await of(bob, alice)).presence, 'unavailable');
    await doIt();
    const { presence: state, currently_active: isActive, last_active_ago: ago } = await of(bob, alice);
    assert.deepEqual([state, isActive, ago], ['online', true, 0]);
  }
  polling[Symbol.dispose]();
});

test('who has hidden stays so, whatever they do', async () => {
  const { alice, bob, roomId } = await pair();
  await alice.get('/sync?set_presence=offline');
  await alice.send(roomId, 'nobody sees me');
  assert.deepEqual(await of(bob, alice), { presence: 'offline' });
  // Nor once another device has shown the user for a while.
  const second = await login(server, alice.userId, alice.password);
  await second.sync();
  await alice.send(roomId, 'from the hidden one');
  assert.equal((await of(bob, alice)).presence, 'online');
  pass(20_000);
  await alice.get('/sync?set_presence=offline');
  await alice.send(roomId, 'again');
  pass(10_000);
  assert.equal((await of(bob, alice)).presence, 'offline');
});

test('a user without a sync for half a minute is offline, not one whose sync waits or has another device', async () => {
  const { alice, bob } = await pair();
  const { next_batch: since } = await bob.sync();
  const second = await login(server, alice.userId, alice.password);
  await alice.sync();
  await second.sync();
  pass(29_000);
  await second.sync();
  pass(29_000);
  assert.equal((await of(bob, alice)).presence, 'online');
  const waiting = server.ctx.presence.syncing(deviceOf(second), 'online');
  pass(2 * MINUTE);
  assert.equal((await of(bob, alice)).presence, 'online');
  waiting[Symbol.dispose]();
  pass(30_000);
  assert.equal((await of(bob, alice)).presence, 'offline');
  await untilTold(bob, since, alice, 'offline');
});

test('the filter of a sync holds for presence; those who are ignored are left out', async () => {
  const { alice, bob, roomId } = await pair();
  const carol = await register(server);
  await carol.join(roomId);
  await set(alice, 'online');
  await set(carol, 'online');
  const of = async (filter: object) => {
    const { presence: part } = await bob.sync({ filter: { presence: filter } });
    return (part?.events ?? []).map((event: Body) => event.sender);
  };
  assert.deepEqual(await of({ not_types: ['m.presence'] }), []);
  assert.deepEqual(await of({ types: ['m.room.message'] }), []);
  assert.deepEqual(await of({ senders: [carol.userId] }), [carol.userId]);
  assert.equal((await of({ limit: 1 })).length, 1);
  assert.equal((await of({})).length, 2);
  await bob.put(`/user/${encodeURIComponent(bob.userId)}/account_data/m.ignored_user_list`, {
    ignored_users: { [carol.userId]: {} },
  });
  assert.deepEqual(await of({}), [alice.userId]);
});

test('after a restart a status holds, and who does not come back is told to be gone', async () => {
  await using other = await startServer({ clock });
  const [alice, bob, carol] = [await register(other), await register(other), await register(other)];
  const dave = await register(other);
  const roomId = await alice.createRoom();
  for (const user of [bob, carol, dave]) await user.join(roomId);
  await set(carol, 'offline', 'on leave');
  const { next_batch: early } = await bob.sync();
  await set(dave, 'unavailable');
  await set(alice, 'online', 'at work');
  const answer = await bob.syncUntil((body) => told(body, alice) !== undefined);
  // It is on disk when it is answered.
  const row = (await presence.newest(other.ctx.db, 10)).find(({ userId }) => userId === alice.userId);
  assert.deepEqual([row?.state, row?.statusMsg], ['online', 'at work']);
  await other.restart();
  assert.equal((await of(bob, alice)).presence, 'online');
  assert.equal((await of(bob, carol)).status_msg, 'on leave');
  assert.equal(told(await bob.sync({ since: early }), dave).presence, 'unavailable');
  now += 30_000;
  other.ctx.presence.expire();
  const gone = await untilTold(bob, answer.next_batch, alice, 'offline');
  assert.equal(told(gone, alice).status_msg, 'at work');
});

test('after a restart nobody is told again how others were before, and of many by whom a room is shared', async () => {
  await using other = await startServer({ clock });
  const [alice, bob, stranger] = [await register(other), await register(other), await register(other)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const early = (await bob.sync()).next_batch;
  await set(alice, 'online', 'at work');
  await set(stranger, 'online', 'elsewhere');
  const isTold = (body: Body) => told(body, alice)?.status_msg === 'at work';
  const { next_batch: late } = await bob.syncUntil(isTold, { since: early });
  await other.restart();
  assert.equal(told(await bob.sync({ since: late }), alice), undefined);
  const answer = await bob.sync({ since: early });
  assert.equal(told(answer, alice).status_msg, 'at work');
  assert.equal(told(answer, stranger), undefined);
  // So many that it is asked who is in the rooms, not in which rooms they are.
  const many: TestClient[] = [];
  for (let count = 0; count < 60; count++) many.push(await register(other));
  for (const user of many) await set(user, 'online', 'one of many');
  const since = (await bob.sync()).next_batch;
  for (const user of [...many, alice]) await set(user, 'online', 'changed');
  const changed = await bob.syncUntil((body) => told(body, alice)?.status_msg === 'changed', { since });
  assert.ok(many.every((user) => told(changed, user) === undefined));
});

test('of a deactivated account nothing is kept', async () => {
  const { alice } = await pair();
  await set(alice, 'online', 'at work');
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: alice.userId },
    password: alice.password,
  };
  await alice.post('/account/deactivate', { auth });
  const { state, statusMsg } = server.ctx.presence.of(deviceOf(alice).userId);
  assert.deepEqual([state, statusMsg], ['offline', undefined]);
  const rows = await presence.newest(server.ctx.db, 100);
  assert.deepEqual(
    rows.filter(({ userId }) => userId === alice.userId),
    [],
  );
});

test('presence: off: nobody has any, and no sync tells of it', async () => {
  await using other = await startServer({ presence: 'off' });
  const [alice, bob] = [await register(other), await register(other)];
  await bob.join(await alice.createRoom());
  const { next_batch: since } = await bob.sync();
  await set(alice, 'online');
  await alice.sync();
  assert.deepEqual(await of(bob, alice), { presence: 'offline' });
  for (const answer of [await bob.sync(), await bob.sync({ since })])
    assert.equal(answer.presence, undefined);
});

test('many changes in a moment are told together', async () => {
  const { alice, bob } = await pair();
  let announced = 0;
  const stop = server.ctx.presence.onChange(() => {
    announced += 1;
  });
  const { next_batch: since } = await bob.sync();
  for (let count = 0; count < 20; count++) await set(alice, 'online', `status ${count}`);
  const answer = await bob.syncUntil((body) => told(body, alice)?.status_msg === 'status 19', { since });
  assert.ok(answer);
  await until(() => announced > 0);
  stop();
  assert.ok(announced < 10, `${announced} times`);
});

test('who changes without end is told of now and then only, and at last as they are', async (t) => {
  const { alice, bob } = await pair();
  // The server measures by this clock how often is too often.
  let steadyMs = performance.now();
  t.mock.method(performance, 'now', () => steadyMs);
  const { next_batch: since } = await bob.sync();
  const aliceId = deviceOf(alice).userId;
  let announced = 0;
  const stop = server.ctx.presence.onChange((users) => {
    if (users.includes(aliceId)) announced += 1;
  });
  for (let count = 1; count <= 10; count++) {
    await set(alice, 'online', `status ${count}`);
    await until(() => announced === count, 'that it is told');
    // The next one is told when this second is over.
    if (count < 10) steadyMs += 1_000;
  }
  for (let more = 0; more < 20; more++) await set(alice, 'online', `more ${more}`);
  // The eleventh waits; another user's does not.
  const carol = await register(server);
  await carol.join(await bob.createRoom({ preset: 'public_chat' }));
  await set(carol, 'online', 'at once');
  await bob.syncUntil((body) => told(body, carol)?.status_msg === 'at once', { since });
  assert.equal(announced, 10);
  steadyMs += 10_000;
  await bob.syncUntil((body) => told(body, alice)?.status_msg === 'more 19', { since });
  stop();
});

function deviceOf({ userId, deviceId }: TestClient): { userId: `@${string}`; deviceId: string } {
  return { userId: userId as `@${string}`, deviceId };
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, RoomId } from '#keys/ids.ts';
import { beginPurge, runPurge } from '#rooms/purge/purge.ts';
import { getRoom } from '#rooms/room.ts';
import { CountedEvents } from '#server/push/counted-events.ts';
import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const THREADS = { room: { timeline: { unread_thread_notifications: true } } };

/** Notifications and highlights of a room, from an initial sync. */
async function unreadOf(user: TestClient, roomId: string): Promise<[number, number]> {
  const answer = await user.sync({ filter: { room: { timeline: { limit: 1 } } } });
  return countsIn(answer.rooms.join[roomId].unread_notifications);
}

async function threadsOf(user: TestClient, roomId: string): Promise<Record<string, [number, number]>> {
  const room = (await user.sync({ filter: THREADS })).rooms.join[roomId];
  const others = Object.entries<Body>(room.unread_thread_notifications ?? {});
  return {
    main: countsIn(room.unread_notifications),
    ...Object.fromEntries(others.map(([root, counts]) => [root, countsIn(counts)])),
  };
}

function countsIn(counts: Body): [number, number] {
  return [counts.notification_count, counts.highlight_count];
}

async function roomOfTwo(server: TestServer): Promise<[TestClient, TestClient, string]> {
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  return [alice, bob, roomId];
}

const room = (roomId: string, rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;

function receipt(user: TestClient, roomId: string, eventId: string, { type = 'm.read', thread = '' } = {}) {
  const path = room(roomId, `receipt/${type}/${encodeURIComponent(eventId)}`);
  return user.post(path, thread === '' ? {} : { thread_id: thread });
}

function message(user: TestClient, roomId: string, more: object = {}): Promise<string> {
  return user.sendEvent(roomId, 'm.room.message', { msgtype: 'm.text', body: 'x', ...more });
}

function mention(userId: string): object {
  return { 'm.mentions': { user_ids: [userId] } };
}

function inThread(root: string): object {
  return { 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
}

test('messages of others count, those that mention the user as highlights too, own ones do not', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  assert.deepEqual(await unreadOf(bob, roomId), [0, 0]);
  await message(alice, roomId);
  await message(alice, roomId, mention(bob.userId));
  await message(alice, roomId, { msgtype: 'm.notice' });
  await alice.sendEvent(roomId, 'm.reaction', {});
  await alice.put(room(roomId, 'state/m.room.topic'), { topic: 'x' });
  assert.deepEqual(await unreadOf(bob, roomId), [2, 1]);
  assert.deepEqual(await unreadOf(alice, roomId), [0, 0]);
});

test('the same events count for each by whom they name, who sent them, and when they joined, whoever asks first', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const roomId = await alice.createRoom();
  const [bob, carol, dave, erin] = [
    await register(server, 'bob'),
    await register(server, 'carol'),
    await register(server, 'dave'),
    await register(server, 'erin'),
  ];
  for (const user of [bob, carol, dave]) await user.join(roomId);
  await message(alice, roomId);
  await erin.join(roomId);
  const named = await message(alice, roomId, mention(bob.userId));
  await message(dave, roomId);
  await message(alice, roomId);
  const countAll = async () => {
    const counts: [number, number][] = [];
    for (const user of [erin, carol, bob, dave, alice]) counts.push(await unreadOf(user, roomId));
    return counts;
  };
  assert.deepEqual(await countAll(), [
    [3, 0],
    [4, 0],
    [4, 1],
    [1, 0],
    [0, 0],
  ]);
  await alice.put(room(roomId, `redact/${encodeURIComponent(named)}/1`), {});
  await message(alice, roomId);
  assert.deepEqual(await countAll(), [
    [3, 0],
    [4, 0],
    [4, 0],
    [2, 0],
    [0, 0],
  ]);
});

test('what was before the user joined does not count', async () => {
  await using server = await startServer();
  const [alice, , roomId] = await roomOfTwo(server);
  await message(alice, roomId);
  const carol = await register(server, 'carol');
  await carol.join(roomId);
  assert.deepEqual(await unreadOf(carol, roomId), [0, 0]);
  await message(alice, roomId);
  // A new name is a new membership event, and reads nothing.
  await carol.put(`/profile/${carol.userId}/displayname`, { displayname: 'Carol' });
  assert.deepEqual(await unreadOf(carol, roomId), [1, 0]);
  await carol.post(room(roomId, 'leave'));
  await message(alice, roomId);
  await carol.join(roomId);
  assert.deepEqual(await unreadOf(carol, roomId), [0, 0]);
});

test('the count is in the answer that has the event, and changes with receipts on all devices', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  const phone = await login(server, 'bob', bob.password);
  const filter = { room: { ephemeral: { types: [] } } };
  let since: string = (await phone.sync({ filter })).next_batch;
  const next = async (act: () => Promise<unknown>) => {
    const waiting = phone.sync({ since, timeout: 10_000, filter });
    await act();
    const answer = await waiting;
    since = answer.next_batch;
    return answer.rooms.join[roomId];
  };
  let eventId = '';
  const told = await next(async () => {
    eventId = await message(alice, roomId);
  });
  assert.equal(told.timeline.events[0].event_id, eventId);
  assert.deepEqual(countsIn(told.unread_notifications), [1, 0]);
  // Although the device does not want to see receipts.
  const read = await next(() => receipt(bob, roomId, eventId, { type: 'm.read.private' }));
  assert.deepEqual(countsIn(read.unread_notifications), [0, 0]);
  assert.equal((await phone.sync({ since, filter })).rooms, undefined);
});

test('public and private receipts mark as read up to the one that is ahead; m.fully_read does not', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  const [a = '', b = '', c = '', d = ''] = [
    await message(alice, roomId),
    await message(alice, roomId),
    await message(alice, roomId),
    await message(alice, roomId),
  ];
  await receipt(bob, roomId, d, { type: 'm.fully_read' });
  assert.deepEqual(await unreadOf(bob, roomId), [4, 0]);
  await receipt(bob, roomId, c);
  assert.deepEqual(await unreadOf(bob, roomId), [1, 0]);
  await receipt(bob, roomId, a, { type: 'm.read.private' });
  assert.deepEqual(await unreadOf(bob, roomId), [1, 0]);
  await receipt(bob, roomId, b);
  assert.deepEqual(await unreadOf(bob, roomId), [1, 0]);
  await receipt(bob, roomId, d, { type: 'm.read.private' });
  assert.deepEqual(await unreadOf(bob, roomId), [0, 0]);
});

test('an own message marks its thread as read, and nothing else does', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  const root = await message(alice, roomId);
  await message(alice, roomId, inThread(root));
  await message(alice, roomId);
  assert.deepEqual(await threadsOf(bob, roomId), { main: [2, 0], [root]: [1, 0] });
  const own = await message(bob, roomId, inThread(root));
  assert.deepEqual(await threadsOf(bob, roomId), { main: [2, 0] });
  await bob.put(room(roomId, `redact/${encodeURIComponent(own)}/t`), {});
  assert.deepEqual(await threadsOf(bob, roomId), { main: [2, 0], [root]: [1, 0] });
  await message(bob, roomId);
  assert.deepEqual(await threadsOf(bob, roomId), { [root]: [1, 0], main: [0, 0] });
});

// The room of Complement's TestThreadedReceipts, with mentions as they are since version 1.7 of the specification.
test('threads are counted each by itself, and read by receipts of their own', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  const a = await message(alice, roomId);
  const b = await message(alice, roomId, inThread(a));
  await message(alice, roomId, { ...inThread(a), ...mention(bob.userId) });
  const d = await message(alice, roomId, mention(bob.userId));
  await message(alice, roomId, inThread(a));
  const f = await message(alice, roomId, { 'm.relates_to': { rel_type: 'm.reference', event_id: a } });
  const g = await alice.sendEvent(roomId, 'm.room.reaction', {
    'm.relates_to': { rel_type: 'm.annotation', event_id: f, key: 'test' },
  });
  const expect = async (all: [number, number], threads: Record<string, [number, number]>) => {
    assert.deepEqual(await unreadOf(bob, roomId), all);
    assert.deepEqual(await threadsOf(bob, roomId), threads);
  };
  await expect([6, 2], { main: [3, 1], [a]: [3, 1] });
  await receipt(bob, roomId, a, { thread: 'main' });
  await expect([5, 2], { main: [2, 1], [a]: [3, 1] });
  await receipt(bob, roomId, b, { thread: a });
  await expect([4, 2], { main: [2, 1], [a]: [2, 1] });
  await receipt(bob, roomId, d);
  await expect([2, 0], { main: [1, 0], [a]: [1, 0] });
  // Of an event that relates to the root by way of another: the thread is read, the main timeline is not.
  await receipt(bob, roomId, g, { thread: a });
  await expect([1, 0], { main: [1, 0] });
  await server.restart();
  await expect([1, 0], { main: [1, 0] });
  const elsewhere = await message(alice, roomId);
  const path = room(roomId, `receipt/m.read/${encodeURIComponent(elsewhere)}`);
  assert.equal((await bob.try('POST', path, { thread_id: a })).status, 400);
});

test('redacted events count no more; edits do not count, unless they mention the user', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  const first = await message(alice, roomId, mention(bob.userId));
  const second = await message(alice, roomId);
  assert.deepEqual(await unreadOf(bob, roomId), [2, 1]);
  const edit = { 'm.new_content': {}, 'm.relates_to': { rel_type: 'm.replace', event_id: second } };
  await message(alice, roomId, edit);
  assert.deepEqual(await unreadOf(bob, roomId), [2, 1]);
  await message(alice, roomId, { ...edit, ...mention(bob.userId) });
  assert.deepEqual(await unreadOf(bob, roomId), [3, 2]);
  await alice.put(room(roomId, `redact/${encodeURIComponent(first)}/t`), {});
  assert.deepEqual(await unreadOf(bob, roomId), [2, 1]);
});

test('a change of the rules changes the counts at once, and is told for the rooms in which it does', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  const other = await alice.createRoom();
  await bob.join(other);
  await message(alice, roomId, { body: 'There is cake' });
  await message(alice, roomId);
  await message(alice, other);
  let { next_batch: since } = await bob.sync();
  const mute = `/pushrules/global/room/${encodeURIComponent(roomId)}`;
  const waiting = bob.sync({ since, timeout: 10_000 });
  await bob.put(mute, { actions: [] });
  const muted = await waiting;
  assert.deepEqual(Object.keys(muted.rooms.join), [roomId]);
  assert.deepEqual(countsIn(muted.rooms.join[roomId].unread_notifications), [0, 0]);
  since = muted.next_batch;
  await bob.put('/pushrules/global/content/cake', {
    pattern: 'cake',
    actions: ['notify', { set_tweak: 'highlight' }],
  });
  // A content rule comes before a room rule.
  const cake = await bob.sync({ since });
  assert.deepEqual(countsIn(cake.rooms.join[roomId].unread_notifications), [1, 1]);
  assert.equal(cake.rooms.join[other], undefined);
  since = cake.next_batch;
  await bob.delete(mute);
  assert.deepEqual(countsIn((await bob.sync({ since })).rooms.join[roomId].unread_notifications), [2, 1]);
  await bob.put('/pushrules/global/override/.m.rule.master/enabled', { enabled: true });
  assert.deepEqual(await unreadOf(bob, roomId), [0, 0]);
});

test('those whom the user ignores do not count', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  await message(alice, roomId);
  assert.deepEqual(await unreadOf(bob, roomId), [1, 0]);
  const path = `/user/${bob.userId}/account_data/m.ignored_user_list`;
  await bob.put(path, { ignored_users: { [alice.userId]: {} } });
  assert.deepEqual(await unreadOf(bob, roomId), [0, 0]);
  await bob.put(path, { ignored_users: {} });
  assert.deepEqual(await unreadOf(bob, roomId), [1, 0]);
});

test('a rule on the number of members goes by the members of now', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  await bob.put('/pushrules/global/underride/.m.rule.message/actions', { actions: [] });
  await message(alice, roomId);
  assert.deepEqual(await unreadOf(bob, roomId), [1, 0]);
  const carol = await register(server, 'carol');
  await carol.join(roomId);
  assert.deepEqual(await unreadOf(bob, roomId), [0, 0]);
  await carol.post(room(roomId, 'leave'));
  assert.deepEqual(await unreadOf(bob, roomId), [1, 0]);
});

test('a mention of the room counts by the power that its sender had', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  const carol = await register(server, 'carol');
  await carol.join(roomId);
  const all = { 'm.mentions': { room: true } };
  await message(carol, roomId, all);
  assert.deepEqual(await unreadOf(bob, roomId), [1, 0]);
  await message(alice, roomId, all);
  assert.deepEqual(await unreadOf(bob, roomId), [2, 1]);
  const path = room(roomId, 'state/m.room.power_levels');
  await alice.put(path, { ...(await alice.get(path)), notifications: { room: 0 } });
  await message(carol, roomId, all);
  assert.deepEqual(await unreadOf(bob, roomId), [3, 2]);
});

test('a name in the text counts for a rule that asks for it', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  await bob.put('/pushrules/global/override/name', {
    conditions: [{ kind: 'contains_display_name' }],
    actions: ['notify', { set_tweak: 'highlight' }],
  });
  await bob.put(`/profile/${bob.userId}/displayname`, { displayname: 'Bob*' });
  await message(alice, roomId, { body: 'hello bob*, and you' });
  await message(alice, roomId, { body: 'hello bobby' });
  assert.deepEqual(await unreadOf(bob, roomId), [2, 1]);
});

test('what a user may not see does not count', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const state = { type: 'm.room.history_visibility', content: { history_visibility: 'joined' } };
  const roomId = await alice.createRoom({ initial_state: [state] });
  await message(alice, roomId);
  await bob.join(roomId);
  assert.deepEqual(await unreadOf(bob, roomId), [0, 0]);
  await message(alice, roomId);
  assert.deepEqual(await unreadOf(bob, roomId), [1, 0]);
});

test('after a restart a room is counted on from its checkpoint, not read anew', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  for (let sent = 0; sent < 220; sent += 20)
    await Promise.all(Array.from({ length: 20 }, () => message(alice, roomId)));
  assert.deepEqual(await unreadOf(bob, roomId), [220, 0]);
  // Whoever reads the events would not find a highlight among them.
  await changeCheckpoint(server, bob.userId, (checkpoint) => {
    assert.equal(checkpoint.events.length, 4 * 220);
    checkpoint.events[3] = 1;
  });
  await server.restart();
  const last = await message(alice, roomId);
  assert.deepEqual(await unreadOf(bob, roomId), [221, 1]);
  await receipt(bob, roomId, last);
  assert.deepEqual(await unreadOf(bob, roomId), [0, 0]);
  await server.restart();
  assert.deepEqual(await unreadOf(bob, roomId), [0, 0]);
});

async function changeCheckpoint(
  server: TestServer,
  userId: string,
  change: (checkpoint: Body) => void,
): Promise<void> {
  const read = sql(
    'SELECT room_nid, content_json FROM unread_checkpoints WHERE user_id = ? ORDER BY room_nid',
  );
  const write = sql('UPDATE unread_checkpoints SET content_json = ? WHERE user_id = ?');
  await server.ctx.db.write('test', async (tx) => {
    const [row] = await tx.all(read, userId);
    const checkpoint = JSON.parse((row as { content_json: string }).content_json);
    change(checkpoint);
    await tx.run(write, JSON.stringify(checkpoint), userId);
  });
}

function sql(text: string) {
  return { name: '', text };
}

test('of more than a thousand unread events the newest thousand count', async () => {
  const user = new CountedEvents({ rules: '', members: undefined }, 0);
  for (let position = 1; position <= 1_500; position++)
    user.add({ nid: position, position, thread: position <= 500 ? '$root' : 'main', highlight: false });
  assert.deepEqual([...user.counts(2_000)], [['main', { notifications: 1_000, highlights: 0 }]]);
});

test('of more than a thousand events that came at once the newest thousand are counted', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  const carol = await register(server, 'carol');
  await carol.join(roomId);
  await message(alice, roomId);
  assert.deepEqual(await unreadOf(bob, roomId), [1, 0]);
  await message(alice, roomId);
  for (let round = 0; round < 20; round++) {
    await Promise.all(Array.from({ length: 50 }, () => alice.sendEvent(roomId, 'm.reaction', {})));
  }
  assert.deepEqual(await unreadOf(carol, roomId), [0, 0]);
});

test('messages of another server count like any other', async () => {
  await using fleet = await startFleet(2);
  const alice = await register(fleet.at(0), 'alice');
  const bob = await register(fleet.at(1), 'bob');
  const roomId = await alice.createRoom();
  await bob.join(roomId, [fleet.at(0).serverName]);
  const { next_batch: since } = await bob.sync();
  await message(alice, roomId, { 'm.mentions': { room: true } });
  const last = await message(alice, roomId);
  const has = (answer: Body) =>
    answer.rooms?.join?.[roomId]?.timeline.events.some((event: Body) => event.event_id === last);
  const answer = await bob.syncUntil(has, { since });
  assert.deepEqual(countsIn(answer.rooms.join[roomId].unread_notifications), [2, 1]);
});

test('what a purge has deleted does not count', async () => {
  await using server = await startServer();
  const [alice, bob, roomId] = await roomOfTwo(server);
  await message(alice, roomId);
  await message(alice, roomId);
  const eventId = await message(alice, roomId);
  assert.deepEqual(await unreadOf(bob, roomId), [3, 0]);
  const { ctx } = server;
  const known = await getRoom(ctx, roomId as RoomId);
  assert.ok(known && (await beginPurge(ctx, known, { eventId: eventId as EventId })));
  await runPurge(ctx, known.roomNid, new AbortController().signal);
  assert.deepEqual(await unreadOf(bob, roomId), [1, 0]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { untilMember } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startServer } from '#test/harness/server.ts';
import { SyncView, stateOf } from '#test/harness/sync-view.ts';

const path = (roomId: string, rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;
const bodies = (section: Body) =>
  section.timeline.events
    .map((event: Body) => event.content.body)
    .filter((body: unknown) => body !== undefined);

async function invite(from: TestClient, to: TestClient, roomId: string): Promise<void> {
  await from.post(path(roomId, 'invite'), { user_id: to.userId });
}

test('sync: an invitation comes with stripped state, and wakes the invited', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const { next_batch: since } = await bob.sync();
  const waiting = bob.sync({ since, timeout: 10_000 });
  const roomId = await alice.createRoom({ preset: 'private_chat', name: 'Secret', invite: [bob.userId] });
  const answer = await waiting;
  const { events } = answer.rooms.invite[roomId].invite_state;
  const types = events.map((event: Body) => event.type);
  for (const type of ['m.room.create', 'm.room.join_rules', 'm.room.name'])
    assert.ok(types.includes(type), type);
  const own = events.find((event: Body) => event.state_key === bob.userId);
  assert.equal(own.content.membership, 'invite');
  assert.ok(
    events.some((event: Body) => event.state_key === alice.userId),
    'the inviter is shown',
  );
  assert.equal(answer.rooms.join, undefined, 'nothing more of the room is told');
});

test('sync: a room joined since is told whole, though the increment is small', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom({ name: 'Old' });
  for (let number = 0; number < 30; number++) await alice.send(roomId, `${number}`);
  const view = new SyncView(bob);
  await view.next();
  await bob.join(roomId);
  const answer = await view.next();
  const section = answer.rooms.join[roomId];
  assert.equal(section.timeline.limited, true);
  assert.equal(section.summary['m.joined_member_count'], 2);
  assert.deepEqual(view.room(roomId).state, await stateOf(bob, roomId));
});

test('sync: a rejoined room is told whole', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const view = new SyncView(bob);
  await view.next();
  await bob.post(path(roomId, 'leave'));
  await view.next();
  await alice.put(path(roomId, 'state/m.room.name'), { name: 'New' });
  await bob.join(roomId);
  await view.next();
  assert.deepEqual(view.room(roomId).state, await stateOf(bob, roomId));
});

test('sync: who leaves sees the room up to the leave, and nothing after it', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const { next_batch: since } = await bob.sync();
  await alice.send(roomId, 'before');
  await bob.post(path(roomId, 'leave'));
  await alice.send(roomId, 'after');
  const answer = await bob.sync({ since });
  const section = answer.rooms.leave[roomId];
  assert.deepEqual(bodies(section), ['before']);
  assert.equal(section.timeline.events.at(-1).content.membership, 'leave');
  assert.equal(answer.rooms.join, undefined);
  const later = await bob.sync({ since: answer.next_batch });
  assert.equal(later.rooms, undefined);
});

test('sync: who is kicked is told, and a kick after which more happened ends the timeline', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const { next_batch: since } = await bob.sync();
  await alice.post(path(roomId, 'kick'), { user_id: bob.userId, reason: 'noise' });
  await alice.post(path(roomId, 'ban'), { user_id: bob.userId });
  await alice.send(roomId, 'after');
  const section = (await bob.sync({ since })).rooms.leave[roomId];
  assert.deepEqual(bodies(section), []);
  assert.ok(section.timeline.events.some((event: Body) => event.content.reason === 'noise'));
});

test('sync: a declined invitation is told as left, with nothing of the room', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await alice.send(roomId, 'secret');
  await invite(alice, bob, roomId);
  const { next_batch: since } = await bob.sync();
  await bob.post(path(roomId, 'leave'));
  const { leave } = (await bob.sync({ since })).rooms;
  assert.deepEqual(
    leave[roomId].timeline.events.map((event: Body) => event.content.membership),
    ['leave'],
  );
  assert.deepEqual(leave[roomId].state.events, []);
});

test('sync: left rooms are in an initial sync only with include_leave, and forgotten ones never', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  await alice.send(roomId, 'before');
  assert.equal((await bob.try('POST', path(roomId, 'forget'))).status, 400, 'a room that one is in');
  await bob.post(path(roomId, 'leave'));
  await alice.send(roomId, 'after');
  const filter = { room: { include_leave: true } };
  assert.equal((await bob.sync()).rooms, undefined);
  const { leave } = (await bob.sync({ filter })).rooms;
  assert.deepEqual(bodies(leave[roomId]), ['before']);
  await bob.post(path(roomId, 'forget'));
  assert.equal((await bob.sync({ filter })).rooms, undefined);
  assert.equal((await bob.try('GET', path(roomId, 'messages?dir=b'))).status, 403);
});

test('sync: events of before the join are hidden where the history is for members only', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const hidden = { type: 'm.room.history_visibility', content: { history_visibility: 'joined' } };
  const roomId = await alice.createRoom({ initial_state: [hidden] });
  await alice.send(roomId, 'before');
  await bob.join(roomId);
  await alice.send(roomId, 'after');
  assert.deepEqual(bodies((await bob.sync()).rooms.join[roomId]), ['after']);
  assert.deepEqual(bodies((await alice.sync()).rooms.join[roomId]), ['before', 'after']);
  const { chunk } = await bob.get(path(roomId, 'messages?dir=b&limit=50'));
  assert.ok(chunk.every((event: Body) => event.content.body !== 'before'));
});

test('sync: neither messages nor invitations of ignored users are told, but their state is', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const ignored = { ignored_users: { [alice.userId]: {} } };
  await bob.put(`/user/${encodeURIComponent(bob.userId)}/account_data/m.ignored_user_list`, ignored);
  const { next_batch: since } = await bob.sync();
  await alice.send(roomId, 'unheard');
  await alice.put(path(roomId, 'state/m.room.name'), { name: 'Still seen' });
  await alice.createRoom({ invite: [bob.userId] });
  const { rooms } = await bob.sync({ since });
  assert.deepEqual(
    rooms.join[roomId].timeline.events.map((event: Body) => event.type),
    ['m.room.name'],
  );
  assert.equal(rooms.invite, undefined);
});

test('leave: the state of a room that was left is that of then, also where the server has been away from it since', async () => {
  await using fleet = await startFleet(2);
  const [alice, bob] = [await register(fleet.at(0)), await register(fleet.at(0))];
  const carol = await register(fleet.at(1));
  const roomId = await carol.createRoom();
  const topic = `/rooms/${encodeURIComponent(roomId)}/state/m.room.topic`;
  const leave = `/rooms/${encodeURIComponent(roomId)}/leave`;
  await carol.put(topic, { topic: 'while alice was there' });
  for (const user of [alice, bob]) await user.join(roomId, [fleet.at(1).serverName]);
  for (const user of [alice, bob]) await user.post(leave);
  for (const { userId } of [alice, bob]) await untilMember(carol, roomId, userId, 'leave');
  await carol.put(topic, { topic: 'secret' });
  await bob.join(roomId, [fleet.at(1).serverName]);
  for (const state of [{}, { lazy_load_members: true }]) {
    const filter = { room: { include_leave: true, state, timeline: { limit: 1 } } };
    const section = (await alice.sync({ filter })).rooms.leave[roomId];
    const topics = section.state.events.filter(({ type }: Body) => type === 'm.room.topic');
    assert.deepEqual(
      topics.map(({ content }: Body) => content.topic),
      ['while alice was there'],
    );
  }
});

test('join: a server that was out of the room for a while tells all of its state, to who begins and to who goes on', async () => {
  await using fleet = await startFleet(2);
  const alice = await register(fleet.at(0));
  const carol = await register(fleet.at(1));
  const roomId = await carol.createRoom();
  const topic = `/rooms/${encodeURIComponent(roomId)}/state/m.room.topic`;
  await carol.put(topic, { topic: 'before' });
  await alice.join(roomId, [fleet.at(1).serverName]);
  const { next_batch: since } = await alice.syncUntil(({ rooms }) => rooms?.join?.[roomId] !== undefined);
  await alice.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
  await untilMember(carol, roomId, alice.userId, 'leave');
  await carol.put(topic, { topic: 'while the server was away' });
  await alice.join(roomId, [fleet.at(1).serverName]);
  for (const from of ['', `&since=${since}`]) {
    const answer = await alice.get(`/sync?timeout=0&use_state_after=true${from}`);
    const state = new Map<string, Body>();
    for (const event of answer.rooms.join[roomId].state_after.events) {
      state.set(`${event.type} ${event.state_key}`, event.content);
    }
    assert.equal(state.get('m.room.topic ')?.topic, 'while the server was away', from);
    assert.equal(state.get(`m.room.member ${alice.userId}`)?.membership, 'join', from);
  }
});

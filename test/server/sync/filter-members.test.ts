/** Each member of a filter: https://spec.matrix.org/v1.19/client-server-api/#filtering */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseEventFilter, passes } from '#server/sync/filter.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const inRoom = (roomId: string) => `/rooms/${encodeURIComponent(roomId)}`;
const typesOf = (section: Body) => section.events.map(({ type }: Body) => type);

const wrong: Readonly<Record<string, object>> = {
  'presence that is a text': { presence: 'none' },
  'account data that are a list': { account_data: [] },
  'a room that is a number': { room: 1 },
  'a timeline that is a text': { room: { timeline: 'none' } },
  'a state that is a text': { room: { state: 'none' } },
  'ephemeral events that are true': { room: { ephemeral: true } },
  'account data of rooms that are a text': { room: { account_data: 'none' } },
  'rooms that are a text': { room: { timeline: { rooms: 'none' } } },
  'rooms of the whole filter that are a text': { room: { rooms: '!a:x' } },
  'rooms that are no ids': { room: { timeline: { rooms: ['lobby'] } } },
  'excluded rooms that are a text': { room: { not_rooms: 'none' } },
  'senders that are a text': { room: { timeline: { senders: 'none' } } },
  'senders that are no ids': { room: { timeline: { senders: ['alice'] } } },
  'excluded senders that are a text': { room: { timeline: { not_senders: 'none' } } },
  'types that are numbers': { room: { timeline: { types: [1] } } },
  'excluded types that are a text': { room: { timeline: { not_types: 'none' } } },
  'a limit that is a text': { room: { timeline: { limit: '20' } } },
  'a limit below 0': { room: { timeline: { limit: -1 } } },
  'a limit with a fraction': { presence: { limit: 1.5 } },
  'a format of its own': { event_format: 'xml' },
  'fields that are no texts': { event_fields: [{}] },
  'lazy loading that is a text': { room: { state: { lazy_load_members: 'yes' } } },
  'leaving that is a number': { room: { include_leave: 1 } },
};

test('filters: wrong ones are refused with the name of what is wrong, stored or not', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const path = `/user/${encodeURIComponent(alice.userId)}/filter`;
  for (const [what, filter] of Object.entries(wrong)) {
    const stored = await alice.try('POST', path, filter);
    assert.equal(stored.status, 400, what);
    assert.equal(stored.body.errcode, 'M_BAD_JSON', what);
    const query = encodeURIComponent(JSON.stringify(filter));
    const inline = await alice.try('GET', `/sync?filter=${query}`);
    assert.equal(inline.status, 400, what);
    assert.equal(inline.body.errcode, 'M_INVALID_PARAM', what);
    assert.match(inline.body.error, /filter: \w+/, what);
  }
  const roomId = await alice.createRoom();
  const broken = encodeURIComponent('{"types":"none"}');
  for (const page of [`messages?dir=b&filter=${broken}`, `context/%24none?filter=${broken}`]) {
    assert.equal((await alice.try('GET', `${inRoom(roomId)}/${page}`)).body.errcode, 'M_INVALID_PARAM', page);
  }
  const { filter_id: id } = await alice.post(path, {
    'org.example.new': 1,
    room: { timeline: { limit: null } },
  });
  assert.ok((await alice.sync({ filter: id })).next_batch, 'what is not known, and null, is nothing wrong');
});

test('filters: a sync with flags that are neither true nor false is refused', async () => {
  await using server = await startServer();
  const alice = await register(server);
  for (const query of ['full_state=yes', 'use_state_after=1', 'filter=%7B%7D&filter=%7B%7D']) {
    assert.equal((await alice.try('GET', `/sync?${query}`)).body.errcode, 'M_INVALID_PARAM', query);
  }
});

test('filters: contains_url asks for the key, whatever is under it', () => {
  const filter = parseEventFilter('{"contains_url":true}');
  assert.ok(filter);
  assert.ok(passes(filter, { type: 'm', content: { url: 1 } }));
  assert.ok(!passes(filter, { type: 'm', content: { toString: 1 } }));
});

test('filters: a limit of 0 is a timeline without events, of which the state tells all', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  for (const timeline of [{ limit: 0 }, { limit: 0, types: ['m.room.message'] }]) {
    const filter = { room: { timeline, include_leave: true } };
    const { next_batch: since } = await bob.sync({ filter });
    await alice.put(`${inRoom(roomId)}/state/test.state`, { is: 'before', timeline });
    const { timeline: told, state } = (await bob.sync({ since, filter })).rooms.join[roomId];
    assert.deepEqual(told.events, []);
    assert.equal(told.limited, true);
    assert.deepEqual(typesOf(state), ['test.state']);
  }
  await bob.post(`${inRoom(roomId)}/leave`);
  await alice.put(`${inRoom(roomId)}/state/test.state`, { is: 'after' });
  const left = (await bob.sync({ filter: { room: { timeline: { limit: 0 }, include_leave: true } } })).rooms
    .leave;
  assert.deepEqual(left[roomId].timeline.events, []);
  const state = new Map(
    left[roomId].state.events.map((event: Body) => [`${event.type} ${event.state_key}`, event]),
  );
  assert.equal((state.get(`m.room.member ${bob.userId}`) as Body).content.membership, 'leave');
  assert.equal((state.get('test.state ') as Body).content.is, 'before');
});

test('filters: event_fields keeps what is named, by paths with dots in them as well', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const { next_batch: since } = await alice.sync();
  await alice.sendEvent(roomId, 'test.event', { body: 'x', more: { a: 1, b: 2 }, 'm.key': 3, 'm\\x': 4 });
  const shown = async (fields: string[]) => {
    const answer = await alice.sync({ since, filter: { event_fields: fields } });
    return answer.rooms.join[roomId].timeline.events[0];
  };
  assert.deepEqual(await shown(['type', 'content.more.a']), {
    type: 'test.event',
    content: { more: { a: 1 } },
  });
  assert.deepEqual(await shown(['content.m\\.key', 'content.m\\\\x']), {
    content: { 'm.key': 3, 'm\\x': 4 },
  });
  assert.deepEqual(await shown(['content.more', 'content.more.a']), { content: { more: { a: 1, b: 2 } } });
  assert.deepEqual(await shown(['content.body.length', '__proto__.x', 'constructor']), {});
  const { state } = (
    await alice.sync({ filter: { event_fields: ['type'], room: { timeline: { limit: 1 } } } })
  ).rooms.join[roomId];
  for (const event of state.events) assert.deepEqual(Object.keys(event), ['type']);
});

test('filters: event_format federation tells the event as servers have it', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  await alice.send(roomId, 'hello');
  const filter = { event_format: 'federation', room: { timeline: { limit: 1 } } };
  const { timeline, state } = (await alice.sync({ filter })).rooms.join[roomId];
  for (const event of [...timeline.events, ...state.events]) {
    for (const member of ['auth_events', 'prev_events', 'hashes', 'signatures', 'depth'])
      assert.ok(member in event);
    assert.ok(!('event_id' in event));
    assert.equal(typeof event.unsigned.age, 'number');
  }
});

test('filters: parts of an answer have rooms, types and senders of their own', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server), await register(server)];
  const [one, two] = [await alice.createRoom(), await alice.createRoom()];
  for (const roomId of [one, two]) {
    await bob.join(roomId);
    await tell(alice, bob, roomId);
  }
  const parts = { rooms: [one] };
  const filter = { room: { timeline: { not_senders: [bob.userId] }, ephemeral: parts, account_data: parts } };
  const { join } = (await alice.sync({ filter })).rooms;
  assert.deepEqual(typesOf(join[one].ephemeral), ['m.receipt']);
  assert.deepEqual(typesOf(join[two].ephemeral), []);
  assert.deepEqual(typesOf(join[one].account_data), ['test.data']);
  assert.deepEqual(typesOf(join[two].account_data), []);
  for (const { sender } of join[one].timeline.events) assert.equal(sender, alice.userId);
  const noState = await alice.sync({
    filter: { room: { state: { not_rooms: [one] }, timeline: { limit: 1 } } },
  });
  assert.deepEqual(noState.rooms.join[one].state.events, []);
  assert.notDeepEqual(noState.rooms.join[two].state.events, []);
  assert.equal(noState.rooms.join[one].summary['m.joined_member_count'], 2);
});

/** Something of each kind. */
async function tell(alice: TestClient, bob: TestClient, roomId: string): Promise<void> {
  const eventId = await bob.send(roomId, 'hello');
  await alice.post(`${inRoom(roomId)}/receipt/m.read/${encodeURIComponent(eventId)}`);
  const user = encodeURIComponent(alice.userId);
  await alice.put(`/user/${user}${inRoom(roomId)}/account_data/test.data`, { of: roomId });
}

test('sync: the summary tells of changed members also where the state is not wanted', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  const filter = { room: { state: { not_rooms: [roomId] } } };
  const { next_batch: since } = await alice.sync({ filter });
  await bob.join(roomId);
  const section = (await alice.sync({ since, filter })).rooms.join[roomId];
  assert.equal(section.summary['m.joined_member_count'], 2);
  assert.deepEqual(section.summary['m.heroes'], [bob.userId]);
});

test('sync: a room that was left is told with what the user has attached to it', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const { next_batch: since } = await bob.sync();
  await tell(bob, alice, roomId);
  await bob.post(`${inRoom(roomId)}/leave`);
  assert.deepEqual(typesOf((await bob.sync({ since })).rooms.leave[roomId].account_data), ['test.data']);
  const filter = { room: { include_leave: true } };
  assert.deepEqual(typesOf((await bob.sync({ filter })).rooms.leave[roomId].account_data), ['test.data']);
});

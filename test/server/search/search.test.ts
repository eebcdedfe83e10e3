/** https://spec.matrix.org/v1.19/client-server-api/#server-side-search */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { run, serverEnvironment, startProcess } from '#test/harness/process.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { startServer } from '#test/harness/server.ts';

/** The answer to a search in room events. */
async function search(
  client: TestClient,
  term: string,
  more: object = {},
  nextBatch?: string,
): Promise<Body> {
  const query = nextBatch === undefined ? '' : `?next_batch=${encodeURIComponent(nextBatch)}`;
  const room_events = { search_term: term, ...more };
  const answer = await client.post(`/search${query}`, { search_categories: { room_events } });
  return answer.search_categories.room_events;
}

function bodiesIn(found: Body): string[] {
  return found.results.map(
    ({ result }: Body) => result.content.body ?? result.content.name ?? result.content.topic,
  );
}

test('a message is found by words of its body, whole, with its room', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const eventId = await alice.send(roomId, 'hello, world');
  await alice.send(roomId, 'something else');
  const found = await search(alice, 'HELLO', { keys: ['content.body'], filter: { rooms: [roomId] } });
  assert.equal(found.count, 1);
  const [{ rank, result, context }] = found.results;
  assert.equal(typeof rank, 'number');
  assert.equal(context, undefined);
  assert.deepEqual([result.event_id, result.room_id, result.type], [eventId, roomId, 'm.room.message']);
  assert.equal(result.content.body, 'hello, world');
  assert.deepEqual(found.highlights, ['hello']);
});

test('names and topics are found by their keys, the topic by its text of m.topic too', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom({ name: 'Budget committee', topic: 'Money of the budget' });
  await alice.send(roomId, 'the budget is spent');
  const state = `/rooms/${encodeURIComponent(roomId)}/state/m.room.topic/`;
  const text = [{ body: '<b>html</b>', mimetype: 'text/html' }, { body: 'Sparsamkeit' }];
  await alice.put(state, { topic: 'Savings', 'm.topic': { 'm.text': text } });
  assert.deepEqual(bodiesIn(await search(alice, 'budget')).sort(), [
    ...['Budget committee', 'Money of the budget', 'the budget is spent'],
  ]);
  assert.deepEqual(bodiesIn(await search(alice, 'budget', { keys: ['content.name'] })), ['Budget committee']);
  assert.deepEqual(bodiesIn(await search(alice, 'budget', { keys: ['content.topic'] })), [
    'Money of the budget',
  ]);
  assert.deepEqual(bodiesIn(await search(alice, 'budget', { keys: [] })), []);
  assert.deepEqual(bodiesIn(await search(alice, 'sparsamkeit')), ['Savings']);
  assert.deepEqual(bodiesIn(await search(alice, 'html')), []);
});

test('the most relevant comes first by rank, the newest by recent', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  await alice.send(roomId, 'apple apple apple');
  await alice.send(roomId, 'an apple among many other words of a long sentence about nothing');
  await alice.send(roomId, 'pear');
  const ranked = await search(alice, 'apple');
  assert.match(bodiesIn(ranked)[0] ?? '', /^apple apple/);
  assert.ok(ranked.results[0].rank > ranked.results[1].rank);
  const recent = await search(alice, 'apple', { order_by: 'recent' });
  assert.match(bodiesIn(recent)[0] ?? '', /^an apple/);
});

test('pages continue where the one before ended, and count the same, whatever comes meanwhile', async () => {
  await using server = await startServer();
  const alice = await register(server);
  for (const order_by of ['recent', 'rank']) {
    const roomId = await alice.createRoom();
    const sent: string[] = [];
    for (let index = 0; index < 20; index++) sent.push(await alice.send(roomId, `Message number ${index}`));
    const asked = { order_by, filter: { limit: 10, rooms: [roomId] } };
    const first = await search(alice, 'Message', asked);
    await alice.send(roomId, 'a Message that comes later');
    const second = await search(alice, 'Message', asked, first.next_batch);
    const third = await search(alice, 'Message', asked, second.next_batch);
    const ids = [...first.results, ...second.results].map(({ result }: Body) => result.event_id);
    assert.deepEqual(ids, sent.toReversed(), 'those of the same rank from the newest on');
    assert.deepEqual([third.results, third.next_batch], [[], undefined]);
    assert.deepEqual([first.count, second.count, third.count], [20, 20, 20]);
  }
});

test('the context has so many events before and after, and who sent them by the names of then', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const roomId = await alice.createRoom();
  for (let index = 1; index <= 7; index++) await alice.send(roomId, `Message number ${index}`);
  const found = await search(alice, 'Message 4', {
    order_by: 'recent',
    filter: { limit: 1, rooms: [roomId] },
    event_context: { before_limit: 2, after_limit: 2, include_profile: true },
  });
  const { context, result } = found.results[0];
  const bodies = (events: Body[]) => events.map(({ content }) => content.body);
  assert.equal(result.content.body, 'Message number 4');
  assert.deepEqual(bodies(context.events_before), ['Message number 3', 'Message number 2']);
  assert.deepEqual(bodies(context.events_after), ['Message number 5', 'Message number 6']);
  assert.deepEqual(Object.keys(context.profile_info), [alice.userId]);
  assert.equal(found.count, 1);
  assert.equal(typeof found.next_batch, 'string');
  const page = `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=1&from=${context.start}`;
  assert.equal((await alice.get(page)).chunk[0].content.body, 'Message number 1');
  const forwards = `/rooms/${encodeURIComponent(roomId)}/messages?dir=f&limit=1&from=${context.end}`;
  assert.equal((await alice.get(forwards)).chunk[0].content.body, 'Message number 7');
  const none = await search(alice, 'number 4', { event_context: { before_limit: 0, after_limit: 0 } });
  assert.deepEqual(none.results[0].context.events_before, []);
  const many = await search(alice, 'number 4', { event_context: { before_limit: 1e6, after_limit: 1e6 } });
  assert.ok(many.results[0].context.events_before.length <= 20);
});

test('results are told in groups, each with a token for more of it', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server), await register(server)];
  const rooms = [await alice.createRoom(), await alice.createRoom()];
  for (const roomId of rooms) await bob.join(roomId);
  for (let index = 0; index < 4; index++) {
    for (const roomId of rooms)
      await (index % 2 === 0 ? alice : bob).send(roomId, `fish ${index} in the sea`);
  }
  const groupings = { group_by: [{ key: 'room_id' }, { key: 'sender' }] };
  const asked = { order_by: 'recent', groupings, filter: { limit: 4 } };
  const { groups, results } = await search(alice, 'fish', asked);
  assert.equal(results.length, 4);
  assert.deepEqual(new Set(Object.keys(groups.room_id)), new Set(rooms));
  assert.deepEqual(new Set(Object.keys(groups.sender)), new Set([alice.userId, bob.userId]));
  assert.equal(groups.room_id[rooms[0] ?? ''].results.length, 2);
  assert.deepEqual(new Set(Object.values<Body>(groups.sender).map(({ order }) => order)), new Set([0, 1]));
  for (const [key, values] of Object.entries<Body>(groups)) {
    for (const [value, group] of Object.entries<Body>(values)) {
      const more = await search(alice, 'fish', asked, group.next_batch);
      const of = more.results.map(({ result }: Body) => result[key]);
      assert.deepEqual(of, [value, value], key);
      for (const { result } of more.results) assert.ok(!group.results.includes(result.event_id));
    }
  }
});

test('a filter leaves out rooms, senders, and events with or without a URL', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server), await register(server)];
  const [here, there] = [await alice.createRoom(), await alice.createRoom()];
  await bob.join(here);
  await alice.send(here, 'tree of alice');
  await bob.send(here, 'tree of bob');
  await alice.send(there, 'tree elsewhere');
  await alice.sendEvent(here, 'm.room.message', { msgtype: 'm.file', body: 'tree.pdf', url: 'mxc://a/b' });
  const bodies = async (filter: object) => bodiesIn(await search(alice, 'tree', { filter })).sort();
  assert.deepEqual(await bodies({ rooms: [there] }), ['tree elsewhere']);
  assert.deepEqual(await bodies({ not_rooms: [here] }), ['tree elsewhere']);
  assert.deepEqual(await bodies({ senders: [bob.userId] }), ['tree of bob']);
  assert.deepEqual(await bodies({ not_senders: [alice.userId] }), ['tree of bob']);
  assert.deepEqual(await bodies({ contains_url: true }), ['tree.pdf']);
  assert.deepEqual(await bodies({ rooms: [here], contains_url: false }), ['tree of alice', 'tree of bob']);
  assert.deepEqual(await bodies({ types: ['m.room.name'] }), []);
  assert.deepEqual(await bodies({ not_types: ['m.room.mess*'] }), []);
});

test('the state of the rooms of the results is told where it is asked for', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom({ name: 'The room' });
  await alice.createRoom();
  await alice.send(roomId, 'needle');
  const { state } = await search(alice, 'needle', { include_state: true });
  assert.deepEqual(Object.keys(state), [roomId]);
  const name = state[roomId].find(({ type }: Body) => type === 'm.room.name');
  assert.equal(name.content.name, 'The room');
});

test('row 93: what was redacted is found no more, nor are the edits of what was', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const gone = await alice.send(roomId, 'This message is going to be redacted');
  await alice.sendEvent(roomId, 'm.room.message', {
    ...{ msgtype: 'm.text', body: '* to be redacted, edited' },
    'm.new_content': { msgtype: 'm.text', body: 'to be redacted, edited' },
    'm.relates_to': { rel_type: 'm.replace', event_id: gone },
  });
  await alice.send(roomId, 'This message is not going to be redacted');
  assert.equal((await search(alice, 'redacted')).count, 3);
  await alice.put(`/rooms/${encodeURIComponent(roomId)}/redact/${encodeURIComponent(gone)}/r1`, {});
  for (const order_by of ['rank', 'recent']) {
    const found = await search(alice, 'redacted', { order_by });
    assert.deepEqual(bodiesIn(found), ['This message is not going to be redacted']);
    assert.equal(found.count, 1);
  }
});

test('only what a user may see is found and counted', async () => {
  await using server = await startServer();
  const [alice, bob, eve] = [await register(server), await register(server), await register(server)];
  const visibility = (history_visibility: string) => ({
    initial_state: [{ type: 'm.room.history_visibility', state_key: '', content: { history_visibility } }],
  });
  const roomId = await alice.createRoom(visibility('joined'));
  await alice.send(roomId, 'secret from before');
  await bob.join(roomId);
  await alice.send(roomId, 'secret while bob is here');
  await bob.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
  await alice.send(roomId, 'secret from after');
  const found = await search(bob, 'secret');
  assert.deepEqual(bodiesIn(found), ['secret while bob is here']);
  assert.equal(found.count, 1);
  assert.deepEqual(await search(eve, 'secret'), { count: 0, highlights: ['secret'], results: [] });
  const context = await search(bob, 'secret', { event_context: {}, include_state: true });
  const around = [...context.results[0].context.events_before, ...context.results[0].context.events_after];
  assert.ok(around.every(({ content }: Body) => !/before|after/.test(content.body ?? '')));
  await bob.post(`/rooms/${encodeURIComponent(roomId)}/forget`);
  assert.equal((await search(bob, 'secret')).count, 0);
  assert.equal((await search(alice, 'secret')).count, 3);
});

test('a search names a room in vain that the user was never in, also with a token of somebody else', async () => {
  await using server = await startServer();
  const [alice, eve] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  for (let index = 0; index < 3; index++) await alice.send(roomId, `hidden ${index}`);
  const asked = {
    order_by: 'recent',
    filter: { rooms: [roomId], limit: 1 },
    groupings: { group_by: [{ key: 'room_id' }] },
  };
  const { next_batch, groups } = await search(alice, 'hidden', asked);
  for (const token of [undefined, next_batch, groups.room_id[roomId].next_batch]) {
    assert.deepEqual((await search(eve, 'hidden', asked, token)).results, []);
  }
});

test('what ignored users say is not found, nor told around what is', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  await bob.send(roomId, 'noise of bob');
  await alice.send(roomId, 'noise of alice');
  const path = `/user/${encodeURIComponent(alice.userId)}/account_data/m.ignored_user_list`;
  await alice.put(path, { ignored_users: { [bob.userId]: {} } });
  const found = await search(alice, 'noise', { event_context: {} });
  assert.deepEqual(bodiesIn(found), ['noise of alice']);
  assert.equal(found.count, 1);
  const around = found.results[0].context.events_before;
  assert.ok(around.every(({ sender }: Body) => sender !== bob.userId));
});

test('rooms that are encrypted are not searched', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom({ name: 'Closed door' });
  await alice.send(roomId, 'a door in clear text');
  assert.equal((await search(alice, 'door')).count, 2);
  const path = `/rooms/${encodeURIComponent(roomId)}/state/m.room.encryption/`;
  await alice.put(path, { algorithm: 'm.megolm.v1.aes-sha2' });
  assert.equal((await search(alice, 'door')).count, 0);
});

test('a room that was upgraded is searched with the rooms that it replaced', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const old = await alice.createRoom({ room_version: '10', preset: 'private_chat' });
  await alice.send(old, 'Message before upgrade');
  const upgrade = `/rooms/${encodeURIComponent(old)}/upgrade`;
  const { replacement_room: replacement } = await alice.post(upgrade, { new_version: '11' });
  await alice.send(replacement, 'Message after upgrade');
  const both = ['Message after upgrade', 'Message before upgrade'];
  assert.deepEqual(
    bodiesIn(await search(alice, 'upgrade', { filter: { rooms: [old, replacement] } })).sort(),
    both,
  );
  assert.deepEqual(
    bodiesIn(await search(alice, 'upgrade', { filter: { rooms: [replacement] } })).sort(),
    both,
  );
  const without = { rooms: [replacement], not_rooms: [old] };
  assert.deepEqual(bodiesIn(await search(alice, 'upgrade', { filter: without })), ['Message after upgrade']);
  assert.deepEqual(bodiesIn(await search(alice, 'upgrade', { filter: { rooms: [old] } })), [
    'Message before upgrade',
  ]);
});

test('row 163: å is no a, ö is no o, é may be written as e, and signs of a query language are only signs', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  for (const text of ['ett får', 'en far', 'La Réunion', 'Straße']) await alice.send(roomId, text);
  assert.deepEqual(bodiesIn(await search(alice, 'får')), ['ett får']);
  assert.deepEqual(bodiesIn(await search(alice, 'far')), ['en far']);
  const reunion = await search(alice, 'reunion');
  assert.deepEqual(bodiesIn(reunion), ['La Réunion']);
  assert.deepEqual(reunion.highlights, ['reunion', 'réunion']);
  assert.deepEqual(bodiesIn(await search(alice, 'strasse')), ['Straße']);
  for (const term of [
    '" OR 1=1',
    'NEAR(far',
    'fa*',
    'words : far OR',
    '"',
    "'); DROP TABLE",
    '%',
    '_',
    '',
    '\0',
  ])
    assert.equal((await search(alice, term)).count, 0, term);
  assert.deepEqual(bodiesIn(await search(alice, '"en far"')), ['en far']);
  assert.deepEqual(bodiesIn(await search(alice, '"far en"')), []);
});

test('a search that is wrong is refused with what is wrong', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomEvents = (room_events: unknown) => ({ search_categories: { room_events } });
  const cases: [body: unknown, query: string, errcode: string][] = [
    [{}, '', 'M_INVALID_PARAM'],
    [[], '', 'M_BAD_JSON'],
    [{ search_categories: 1 }, '', 'M_BAD_JSON'],
    [roomEvents(1), '', 'M_BAD_JSON'],
    [roomEvents({}), '', 'M_MISSING_PARAM'],
    [roomEvents({ search_term: 1 }), '', 'M_BAD_JSON'],
    [roomEvents({ search_term: 'x'.repeat(1_001) }), '', 'M_INVALID_PARAM'],
    [roomEvents({ search_term: 'x '.repeat(51) }), '', 'M_INVALID_PARAM'],
    [roomEvents({ search_term: 'x', keys: 'content.body' }), '', 'M_BAD_JSON'],
    [roomEvents({ search_term: 'x', keys: ['content.url'] }), '', 'M_INVALID_PARAM'],
    [roomEvents({ search_term: 'x', order_by: 'age' }), '', 'M_INVALID_PARAM'],
    [roomEvents({ search_term: 'x', filter: [] }), '', 'M_BAD_JSON'],
    [roomEvents({ search_term: 'x', include_state: 1 }), '', 'M_BAD_JSON'],
    [roomEvents({ search_term: 'x', event_context: { before_limit: 'x' } }), '', 'M_BAD_JSON'],
    [roomEvents({ search_term: 'x', event_context: { after_limit: -1 } }), '', 'M_INVALID_PARAM'],
    [roomEvents({ search_term: 'x', groupings: { group_by: {} } }), '', 'M_INVALID_PARAM'],
    [roomEvents({ search_term: 'x', groupings: { group_by: [{ key: 'type' }] } }), '', 'M_INVALID_PARAM'],
    [roomEvents({ search_term: 'x' }), '?next_batch=x', 'M_INVALID_PARAM'],
    [roomEvents({ search_term: 'x', order_by: 'recent' }), '?next_batch=r5_0_0', 'M_INVALID_PARAM'],
    [roomEvents({ search_term: 'x' }), '?next_batch=r5_-1_0', 'M_INVALID_PARAM'],
  ];
  for (const [body, query, errcode] of cases) {
    const answer = await alice.try('POST', `/search${query}`, body);
    assert.deepEqual(
      [answer.status, answer.body.errcode],
      [400, errcode],
      JSON.stringify(body).slice(0, 100),
    );
  }
  assert.deepEqual(await alice.post('/search', { search_categories: {} }), { search_categories: {} });
  const stranger = await fetch(`${server.clientUrl}/_matrix/client/v3/search`, {
    method: 'POST',
    body: '{}',
  });
  assert.equal(stranger.status, 401);
});

test('searches are limited in their number', async () => {
  await using server = await startServer({ rateLimits: true });
  const alice = await register(server);
  const statuses = await Promise.all(
    Array.from(
      { length: 40 },
      async () => (await alice.try('POST', '/search', { search_categories: {} })).status,
    ),
  );
  assert.ok(statuses.includes(429));
});

test('an index that is switched off is emptied, and built anew once it is on again', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  await alice.send(roomId, 'elephant');
  assert.equal((await search(alice, 'elephant')).count, 1);
  await server.restart({ search: false });
  const body = { search_categories: { room_events: { search_term: 'elephant' } } };
  const off = await alice.try('POST', '/search', body);
  assert.deepEqual([off.status, off.body.errcode], [403, 'M_FORBIDDEN']);
  await alice.send(roomId, 'another elephant');
  await server.restart({ search: true });
  assert.equal((await search(alice, 'elephant')).count, 2);
});

test('history that was fetched later is found, behind what was there before it', async () => {
  await using fleet = await startFleet(1);
  const server = fleet.at(0);
  const alice = await register(server);
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  room.message(peer.user('mallory'), 'tale from before the join');
  await alice.join(room.roomId, [peer.name]);
  await alice.send(room.roomId, 'tale from after the join');
  assert.equal((await search(alice, 'tale')).count, 1);
  await alice.get(`/rooms/${encodeURIComponent(room.roomId)}/messages?dir=b&limit=50`);
  const found = await search(alice, 'tale', { order_by: 'recent' });
  assert.deepEqual(bodiesIn(found), ['tale from after the join', 'tale from before the join']);
});

test('what is purged is found no more, and an index that is built anew finds the same', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open', KURIR_RATE_LIMITS: 'false' };
  const kurir = (words: string) => run('server/kurir.ts', words.split(' '), { env });
  let alice: TestClient;
  let found: Body;
  {
    await using server = await startProcess(env);
    alice = await register(server);
    const roomId = await alice.createRoom();
    const sent: string[] = [];
    for (let index = 0; index < 4; index++) sent.push(await alice.send(roomId, `whale ${index}`));
    assert.equal((await search(alice, 'whale')).count, 4);
    assert.equal((await kurir(`room purge ${roomId} --before ${sent[2]}`)).code, 0);
    found = await search(alice, 'whale');
    assert.deepEqual(bodiesIn(found), ['whale 3', 'whale 2']);
    const rebuilt = await kurir('search rebuild');
    assert.match(rebuilt.out, /The index is being built anew/);
    assert.deepEqual(bodiesIn(await search(alice, 'whale')), ['whale 3', 'whale 2']);
    await server.stop();
  }
  assert.match((await kurir('search rebuild')).out, /when the server starts/);
  assert.equal((await kurir('db check')).code, 0);
  const off = await run('server/kurir.ts', ['search', 'rebuild'], { env: { ...env, KURIR_SEARCH: 'false' } });
  assert.deepEqual([off.code, /switched off/.test(off.err)], [1, true]);
  assert.equal((await kurir('search rebuild now')).code, 2);
  await using again = await startProcess(env);
  const same = await login(again, alice.userId, alice.password);
  assert.deepEqual(bodiesIn(await search(same, 'whale')), bodiesIn(found));
});

test('a filter may name very many types and senders', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  for (let index = 0; index < 60; index++) await alice.send(roomId, 'sand');
  const many = Array.from({ length: 10_000 }, (_, index) => `*a*${index}`);
  const filter = { not_types: many, not_senders: many };
  assert.equal((await search(alice, 'sand', { filter })).count, 60);
  assert.equal((await search(alice, 'sand', { filter: { types: many } })).count, 0);
  assert.equal((await search(alice, 'sand', { filter: { senders: many } })).count, 0);
});

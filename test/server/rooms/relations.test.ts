/**
 * What relates to an event, asked for and bundled:
 * https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { edit, idsOf, relate, relationsPath, shown } from '#test/harness/relations.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

let server: TestServer;
let alice: TestClient;
let bob: TestClient;

before(async () => {
  server = await startServer();
  [alice, bob] = await Promise.all([register(server), register(server)]);
});

after(() => server[Symbol.asyncDispose]());

async function ignore(user: TestClient, others: readonly TestClient[]): Promise<void> {
  const list = Object.fromEntries(others.map(({ userId }) => [userId, {}]));
  await user.put(`/user/${user.userId}/account_data/m.ignored_user_list`, { ignored_users: list });
}

test('relations: the newest first, by kind and by type; replies and what is no relation are not among them', async () => {
  const roomId = await alice.createRoom();
  const root = await alice.send(roomId, 'root');
  const thread = await relate(alice, roomId, 'm.thread', root);
  const dummy = await relate(alice, roomId, 'm.thread', root, { type: 'm.dummy' });
  const edited = await edit(alice, roomId, root, 'edited');
  const custom = await relate(alice, roomId, 'org.example.kind', root);
  await alice.sendEvent(roomId, 'm.room.message', {
    'm.relates_to': { 'm.in_reply_to': { event_id: root } },
  });
  await alice.sendEvent(roomId, 'm.room.message', { 'm.relates_to': { rel_type: 7, event_id: root } });
  await alice.sendEvent(roomId, 'm.room.message', {
    'm.relates_to': { rel_type: 'No Kind', event_id: root },
  });
  await alice.sendEvent(roomId, 'm.room.message', { 'm.relates_to': [] });
  await relate(alice, roomId, 'm.thread', 'no event id');
  const ask = async (rest = '') => idsOf((await alice.get(relationsPath(roomId, root, rest))).chunk);
  assert.deepEqual(await ask(), [custom, edited, dummy, thread]);
  assert.deepEqual(await ask('?dir=f'), [thread, dummy, edited, custom]);
  assert.deepEqual(await ask('/m.thread'), [dummy, thread]);
  assert.deepEqual(await ask('/m.thread/m.dummy'), [dummy]);
  assert.deepEqual(await ask('/m.reference'), []);
  const { chunk, ...rest } = await alice.get(relationsPath(roomId, root, '/m.replace'));
  assert.equal(chunk[0].room_id, roomId);
  assert.equal(chunk[0].content['m.new_content'].body, 'edited');
  assert.deepEqual(rest, {}, 'the first and last page has no tokens');
});

test('relations: pages in both directions join, tokens of /sync serve, and `to` ends them', async () => {
  const roomId = await alice.createRoom();
  const root = await alice.send(roomId, 'root');
  const { next_batch: start } = await alice.sync();
  const sent: string[] = [];
  for (let count = 0; count < 7; count++) sent.push(await relate(alice, roomId, 'm.thread', root));
  const { next_batch: middle } = await alice.sync();
  for (let count = 0; count < 3; count++) sent.push(await relate(alice, roomId, 'm.thread', root));
  for (const [direction, expected] of [
    ['f', sent],
    ['b', sent.toReversed()],
  ] as const) {
    for (const kind of ['', '/m.thread', '/m.thread/m.room.message']) {
      const found: string[] = [];
      let from = '';
      for (let pages = 0; pages < 4; pages++) {
        const page = await alice.get(relationsPath(roomId, root, `${kind}?limit=3&dir=${direction}${from}`));
        found.push(...idsOf(page.chunk));
        assert.equal(page.prev_batch === undefined, from === '');
        if (page.next_batch === undefined) break;
        from = `&from=${page.next_batch}`;
      }
      assert.deepEqual(found, expected);
    }
  }
  const after = await alice.get(relationsPath(roomId, root, `?dir=f&from=${middle}`));
  assert.deepEqual(idsOf(after.chunk), sent.slice(7));
  const between = await alice.get(relationsPath(roomId, root, `?from=${middle}&to=${start}`));
  assert.deepEqual(idsOf(between.chunk), sent.slice(0, 7).reverse());
});

test('relations: parameters that make no sense are refused, and so are strangers', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const root = await alice.send(roomId, 'root');
  for (const query of ['?dir=x', '?from=x', '?to=x', '?limit=x', '?recurse=x']) {
    const { status, body } = await alice.try('GET', relationsPath(roomId, root, query));
    assert.deepEqual([status, body.errcode], [400, 'M_INVALID_PARAM'], query);
  }
  for (const eventId of [root, '$unknown']) {
    const { status, body } = await bob.try('GET', relationsPath(roomId, eventId));
    assert.deepEqual([status, body.errcode], [404, 'M_NOT_FOUND']);
  }
  const other = await alice.createRoom();
  assert.equal((await alice.try('GET', relationsPath(other, root))).status, 404, 'of another room');
});

test('relations: `recurse` follows three generations, filters each of them, and says how deep it went', async () => {
  const roomId = await alice.createRoom();
  const root = await alice.send(roomId, 'root');
  const child = await relate(alice, roomId, 'm.thread', root);
  const reaction = await relate(alice, roomId, 'm.annotation', child, { type: 'm.reaction', key: 'a' });
  const third = await relate(alice, roomId, 'm.reference', reaction);
  await relate(alice, roomId, 'm.reference', third);
  const hidden = await relate(alice, roomId, 'm.annotation', third, { type: 'm.reaction', key: 'b' });
  const ask = (rest: string) => alice.get(relationsPath(roomId, root, rest));
  const all = await ask('?recurse=true');
  assert.deepEqual(idsOf(all.chunk), [third, reaction, child]);
  assert.equal(all.recursion_depth, 3);
  assert.deepEqual(idsOf((await ask('/m.reference?recurse=true&dir=f')).chunk), [third]);
  assert.deepEqual(idsOf((await ask('/m.annotation/m.reaction?recurse=true')).chunk), [reaction]);
  const first = await ask('?recurse=true&limit=2');
  assert.deepEqual(idsOf(first.chunk), [third, reaction]);
  assert.deepEqual(idsOf((await ask(`?recurse=true&from=${first.next_batch}`)).chunk), [child]);
  const direct = await ask('?recurse=false');
  assert.deepEqual([idsOf(direct.chunk), direct.recursion_depth], [[child], 1]);
  assert.ok(!idsOf(all.chunk).includes(hidden));
});

test('m.replace: the most recent edit by the same sender is bundled, formatted as normal, and the content stays', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const root = await alice.send(roomId, 'original');
  const plain = await alice.send(roomId, 'nothing relates to this');
  await edit(alice, roomId, root, 'first');
  const last = await edit(alice, roomId, root, 'second');
  await edit(bob, roomId, root, 'forged');
  await relate(alice, roomId, 'm.replace', root);
  await edit(alice, roomId, root, 'of another type', 'm.dummy');
  await alice.put(`${inRoom(roomId)}/state/m.room.message/`, {
    'm.new_content': { body: 'state' },
    'm.relates_to': { rel_type: 'm.replace', event_id: root },
  });
  await edit(alice, roomId, last, 'an edit of an edit');
  for (const event of await shown(bob, roomId, root)) {
    assert.equal(event.content.body, 'original');
    const replaced = event.unsigned['m.relations']['m.replace'];
    assert.equal(replaced.event_id, last);
    assert.equal(replaced.content['m.new_content'].body, 'second');
    assert.equal(replaced.room_id, roomId);
    assert.equal(replaced.sender, alice.userId);
    assert.equal(typeof replaced.unsigned.age, 'number');
    assert.deepEqual(Object.keys(event.unsigned['m.relations']), ['m.replace']);
  }
  for (const eventId of [last, plain]) {
    for (const event of await shown(bob, roomId, eventId))
      assert.equal(event.unsigned['m.relations'], undefined);
  }
});

test('m.replace: an encrypted edit needs no m.new_content that the server can read', async () => {
  const roomId = await alice.createRoom();
  const root = await alice.sendEvent(roomId, 'm.room.encrypted', { ciphertext: 'x' });
  const edited = await relate(alice, roomId, 'm.replace', root, { type: 'm.room.encrypted' });
  for (const event of await shown(alice, roomId, root))
    assert.equal(event.unsigned['m.relations']['m.replace'].event_id, edited);
});

test('m.replace: a redacted edit does not count; of a redacted original none is bundled', async () => {
  const roomId = await alice.createRoom();
  const root = await alice.send(roomId, 'original');
  const first = await edit(alice, roomId, root, 'first');
  const second = await edit(alice, roomId, root, 'second');
  await relate(alice, roomId, 'm.reference', root);
  const latest = async () => {
    const { unsigned } = await alice.get(`${inRoom(roomId)}/event/${root}`);
    return unsigned['m.relations']['m.replace']?.event_id;
  };
  assert.equal(await latest(), second);
  await alice.put(`${inRoom(roomId)}/redact/${second}/r1`);
  assert.equal(await latest(), first);
  const { chunk } = await alice.get(relationsPath(roomId, root, '/m.replace'));
  assert.deepEqual(idsOf(chunk), [first]);
  await alice.put(`${inRoom(roomId)}/redact/${root}/r2`);
  assert.equal(await latest(), undefined);
  assert.equal((await alice.get(relationsPath(roomId, root))).chunk.length, 2, 'children stay');
});

test('m.reference: the ids of all that refer to an event; annotations and state events are not bundled', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const root = await alice.send(roomId, 'root');
  const references = [
    await relate(alice, roomId, 'm.reference', root),
    await relate(bob, roomId, 'm.reference', root),
  ];
  await relate(bob, roomId, 'm.annotation', root, { type: 'm.reaction', key: '👍' });
  for (const event of await shown(bob, roomId, root)) {
    assert.deepEqual(event.unsigned['m.relations'], {
      'm.reference': { chunk: references.map((eventId) => ({ event_id: eventId })) },
    });
  }
  const { event_id: topic } = await alice.put(`${inRoom(roomId)}/state/m.room.topic`, { topic: 'state' });
  await relate(bob, roomId, 'm.reference', topic);
  const { unsigned } = await alice.get(`${inRoom(roomId)}/event/${topic}`);
  assert.equal(unsigned['m.relations'], undefined);
  const { chunk } = await alice.get(relationsPath(roomId, topic));
  assert.equal(chunk.length, 1);
});

test('m.reference: of more than a hundred references the newest are bundled', async () => {
  const roomId = await alice.createRoom();
  const root = await alice.send(roomId, 'root');
  const sent = await Promise.all(
    Array.from({ length: 105 }, () => relate(alice, roomId, 'm.reference', root)),
  );
  const { unsigned } = await alice.get(`${inRoom(roomId)}/event/${root}`);
  const bundled = idsOf(unsigned['m.relations']['m.reference'].chunk);
  assert.equal(bundled.length, 100);
  const { chunk } = await alice.get(relationsPath(roomId, root, '?dir=f&limit=200'));
  assert.deepEqual(new Set(idsOf(chunk)), new Set(sent));
  assert.deepEqual(bundled, idsOf(chunk).slice(5));
});

test('/sync bundles what relates to events of a timeline that is limited, and of no other', async () => {
  const roomId = await alice.createRoom();
  const { next_batch: since } = await alice.sync();
  const root = await alice.send(roomId, 'original');
  const edited = await edit(alice, roomId, root, 'edited');
  const timelineOf = async (limit: number) => {
    const filter = { room: { rooms: [roomId], timeline: { limit } } };
    const { timeline } = (await alice.sync({ since, filter })).rooms.join[roomId];
    return timeline;
  };
  const whole = await timelineOf(10);
  assert.deepEqual([whole.limited, whole.events[0].unsigned['m.relations']], [false, undefined]);
  await alice.sendEvent(roomId, 'm.dummy', {});
  await alice.sendEvent(roomId, 'm.dummy', {});
  const cut = (await alice.sync({ filter: { room: { timeline: { limit: 4 } } } })).rooms.join[roomId]
    .timeline;
  assert.equal(cut.limited, true);
  const shownRoot = cut.events.find((event: Body) => event.event_id === root);
  assert.equal(shownRoot.unsigned['m.relations']['m.replace'].event_id, edited);
  assert.equal(shownRoot.room_id, undefined);
  assert.equal(typeof shownRoot.unsigned.transaction_id, 'string');
  const other = await login(server, alice.userId, alice.password);
  const filtered = { room: { timeline: { limit: 4, not_types: ['m.other'] } } };
  const again = (await other.sync({ filter: filtered })).rooms.join[roomId].timeline;
  const seen = again.events.find((event: Body) => event.event_id === root);
  assert.equal(seen.unsigned['m.relations']['m.replace'].event_id, edited, 'also where a filter is at work');
});

test('state is served without what relates to it', async () => {
  const roomId = await alice.createRoom();
  const state: Body[] = await alice.get(`${inRoom(roomId)}/state`);
  for (const { event_id: eventId } of state) await relate(alice, roomId, 'm.reference', eventId);
  for (const event of await alice.get(`${inRoom(roomId)}/state`))
    assert.equal(event.unsigned?.['m.relations'], undefined);
});

test('who left sees what related to an event while they were there, and nothing later', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const root = await alice.send(roomId, 'original');
  const early = [
    await edit(alice, roomId, root, 'first'),
    await relate(alice, roomId, 'm.reference', root),
    await relate(alice, roomId, 'm.thread', root),
  ];
  await bob.post(`${inRoom(roomId)}/leave`);
  await edit(alice, roomId, root, 'secret');
  await relate(alice, roomId, 'm.reference', root);
  await relate(alice, roomId, 'm.thread', root);
  const { unsigned } = await bob.get(`${inRoom(roomId)}/event/${root}`);
  const bundle = unsigned['m.relations'];
  assert.equal(bundle['m.replace'].event_id, early[0]);
  assert.deepEqual(idsOf(bundle['m.reference'].chunk), [early[1]]);
  assert.equal(bundle['m.thread'].latest_event.event_id, early[2]);
  assert.equal(bundle['m.thread'].count, 1);
  const { chunk } = await bob.get(relationsPath(roomId, root));
  assert.deepEqual(idsOf(chunk), early.toReversed());
});

test('who came late sees no child from before they could see any', async () => {
  const roomId = await alice.createRoom({
    initial_state: [
      { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } },
    ],
  });
  const root = await alice.send(roomId, 'root');
  const secret = await relate(alice, roomId, 'm.reference', root);
  await bob.join(roomId);
  assert.equal((await bob.try('GET', relationsPath(roomId, root))).status, 404);
  const later = await relate(alice, roomId, 'm.reference', secret);
  assert.equal((await bob.try('GET', relationsPath(roomId, secret))).status, 404);
  assert.equal((await bob.get(`${inRoom(roomId)}/event/${later}`)).event_id, later);
});

test('an edit that was sent while the reader was away is not shown to them, where history is for those who are there', async () => {
  const roomId = await alice.createRoom({
    initial_state: [
      { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } },
    ],
  });
  await bob.join(roomId);
  const root = await alice.send(roomId, 'original');
  await bob.post(`${inRoom(roomId)}/leave`);
  await edit(alice, roomId, root, 'secret');
  await relate(alice, roomId, 'm.reference', root);
  await relate(alice, roomId, 'm.thread', root);
  await bob.join(roomId);
  for (const event of await shown(bob, roomId, root)) assert.equal(event.unsigned['m.relations'], undefined);
  assert.deepEqual((await bob.get(relationsPath(roomId, root))).chunk, []);
  assert.deepEqual((await bob.get(`/_matrix/client/v1${inRoom(roomId)}/threads`)).chunk, []);
});

test('events of ignored users do not count', async () => {
  const carol = await register(server);
  const roomId = await alice.createRoom();
  await Promise.all([bob.join(roomId), carol.join(roomId)]);
  const root = await bob.send(roomId, 'root');
  const kept = [await relate(bob, roomId, 'm.reference', root), await relate(bob, roomId, 'm.thread', root)];
  await relate(carol, roomId, 'm.reference', root);
  await relate(carol, roomId, 'm.thread', root);
  await relate(carol, roomId, 'm.thread', root);
  await ignore(alice, [carol]);
  const { unsigned } = await alice.get(`${inRoom(roomId)}/event/${root}`);
  const bundle = unsigned['m.relations'];
  assert.deepEqual(idsOf(bundle['m.reference'].chunk), [kept[0]]);
  assert.equal(bundle['m.thread'].count, 1);
  assert.equal(bundle['m.thread'].latest_event.event_id, kept[1]);
  assert.deepEqual(idsOf((await alice.get(relationsPath(roomId, root))).chunk), kept.toReversed());
  const seenByBob = (await bob.get(`${inRoom(roomId)}/event/${root}`)).unsigned['m.relations'];
  assert.equal(seenByBob['m.thread'].count, 3);
  await ignore(alice, []);
});

test('a user annotates an event once with a key, until that is redacted', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const root = await alice.send(roomId, 'root');
  const content = { 'm.relates_to': { rel_type: 'm.annotation', event_id: root, key: '👍' } };
  const react = (user: TestClient, type: string, body: object, txn: string) =>
    user.try('PUT', `${inRoom(roomId)}/send/${type}/${txn}`, body);
  const first = await react(alice, 'm.reaction', content, 'a');
  assert.equal(first.status, 200);
  const repeated = await react(alice, 'm.reaction', content, 'a');
  assert.equal(repeated.body.event_id, first.body.event_id, 'the same transaction');
  const second = await react(alice, 'm.reaction', content, 'b');
  assert.deepEqual([second.status, second.body.errcode], [400, 'M_DUPLICATE_ANNOTATION']);
  const otherKey = { 'm.relates_to': { ...content['m.relates_to'], key: '👎' } };
  assert.equal((await react(alice, 'm.reaction', otherKey, 'c')).status, 200);
  assert.equal((await react(alice, 'm.other', content, 'd')).status, 200, 'another type');
  assert.equal((await react(bob, 'm.reaction', content, 'e')).status, 200, 'another sender');
  await alice.put(`${inRoom(roomId)}/redact/${first.body.event_id}/r`);
  assert.equal((await react(alice, 'm.reaction', content, 'f')).status, 200, 'once the first is redacted');
});

test('of the same annotation, sent many times at once, one is taken', async () => {
  const roomId = await alice.createRoom();
  const root = await alice.send(roomId, 'root');
  const content = { 'm.relates_to': { rel_type: 'm.annotation', event_id: root, key: '👍' } };
  const sent = await Promise.all(
    Array.from({ length: 8 }, (_, txn) =>
      alice.try('PUT', `${inRoom(roomId)}/send/m.reaction/many${txn}`, content),
    ),
  );
  assert.deepEqual(sent.map(({ status }) => status).sort(), [200, ...Array(7).fill(400)]);
});

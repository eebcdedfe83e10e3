/** https://spec.matrix.org/v1.19/client-server-api/#threading */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
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

const threadsPath = (roomId: string, query = '') => `/_matrix/client/v1${inRoom(roomId)}/threads${query}`;

async function threadsOf(user: TestClient, roomId: string, query = ''): Promise<Body[]> {
  return (await user.get(threadsPath(roomId, query))).chunk;
}

/** Root and last event of each thread. */
function pairsOf(roots: readonly Body[]): string[][] {
  return roots.map((root) => [root.event_id, root.unsigned['m.relations']['m.thread'].latest_event.event_id]);
}

test('m.thread: how many events, the last one with what relates to it, and whether the reader takes part', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const root = await bob.send(roomId, 'root');
  await relate(bob, roomId, 'm.thread', root);
  const last = await relate(bob, roomId, 'm.thread', root);
  const edited = await edit(bob, roomId, last, 'edited');
  const reference = await relate(bob, roomId, 'm.reference', last);
  for (const event of await shown(alice, roomId, root)) {
    const thread = event.unsigned['m.relations']['m.thread'];
    assert.deepEqual([thread.count, thread.current_user_participated], [2, false]);
    const latest = thread.latest_event;
    assert.deepEqual([latest.event_id, latest.room_id, latest.type], [last, roomId, 'm.room.message']);
    assert.equal(latest.unsigned['m.relations']['m.replace'].event_id, edited);
    assert.deepEqual(idsOf(latest.unsigned['m.relations']['m.reference'].chunk), [reference]);
  }
  const participated = async (user: TestClient) => {
    const { unsigned } = await user.get(`${inRoom(roomId)}/event/${root}`);
    return unsigned['m.relations']['m.thread'].current_user_participated;
  };
  assert.equal(await participated(bob), true, 'the sender of the root');
  await relate(alice, roomId, 'm.thread', root);
  assert.equal(await participated(alice), true, 'the sender of an event of the thread');
});

test('m.thread: a redacted event leaves the thread, and the last one redacted leaves none', async () => {
  const roomId = await alice.createRoom();
  const root = await alice.send(roomId, 'root');
  const first = await relate(alice, roomId, 'm.thread', root);
  const second = await relate(alice, roomId, 'm.thread', root);
  await alice.put(`${inRoom(roomId)}/redact/${second}/r1`);
  assert.deepEqual(pairsOf(await threadsOf(alice, roomId)), [[root, first]]);
  const { unsigned } = await alice.get(`${inRoom(roomId)}/event/${root}`);
  assert.equal(unsigned['m.relations']['m.thread'].count, 1);
  await alice.put(`${inRoom(roomId)}/redact/${first}/r2`);
  assert.deepEqual(await threadsOf(alice, roomId), []);
});

test('m.thread: the thread of a redacted root stays', async () => {
  const roomId = await alice.createRoom();
  const root = await alice.send(roomId, 'root');
  const last = await relate(alice, roomId, 'm.thread', root);
  await alice.put(`${inRoom(roomId)}/redact/${root}/r1`);
  const [thread] = await threadsOf(alice, roomId);
  assert.deepEqual(pairsOf([thread]), [[root, last]]);
  assert.deepEqual(thread.content, {});
});

test('an event that relates to another cannot begin a thread; a reply can, and so can an event that is not here', async () => {
  const roomId = await alice.createRoom();
  const root = await alice.send(roomId, 'root');
  const child = await relate(alice, roomId, 'm.thread', root);
  const body = { 'm.relates_to': { rel_type: 'm.thread', event_id: child } };
  const { status, body: error } = await alice.try('PUT', `${inRoom(roomId)}/send/m.room.message/n1`, body);
  assert.deepEqual([status, error.errcode], [400, 'M_UNKNOWN']);
  const reply = { body: 'reply', 'm.relates_to': { 'm.in_reply_to': { event_id: root } } };
  const replyId = await alice.sendEvent(roomId, 'm.room.message', reply);
  await relate(alice, roomId, 'm.thread', replyId);
  await relate(alice, roomId, 'm.thread', '$elsewhere');
  assert.deepEqual(
    (await threadsOf(alice, roomId)).map((event) => event.event_id),
    [replyId, root],
  );
});

test('threads: by their last event, in pages, all of them or those in which the reader takes part', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const roots: string[] = [];
  for (let count = 0; count < 5; count++) roots.push(await alice.send(roomId, `root ${count}`));
  for (const root of roots) await relate(alice, roomId, 'm.thread', root);
  const [r0 = '', r1 = '', r2 = '', r3 = '', r4 = ''] = roots;
  const last = await relate(bob, roomId, 'm.thread', r1);
  const bobs = await bob.send(roomId, 'root of bob');
  await relate(alice, roomId, 'm.thread', bobs);
  const order = [bobs, r1, r4, r3, r2, r0];
  assert.deepEqual(idsOf(await threadsOf(bob, roomId)), order);
  assert.deepEqual(pairsOf(await threadsOf(bob, roomId))[1], [r1, last]);
  for (const limit of [1, 2, 4]) {
    const found: string[] = [];
    let from = '';
    for (let pages = 0; pages < 8; pages++) {
      const page = await bob.get(threadsPath(roomId, `?limit=${limit}${from}`));
      assert.ok(page.chunk.length <= limit);
      found.push(...idsOf(page.chunk));
      if (page.next_batch === undefined) break;
      from = `&from=${page.next_batch}`;
    }
    assert.deepEqual(found, order, `pages of ${limit}`);
  }
  assert.deepEqual(idsOf(await threadsOf(bob, roomId, '?include=participated')), [bobs, r1]);
  assert.deepEqual(idsOf(await threadsOf(bob, roomId, '?include=participated&limit=1')), [bobs]);
});

test('threads: of strangers, and with parameters that make no sense, they are refused', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const stranger = await bob.try('GET', threadsPath(roomId));
  assert.deepEqual([stranger.status, stranger.body.errcode], [403, 'M_FORBIDDEN']);
  for (const query of ['?include=some', '?from=x', '?limit=x', '?limit=0']) {
    const { status, body } = await alice.try('GET', threadsPath(roomId, query));
    assert.deepEqual([status, body.errcode], [400, 'M_INVALID_PARAM'], query);
  }
});

test('threads: the root of an ignored user is shown redacted, and their events do not count', async () => {
  const carol = await register(server);
  const roomId = await alice.createRoom();
  await Promise.all([bob.join(roomId), carol.join(roomId)]);
  const root = await carol.send(roomId, 'root of carol');
  const reply = await relate(alice, roomId, 'm.thread', root);
  await relate(carol, roomId, 'm.thread', root);
  const onlyCarol = await alice.send(roomId, 'root of alice');
  await relate(carol, roomId, 'm.thread', onlyCarol);
  const ignored = { ignored_users: { [carol.userId]: {} } };
  await bob.put(`/user/${bob.userId}/account_data/m.ignored_user_list`, ignored);
  const roots = await threadsOf(bob, roomId);
  assert.deepEqual(pairsOf(roots), [[root, reply]]);
  assert.deepEqual(roots[0].content, {});
  assert.equal(roots[0].unsigned['m.relations']['m.thread'].count, 1);
  assert.equal((await threadsOf(alice, roomId)).length, 2);
});

test('threads: who left sees those of their time', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const root = await alice.send(roomId, 'root');
  const reply = await relate(alice, roomId, 'm.thread', root);
  const late = await alice.send(roomId, 'another root');
  await bob.post(`${inRoom(roomId)}/leave`);
  await relate(alice, roomId, 'm.thread', root);
  await relate(alice, roomId, 'm.thread', late);
  assert.deepEqual(pairsOf(await threadsOf(bob, roomId)), [[root, reply]]);
});

test('a receipt of a thread is for what is in it or relates to its root; one of `main` for what is in no thread', async () => {
  const roomId = await alice.createRoom();
  const root = await alice.send(roomId, 'root');
  const inMain = await alice.send(roomId, 'in main');
  const toRoot = await relate(alice, roomId, 'm.annotation', root, { type: 'm.reaction', key: 'a' });
  const inThread = await relate(alice, roomId, 'm.thread', root);
  const reaction = await relate(alice, roomId, 'm.annotation', inThread, { type: 'm.reaction', key: 'a' });
  const toReaction = await relate(alice, roomId, 'm.reference', reaction);
  const receipt = async (eventId: string, threadId: string) => {
    const path = `${inRoom(roomId)}/receipt/m.read/${encodeURIComponent(eventId)}`;
    return (await alice.try('POST', path, { thread_id: threadId })).status;
  };
  for (const eventId of [inThread, reaction, toReaction]) {
    assert.equal(await receipt(eventId, root), 200);
    assert.equal(await receipt(eventId, 'main'), 400);
  }
  assert.equal(await receipt(inMain, root), 400);
  // In no thread, but "related to the thread_id": what is read is the thread up to there.
  assert.equal(await receipt(toRoot, root), 200);
  for (const eventId of [inMain, toRoot]) assert.equal(await receipt(eventId, 'main'), 200);
  assert.deepEqual([await receipt(root, root), await receipt(root, 'main')], [200, 200]);
  await alice.put(`${inRoom(roomId)}/redact/${inThread}/r`);
  assert.equal(await receipt(inThread, root), 200, 'of what is redacted we cannot say where it belongs');
  assert.equal(await receipt(inMain, '$unknown'), 400);
});

test('what relates to events is as it was after a restart', async () => {
  await using own = await startServer();
  const user = await register(own);
  const roomId = await user.createRoom();
  const root = await user.send(roomId, 'root');
  const reply = await relate(user, roomId, 'm.thread', root);
  const before = await user.get(relationsPath(roomId, root));
  await own.restart();
  assert.deepEqual(idsOf((await user.get(relationsPath(roomId, root))).chunk), idsOf(before.chunk));
  assert.deepEqual(pairsOf(await threadsOf(user, roomId)), [[root, reply]]);
});

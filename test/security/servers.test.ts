/** Published attacks by servers, and by users on them: see rows.tsv. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import type { RoomId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { getRoom } from '#rooms/room.ts';
import { sql } from '#storage/sql.ts';
import { openSqlite } from '#storage/sqlite.ts';
import { startWitness } from '#test/federation/hostile/witness.ts';
import { type Body, register } from '#test/harness/client.ts';
import { inRoom, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const witness = await startWitness();
after(() => witness[Symbol.asyncDispose]());
afterEach(() => witness.check());
const { alice, server } = witness;

test('row 53: a room whose name, topic and alias are as long as can be is told in an invitation of a bounded size', async () => {
  await using peer = await witness.peer();
  const roomId = await alice.createRoom();
  const long = 'x'.repeat(60_000);
  const state: [type: string, content: JsonObject][] = [
    ['m.room.name', { name: long }],
    ['m.room.topic', { topic: long }],
    ['m.room.avatar', { url: `mxc://here.test/${long}` }],
    ['m.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2', padding: long }],
  ];
  for (const [type, content] of state) await alice.put(`${inRoom(roomId)}/state/${type}/`, content);
  const target = peer.user('invited');
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: target });
  const invitation = peer.peer.requests.find(({ url }) => url.includes('/invite/'));
  assert.ok(invitation);
  assert.ok(invitation.body.length < 300_000, String(invitation.body.length));
  const told: JsonObject[] = JSON.parse(invitation.body).invite_room_state;
  const types = told.map(({ type }) => type);
  assert.ok(types.includes('m.room.create'));
  assert.ok(types.includes('m.room.join_rules') && types.includes('m.room.name'));
  // And nothing that is for the server waits for it.
  await alice.post(`${inRoom(roomId)}/kick`, { user_id: target });
  await until(() => peer.asked('/send/').length > 0);
});

test('row 57: who is not in a room leaves no receipt there, and nobody by an event of another room', async () => {
  await using peer = await witness.peerWithGuest();
  const { roomId } = peer.room;
  const stranger = await register(server);
  const message = peer.room.message(peer.user('mallory'), 'read me');
  await peer.send(server, [message]);
  await untilMessages(alice, roomId, ['read me']);
  const elsewhere = await alice.createRoom();
  const other = await alice.send(elsewhere, 'of another room');
  const receipts = (eventId: string): [string, object][] => [
    ...['m.read', 'm.read.private', 'm.fully_read'].map((type): [string, object] => [
      `${inRoom(roomId)}/receipt/${type}/${encodeURIComponent(eventId)}`,
      {},
    ]),
    [`${inRoom(roomId)}/read_markers`, { 'm.fully_read': eventId, 'm.read': eventId }],
  ];
  for (const [path, body] of receipts(message.eventId)) {
    assert.equal((await stranger.try('POST', path, body)).status, 403, path);
  }
  for (const [path, body] of receipts(other))
    assert.equal((await alice.try('POST', path, body)).status, 404, path);
  await alice.post(`${inRoom(roomId)}/receipt/m.read/${encodeURIComponent(message.eventId)}`);
  const edus = () =>
    peer.peer.requests
      .filter(({ url }) => url.includes('/send/'))
      .flatMap(({ body }) => JSON.parse(body).edus as JsonObject[])
      .filter(({ edu_type: type }) => type === 'm.receipt');
  await until(() => edus().length > 0);
  const users = edus().flatMap(({ content }) =>
    Object.values(content as JsonObject).flatMap((byType) =>
      Object.keys((byType as Body)['m.read'] as object),
    ),
  );
  assert.deepEqual([...new Set(users)], [alice.userId], 'only what is allowed is sent');
});

test('row 87: chains and crowds of relations are answered in bounded pages, by ours and by other servers', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const root = room.message(mallory, 'root');
  const related = (target: string, rel: JsonObject, type = 'm.room.message') =>
    room.send(mallory, { type, content: { body: 'x', 'm.relates_to': { event_id: target, ...rel } } });
  const relations = [root];
  for (let last = root; relations.length < 300; ) {
    last = related(last.eventId, { rel_type: 'm.thread' });
    relations.push(last);
  }
  for (let count = 0; count < 300; count++)
    relations.push(related(root.eventId, { rel_type: 'm.annotation', key: `${count}` }, 'm.reaction'));
  // What nobody has, and what is no id at all.
  relations.push(related('$nobody', { rel_type: 'm.thread' }), related('x', { rel_type: 'm.replace' }));
  const sentinel = room.message(mallory, 'the last one');
  relations.push(sentinel);
  for (let from = 0; from < relations.length; from += 50)
    await peer.send(server, relations.slice(from, from + 50));
  await untilMessages(alice, room.roomId, ['the last one']);
  const base = `/_matrix/client/v1${inRoom(room.roomId)}`;
  const path = `${base}/relations/${encodeURIComponent(root.eventId)}`;
  const page = await alice.get(`${path}?recurse=true&limit=1000000`);
  assert.ok(page.chunk.length <= 500, String(page.chunk.length));
  assert.ok(page.recursion_depth <= 3);
  for (const answer of [
    await alice.get(`${base}/threads?limit=1000000`),
    await alice.get(`${inRoom(room.roomId)}/messages?dir=b&limit=1000000`),
    await alice.sync(),
  ]) {
    assert.ok(JSON.stringify(answer).length < 4 * 1024 * 1024);
  }
});

test('row 91: a room whose create event is lost keeps neither the server from starting nor other rooms from going on', async () => {
  await using folder = await temporaryFolder();
  await using damaged = await startServer({ dataDir: folder.path, isDamaged: true });
  const user = await register(damaged);
  const [lost, kept] = [await user.createRoom({ name: 'lost' }), await user.createRoom({ name: 'kept' })];
  await user.send(lost, 'before');
  await user.send(kept, 'before');
  const { roomNid = 0 } = (await getRoom(damaged.ctx, lost as RoomId)) ?? {};
  await damaged.stop();
  const db = await openSqlite({ path: join(folder.path, 'kurir.db') });
  const forget = sql<[number]>(
    'test.forget',
    "DELETE FROM events WHERE room_nid = ? AND type = 'm.room.create'",
  );
  assert.equal(await db.write('test', (tx) => tx.run(forget, roomNid)), 1);
  await db.close();
  await damaged.start();
  await user.send(kept, 'after');
  const { rooms } = await user.sync();
  assert.ok(JSON.stringify(rooms.join[kept]).includes('after'));
  const refused = await user.try('PUT', `${inRoom(lost)}/send/m.room.message/lost`, { body: 'x' });
  assert.ok(refused.status >= 400 && refused.status < 500, String(refused.status));
  const late = await user.createRoom();
  await user.send(late, 'and new ones');
});

test('row 177: a server that joins and leaves without end is held back, and no other', async () => {
  await using strict = await startWitness({ rateLimits: true });
  await using peer = await strict.peer();
  await using other = await strict.peer();
  const roomId = await strict.alice.createRoom({ room_version: '11' });
  const memberships = async (from: typeof peer, name: string): Promise<number> => {
    const user = from.user(name);
    const path = `/_matrix/federation/v1/make_join/${encodeURIComponent(roomId)}/${encodeURIComponent(user)}`;
    const template = await from.request(strict.server, { path: `${path}?ver=11` });
    if (template.status !== 200) return template.status;
    const event = from.signed(template.body.event, '11');
    const send = `/_matrix/federation/v2/send_join/${encodeURIComponent(roomId)}/${encodeURIComponent(event.eventId)}`;
    return (await from.request(strict.server, { method: 'PUT', path: send, body: event.json })).status;
  };
  const statuses: number[] = [];
  // One after the other, as fast as they are answered.
  for (let count = 0; count < 60; count++) statuses.push(await memberships(peer, `user${count}`));
  assert.equal(statuses[0], 200);
  assert.ok(statuses.includes(429), 'it is held back');
  assert.equal(await memberships(other, 'somebody'), 200, 'and no other');
  await untilMember(strict.alice, roomId, other.user('somebody'), 'join');
  await strict.check();
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const path = (roomId: string, rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;

test('state: set and read with a state key, without one, and with an empty one', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  await alice.put(path(roomId, 'state/test.thing/key'), { n: 1 });
  await alice.put(path(roomId, 'state/test.thing/'), { n: 2 });
  assert.deepEqual(await alice.get(path(roomId, 'state/test.thing/key')), { n: 1 });
  assert.deepEqual(await alice.get(path(roomId, 'state/test.thing')), { n: 2 });
  assert.deepEqual(await alice.get(path(roomId, 'state/test.thing/')), { n: 2 });
  const event = await alice.get(path(roomId, 'state/test.thing/key?format=event'));
  assert.equal(event.state_key, 'key');
  assert.equal(event.room_id, roomId);
  assert.equal((await alice.try('GET', path(roomId, 'state/test.other'))).body.errcode, 'M_NOT_FOUND');
  assert.equal((await alice.try('GET', path(roomId, 'state/test.thing?format=x'))).status, 400);
});

test('state: an event that replaces another tells of it', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom({ name: 'old' });
  const { event_id: first } = await alice.get(path(roomId, 'state/m.room.name?format=event'));
  const { next_batch: since } = await alice.sync();
  await alice.put(path(roomId, 'state/m.room.name'), { name: 'new' });
  const [event] = (await alice.sync({ since })).rooms.join[roomId].timeline.events;
  assert.deepEqual(event.unsigned.prev_content, { name: 'old' });
  assert.equal(event.unsigned.prev_sender, alice.userId);
  assert.equal(event.unsigned.replaces_state, first);
});

test('state: a canonical alias must be one, and point to the room', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const [roomId, other] = [await alice.createRoom(), await alice.createRoom({ room_alias_name: 'taken' })];
  const set = (content: object) => alice.try('PUT', path(roomId, 'state/m.room.canonical_alias'), content);
  assert.equal((await set({ alias: 'nonsense' })).body.errcode, 'M_INVALID_PARAM');
  assert.equal((await set({ alias: `#absent:${server.serverName}` })).body.errcode, 'M_BAD_ALIAS');
  assert.equal((await set({ alt_aliases: [`#taken:${server.serverName}`] })).body.errcode, 'M_BAD_ALIAS');
  assert.equal((await set({ alt_aliases: [7] })).body.errcode, 'M_INVALID_PARAM');
  const own = `#mine:${server.serverName}`;
  const bob = await register(server);
  await bob.join(roomId);
  await bob.put(`/directory/room/${encodeURIComponent(own)}`, { room_id: roomId });
  assert.equal((await set({ alias: own })).status, 200);
  await bob.delete(`/directory/room/${encodeURIComponent(own)}`);
  assert.equal((await set({ alias: own, more: true })).status, 200, 'what is there already is not checked');
  assert.ok(other);
});

test('state: what the room could never have is a bad request, and what only the sender may not set is forbidden', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom({ room_version: '12', preset: 'public_chat' });
  await bob.join(roomId);
  const set = async (who: typeof alice, type: string, content: object) => {
    const { status, body } = await who.try('PUT', path(roomId, `state/${type}`), content);
    return `${status} ${body.errcode}`;
  };
  const ofCreator = { users: { [alice.userId]: 100 } };
  assert.equal(await set(alice, 'm.room.power_levels', ofCreator), '400 M_BAD_JSON');
  assert.equal(await set(alice, 'm.room.power_levels', { users: { nobody: 1 } }), '400 M_BAD_JSON');
  assert.equal(await set(alice, 'm.room.power_levels', { ban: '50' }), '400 M_BAD_JSON');
  assert.equal(await set(alice, 'm.room.create', { room_version: '12' }), '400 M_BAD_JSON');
  assert.equal(await set(bob, 'm.room.power_levels', { users: { [bob.userId]: 100 } }), '403 M_FORBIDDEN');
  const stranger = await register(server);
  assert.equal(await set(stranger, 'm.room.create', { room_version: '12' }), '403 M_FORBIDDEN');
});

test('members: filtered by membership, and as they were at a token', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const carol = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const { next_batch: at } = await alice.sync();
  await carol.join(roomId);
  await bob.post(path(roomId, 'leave'));
  const members = async (query: string) =>
    (await alice.get(path(roomId, `members?${query}`))).chunk
      .map((event: Body) => `${event.state_key} ${event.content.membership}`)
      .sort();
  assert.deepEqual(await members('membership=join'), [`${alice.userId} join`, `${carol.userId} join`].sort());
  assert.deepEqual(await members('not_membership=join'), [`${bob.userId} leave`]);
  assert.deepEqual(await members(`at=${at}`), [`${alice.userId} join`, `${bob.userId} join`].sort());
  const { joined } = await alice.get(path(roomId, 'joined_members'));
  assert.deepEqual(Object.keys(joined).sort(), [alice.userId, carol.userId].sort());
  assert.equal((await bob.try('GET', path(roomId, 'joined_members'))).status, 403);
});

test('members: at a token from before the room they are as when the user came, and no earlier than they may see', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const carol = await register(server);
  const history = { type: 'm.room.history_visibility', content: { history_visibility: 'joined' } };
  const roomId = await alice.createRoom({ initial_state: [history] });
  const at = (await alice.sync()).rooms.join[roomId].timeline.prev_batch;
  await bob.join(roomId);
  const { next_batch: later } = await alice.sync();
  await carol.join(roomId);
  const members = async (who: typeof alice, token: string) =>
    (await who.get(path(roomId, `members?at=${token}`))).chunk.map((event: Body) => event.state_key).sort();
  assert.deepEqual(await members(alice, at), [alice.userId]);
  const all = [alice.userId, bob.userId, carol.userId].sort();
  assert.deepEqual(await members(alice, later), [alice.userId, bob.userId].sort());
  await bob.post(path(roomId, 'leave'));
  assert.deepEqual(await members(carol, at), all, 'who came last is told of when they came');
});

test('state: set twice with the same content by the same user it stays the same event', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const power = { users: { [alice.userId]: 100, [bob.userId]: 100 } };
  const roomId = await alice.createRoom({ room_version: '11', power_level_content_override: power });
  await bob.join(roomId);
  const set = (who: typeof alice, content: object) => who.put(path(roomId, 'state/test.thing/key'), content);
  const first = await set(alice, { a: 1, b: [2] });
  assert.deepEqual(await set(alice, { b: [2], a: 1 }), first);
  assert.notDeepEqual(await set(alice, { a: 2 }), first);
  const mine = await set(bob, { a: 2 });
  assert.notDeepEqual(mine, await set(alice, { a: 2 }), 'another sender says it anew');
});

test('events larger than 65536 bytes are 413 M_TOO_LARGE, as messages and as state', async () => {
  await using server = await startServer();
  const alice = await register(server);
  for (const version of ['6', '12']) {
    const roomId = await alice.createRoom({ room_version: version });
    const body = 'x'.repeat(66_000);
    for (const rest of ['send/m.room.message/1', 'state/test.large']) {
      const { status, body: answer } = await alice.try('PUT', path(roomId, rest), { body });
      assert.deepEqual([status, answer.errcode], [413, 'M_TOO_LARGE'], `${version} ${rest}`);
    }
  }
});

test('state: world-readable rooms are read by everybody, others are not', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const open = { type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } };
  const readable = await alice.createRoom({ initial_state: [open] });
  await alice.send(readable, 'hello');
  const { chunk } = await bob.get(path(readable, 'messages?dir=b&limit=1'));
  assert.equal(chunk[0].content.body, 'hello');
  assert.ok((await bob.get(path(readable, 'state'))).length > 0);
  const closed = await alice.createRoom();
  for (const rest of ['state', 'state/m.room.create', 'members', 'messages?dir=b', 'aliases']) {
    const answer = await bob.try('GET', path(closed, rest));
    assert.equal(answer.status, 403, rest);
    assert.equal(answer.body.errcode, 'M_FORBIDDEN');
  }
});

test('state: of many aliases at once none is asked for', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const aliases = Array.from({ length: 21 }, (_, number) => `#room${number}:other.test`);
  const answer = await alice.try('PUT', path(roomId, 'state/m.room.canonical_alias'), {
    alt_aliases: aliases,
  });
  assert.equal(`${answer.status} ${answer.body.errcode}`, '400 M_INVALID_PARAM');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, request } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const path = (alias: string) => `/directory/room/${encodeURIComponent(alias)}`;

test('aliases: made once, resolved by anybody, removed by their maker or by who has the power', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const alias = `#bobs:${server.serverName}`;
  await bob.put(path(alias), { room_id: roomId });
  assert.equal((await alice.try('PUT', path(alias), { room_id: roomId })).status, 409);
  const anybody = await request(server, 'GET', `/_matrix/client/v3${path(alias)}`);
  assert.deepEqual(anybody.body, { room_id: roomId, servers: [server.serverName] });
  const { aliases } = await alice.get(`/rooms/${encodeURIComponent(roomId)}/aliases`);
  assert.deepEqual(aliases, [alias]);

  const mine = `#alices:${server.serverName}`;
  await alice.put(path(mine), { room_id: roomId });
  assert.equal((await bob.try('DELETE', path(mine))).status, 403);
  await alice.delete(path(alias));
  assert.equal((await alice.try('GET', path(alias))).body.errcode, 'M_NOT_FOUND');
  assert.equal((await alice.try('GET', path('nonsense'))).body.errcode, 'M_INVALID_PARAM');
  const foreign = await alice.try('PUT', path('#a:elsewhere.test'), { room_id: roomId });
  assert.equal(foreign.body.errcode, 'M_INVALID_PARAM');
});

test('aliases: one that is deleted is no canonical alias any more, where its deleter may say so', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const [main, other, bobs] = ['main', 'other', 'bobs'].map((name) => `#${name}:${server.serverName}`) as [
    string,
    string,
    string,
  ];
  for (const alias of [main, other]) await alice.put(path(alias), { room_id: roomId });
  await bob.put(path(bobs), { room_id: roomId });
  const state = `/rooms/${encodeURIComponent(roomId)}/state/m.room.canonical_alias`;
  await alice.put(state, { alias: main, alt_aliases: [other, bobs], more: 1 });
  await bob.delete(path(bobs));
  assert.deepEqual(await alice.get(state), { alias: main, alt_aliases: [other, bobs], more: 1 });
  await alice.delete(path(other));
  assert.deepEqual(await alice.get(state), { alias: main, alt_aliases: [bobs], more: 1 });
  await alice.put(state, { alias: main });
  await alice.delete(path(main));
  assert.deepEqual(await alice.get(state), {});
});

test('aliases: of several that are deleted at once none stays canonical', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const all = Array.from({ length: 4 }, (_, number) => `#alias${number}:${server.serverName}`);
  for (const alias of all) await alice.put(path(alias), { room_id: roomId });
  const state = `/rooms/${encodeURIComponent(roomId)}/state/m.room.canonical_alias`;
  await alice.put(state, { alias: all[0], alt_aliases: all.slice(1) });
  let deleting: readonly Promise<Body>[] = [];
  await server.ctx.roomLocks.run(roomId, async () => {
    deleting = all.slice(0, 3).map((alias) => alice.delete(path(alias)));
    for (const alias of all.slice(0, 3))
      await until(async () => (await alice.try('GET', path(alias))).status === 404, 'that it is gone');
  });
  await Promise.all(deleting);
  assert.deepEqual(await alice.get(state), { alt_aliases: all.slice(3) });
});

test('public rooms: listed while published, found by a search, in pages', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const hidden = await alice.createRoom({ name: 'hidden' });
  const small = await alice.createRoom({ name: 'small', visibility: 'public' });
  const large = await alice.createRoom({ name: 'Large', topic: 'all of us', visibility: 'public' });
  await bob.join(large);
  const list = async (body: object = {}) =>
    (await bob.post('/publicRooms', body)).chunk.map((room: Body) => room.room_id);
  assert.deepEqual(await list(), [large, small]);
  assert.deepEqual(await list({ filter: { generic_search_term: 'ALL of' } }), [large]);
  const first = await bob.get('/publicRooms?limit=1');
  assert.equal(first.chunk[0].num_joined_members, 2);
  const second = await bob.get(`/publicRooms?limit=1&since=${encodeURIComponent(first.next_batch)}`);
  assert.deepEqual(
    second.chunk.map((room: Body) => room.room_id),
    [small],
  );

  const visibility = `/directory/list/room/${encodeURIComponent(hidden)}`;
  assert.deepEqual(await bob.get(visibility), { visibility: 'private' });
  assert.equal((await bob.try('PUT', visibility, { visibility: 'public' })).status, 403);
  await alice.put(visibility, { visibility: 'public' });
  assert.ok((await list()).includes(hidden));
  assert.equal((await bob.try('GET', '/publicRooms?since=nonsense')).status, 400);
});

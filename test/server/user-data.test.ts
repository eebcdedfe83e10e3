import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, register, request } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

test('a profile is read by anybody and written by its owner; an empty name removes it', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const path = `/profile/${alice.userId}`;
  const read = async () => (await request(server, 'GET', `/_matrix/client/v3${path}`)).body;
  assert.deepEqual(await read(), {});
  await alice.put(`${path}/displayname`, { displayname: 'Alice A.' });
  await alice.put(`${path}/avatar_url`, { avatar_url: 'mxc://kurir.test/a' });
  assert.deepEqual(await read(), { avatar_url: 'mxc://kurir.test/a', displayname: 'Alice A.' });
  assert.deepEqual(await bob.get(`${path}/displayname`), { displayname: 'Alice A.' });
  assertError(await bob.try('PUT', `${path}/displayname`, { displayname: 'x' }), 403, 'M_FORBIDDEN');
  assertError(await alice.try('PUT', `${path}/displayname`, {}), 400, 'M_MISSING_PARAM');
  assertError(await alice.try('PUT', `${path}/displayname`, { displayname: 5 }), 400, 'M_INVALID_PARAM');
  assertError(
    await alice.try('PUT', `${path}/displayname`, { displayname: 'x'.repeat(257) }),
    400,
    'M_INVALID_PARAM',
  );
  await alice.put(`${path}/displayname`, { displayname: '' });
  await alice.delete(`${path}/avatar_url`);
  assert.deepEqual(await read(), {});
  assertError(await alice.try('GET', `${path}/displayname`), 404, 'M_NOT_FOUND');
  assertError(await alice.try('GET', '/profile/@nobody:kurir.test'), 404, 'M_NOT_FOUND');
});

test('a profile takes further fields, within 255 bytes a name and 64 KiB in all', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const path = `/profile/${alice.userId}`;
  await alice.put(`${path}/m.tz`, { 'm.tz': 'Europe/Paris' });
  await alice.put(`${path}/org.example.list`, { 'org.example.list': [1, { a: null }] });
  assert.deepEqual(await alice.get(`${path}/org.example.list`), { 'org.example.list': [1, { a: null }] });
  const long = 'a'.repeat(256);
  assertError(await alice.try('PUT', `${path}/${long}`, { [long]: 1 }), 400, 'M_KEY_TOO_LARGE');
  const atOnce = Array.from({ length: 6 }, (_, number) => `org.example.part${number}`).map((name) =>
    alice.try('PUT', `${path}/${name}`, { [name]: 'x'.repeat(20_000) }),
  );
  const statuses = (await Promise.all(atOnce)).map(({ status }) => status);
  assert.deepEqual(statuses.sort(), [200, 200, 200, 400, 400, 400], 'together they would be larger');
  const huge = { 'org.example.huge': 'x'.repeat(65_536) };
  assertError(await alice.try('PUT', `${path}/org.example.huge`, huge), 400, 'M_PROFILE_TOO_LARGE');
});

test('filters are given back by their id, the same filter has the same id, and nobody else reads it', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const path = `/user/${alice.userId}/filter`;
  const filter = { room: { timeline: { limit: 5, types: ['m.room.message'] } } };
  const { filter_id: id } = await alice.post(path, filter);
  assert.equal(typeof id, 'string');
  assert.deepEqual(await alice.get(`${path}/${id}`), filter);
  assert.equal((await alice.post(path, filter)).filter_id, id);
  assert.notEqual((await alice.post(path, {})).filter_id, id);
  assertError(await bob.try('GET', `${path}/${id}`), 403, 'M_FORBIDDEN');
  assertError(await alice.try('GET', `${path}/999`), 404, 'M_NOT_FOUND');
  assertError(await alice.try('GET', `${path}/x`), 404, 'M_NOT_FOUND');
  assertError(await alice.try('POST', path, { room: [] }), 400, 'M_BAD_JSON');
  assertError(await alice.try('POST', path, { room: { timeline: { types: 'm.x' } } }), 400, 'M_BAD_JSON');
  assertError(await alice.try('POST', path, { room: { timeline: { limit: 'x' } } }), 400, 'M_BAD_JSON');
});

test('account data is kept for the account and for each room, and read by nobody else', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const global = `/user/${alice.userId}/account_data/org.example.setting`;
  const inRoom = `/user/${alice.userId}/rooms/${encodeURIComponent('!r:kurir.test')}/account_data/org.example.setting`;
  await alice.put(global, { a: 1 });
  await alice.put(inRoom, { a: 2, b: 'x' });
  assert.deepEqual(await alice.get(global), { a: 1 });
  assert.deepEqual(await alice.get(inRoom), { a: 2, b: 'x' });
  await alice.put(global, { a: 3 });
  assert.deepEqual(await alice.get(global), { a: 3 });
  assertError(await bob.try('GET', global), 403, 'M_FORBIDDEN');
  assertError(await bob.try('PUT', global, {}), 403, 'M_FORBIDDEN');
  assertError(await alice.try('GET', `${global}2`), 404, 'M_NOT_FOUND');
  assertError(
    await alice.try('PUT', `/user/${alice.userId}/rooms/nonsense/account_data/x`, {}),
    400,
    'M_INVALID_PARAM',
  );
});

test('m.push_rules and m.fully_read cannot be set as account data', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  for (const type of ['m.push_rules', 'm.fully_read']) {
    for (const place of ['', `/rooms/${encodeURIComponent('!r:kurir.test')}`]) {
      const answer = await alice.try('PUT', `/user/${alice.userId}${place}/account_data/${type}`, {});
      assertError(answer, 405, 'M_BAD_JSON');
    }
  }
});

test('account data over 64 KiB is refused', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const path = `/user/${alice.userId}/account_data/org.example.big`;
  assertError(await alice.try('PUT', path, { a: 'x'.repeat(65_536) }), 413, 'M_TOO_LARGE');
});

test('account data is deleted: other devices are told that it is empty, and who comes anew is not told of it', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const roomId = await alice.createRoom();
  const own = `user/${encodeURIComponent(alice.userId)}`;
  for (const path of [
    `${own}/account_data/test.it`,
    `${own}/rooms/${encodeURIComponent(roomId)}/account_data/test.it`,
  ]) {
    const unstable = `/_matrix/client/unstable/org.matrix.msc3391/${path}`;
    await alice.put(`/${path}`, { a: 1 });
    const { next_batch: since } = await alice.sync();
    assertError(await bob.try('DELETE', unstable), 403, 'M_FORBIDDEN');
    await alice.delete(unstable);
    assertError(await alice.try('GET', `/${path}`), 404, 'M_NOT_FOUND');
    assertError(await alice.try('DELETE', unstable), 404, 'M_NOT_FOUND');
    const told = JSON.stringify(await alice.sync({ since }));
    assert.ok(told.includes('{"type":"test.it","content":{}}'), told);
    assert.ok(!JSON.stringify(await alice.sync()).includes('test.it'));
    await alice.put(`/${path}`, { a: 2 });
    assert.deepEqual(await alice.get(`/${path}`), { a: 2 });
    // As clients deleted before there was a request for it.
    const { next_batch: before } = await alice.sync();
    await alice.put(`/${path}`, {});
    assertError(await alice.try('GET', `/${path}`), 404, 'M_NOT_FOUND');
    assert.ok(
      JSON.stringify(await alice.sync({ since: before })).includes('{"type":"test.it","content":{}}'),
    );
    assert.ok(!JSON.stringify(await alice.sync()).includes('test.it'));
  }
  const managed = `/_matrix/client/unstable/org.matrix.msc3391/${own}/account_data/m.push_rules`;
  assertError(await alice.try('DELETE', managed), 405, 'M_BAD_JSON');
});

test('no protocols of other networks are bridged', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  assert.deepEqual(await alice.get('/thirdparty/protocols'), {});
  assertError(await alice.try('GET', '/thirdparty/protocol/irc'), 404, 'M_NOT_FOUND');
  const stranger = await request(server, 'GET', '/_matrix/client/v3/thirdparty/protocols');
  assertError(stranger, 401, 'M_MISSING_TOKEN');
});

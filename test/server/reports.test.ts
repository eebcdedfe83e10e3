import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { run, serverEnvironment, startProcess } from '#test/harness/process.ts';
import { startServer } from '#test/harness/server.ts';

const room = (roomId: string, rest = '') => `/rooms/${encodeURIComponent(roomId)}/report${rest}`;
const event = (roomId: string, eventId: string) => room(roomId, `/${encodeURIComponent(eventId)}`);
const ABSENT = '!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

test('reports: of rooms and users there is one answer, whether the server knows them or not', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  for (const path of [
    room(roomId),
    room(ABSENT),
    `/users/${encodeURIComponent(alice.userId)}/report`,
    `/users/${encodeURIComponent('@nobody:elsewhere.test')}/report`,
  ]) {
    assert.deepEqual(await bob.post(path, { reason: '' }), {}, path);
    assert.equal((await bob.try('POST', path, {})).body.errcode, 'M_MISSING_PARAM', path);
    assert.equal((await bob.try('POST', path, { reason: 5 })).body.errcode, 'M_BAD_JSON', path);
    const long = await bob.try('POST', path, { reason: 'x'.repeat(2_001) });
    assert.equal(long.body.errcode, 'M_INVALID_PARAM', path);
  }
  assert.equal((await bob.try('POST', room('nonsense'), { reason: '' })).body.errcode, 'M_INVALID_PARAM');
  assert.equal((await bob.try('POST', '/users/nobody/report', { reason: '' })).status, 400);
});

test('reports: of an event only by who is in the room and may see it; all else is not found alike', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const carol = await register(server);
  const history = { type: 'm.room.history_visibility', content: { history_visibility: 'joined' } };
  const roomId = await alice.createRoom({ initial_state: [history] });
  const earlier = await alice.send(roomId, 'before');
  await bob.join(roomId);
  const later = await alice.send(roomId, 'hello');
  assert.deepEqual(await bob.post(event(roomId, later), { reason: 'rude', score: -100 }), {});
  assert.deepEqual(await bob.post(event(roomId, later)), {}, 'a reason is not required');
  const other = await alice.createRoom();
  const refused = [
    await bob.try('POST', event(roomId, earlier), {}),
    await bob.try('POST', event(roomId, '$absent'), {}),
    await bob.try('POST', event(other, later), {}),
    await carol.try('POST', event(roomId, later), {}),
    await carol.try('POST', event(ABSENT, later), {}),
  ];
  for (const { status, body } of refused) {
    assert.equal(status, 404);
    assert.deepEqual(body, refused[0]?.body);
  }
  await bob.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
  assert.equal((await bob.try('POST', event(roomId, later), {})).status, 404);
});

test('reports: the operator lists, reads and resolves them, whether the server runs or not', async () => {
  await using folder = await temporaryFolder();
  await using server = await startProcess({ ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open' });
  const kurir = (words: string) =>
    run('server/kurir.ts', words.split(' '), { env: serverEnvironment(folder.path) });
  const alice = await register(server, 'alice');
  const roomId = await alice.createRoom();
  const eventId = await alice.send(roomId, 'an insult');
  await alice.post(event(roomId, eventId), { reason: 'see\nhere' });
  await alice.post(room(ABSENT), { reason: '' });
  const list = await kurir('report list');
  assert.match(
    list.out,
    /^1 {2}\S+Z {2}@alice:\S+ {2}event \$\S+ in !\S+\n2 {2}\S+ {2}@alice:\S+ {2}room !A+\n$/,
  );
  const shown = await kurir('report show 1');
  assert.match(shown.out, /reason {3}"see\\nhere"\nsender {3}@alice:\S+\n/);
  assert.match(shown.out, /content {2}\{.*"an insult".*\}\n$/);
  assert.match((await kurir('report resolve 1 --note spoken')).out, /^Report 1 is dealt with\.\n$/);
  assert.deepEqual((await kurir('report resolve 1')).code, 1);
  await server.stop();
  assert.match((await kurir('report list')).out, /^2 {2}[^\n]+\n$/);
  assert.match((await kurir('report list --all')).out, /^1 {2}[^\n]+ {2}dealt with\n2 /);
  assert.match((await kurir('report show 1')).out, /note {5}"spoken"\n$/);
  for (const words of ['report show 7', 'report resolve x', 'report show']) {
    assert.notEqual((await kurir(words)).code, 0, words);
  }
});

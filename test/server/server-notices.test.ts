/** https://spec.matrix.org/v1.19/client-server-api/#server-notices */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as users from '#storage/users.ts';
import { type Answer, type Body, register, type TestClient } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { run, serverEnvironment, startProcess } from '#test/harness/process.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const PATH = '/_synapse/admin/v1/send_server_notice';
const inRoom = (roomId: string): string => `/rooms/${encodeURIComponent(roomId)}`;

async function administrator(server: TestServer): Promise<TestClient> {
  const admin = await register(server, 'admin');
  await server.ctx.db.write('test', (tx) => users.setAdmin(tx, '@admin:kurir.test', true));
  return admin;
}

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

const noticeTo = (user: TestClient, body = 'hello'): object => ({
  user_id: user.userId,
  content: { msgtype: 'm.text', body },
});

async function invitation(user: TestClient): Promise<string> {
  const answer = await user.syncUntil(({ rooms }) => Object.keys(rooms?.invite ?? {}).length > 0);
  const [roomId = ''] = Object.keys(answer.rooms.invite);
  const { sender } = answer.rooms.invite[roomId].invite_state.events.find(
    (event: Body) => event.type === 'm.room.member' && event.state_key === user.userId,
  );
  assert.equal(sender, '@_server:kurir.test');
  return roomId;
}

test('a user is invited to one room of notices, which is tagged, cannot be declined, but left', async () => {
  await using server = await startServer();
  const admin = await administrator(server);
  const alice = await register(server, 'alice');
  const { event_id: eventId } = await admin.post(PATH, noticeTo(alice));
  const roomId = await invitation(alice);
  const leave = `/_matrix/client/v3${inRoom(roomId)}/leave`;
  assertError(await alice.try('POST', leave, {}), 403, 'M_CANNOT_LEAVE_SERVER_NOTICE_ROOM');
  const state = `${inRoom(roomId)}/state/m.room.member/${encodeURIComponent(alice.userId)}`;
  const declined = await alice.try('PUT', state, { membership: 'leave' });
  assertError(declined, 403, 'M_CANNOT_LEAVE_SERVER_NOTICE_ROOM');
  await alice.join(roomId);
  const synced = await alice.sync();
  const joined = synced.rooms.join[roomId];
  assert.ok(joined.timeline.events.some((event: Body) => event.event_id === eventId));
  const tag = joined.account_data.events.find((event: Body) => event.type === 'm.tag');
  assert.deepEqual(tag.content, { tags: { 'm.server_notice': {} } });
  assert.equal((await alice.get(`${inRoom(roomId)}/state/m.room.name`)).name, 'Server Notices');
  assertError(await alice.try('PUT', `${inRoom(roomId)}/send/m.room.message/t`, {}), 403, 'M_FORBIDDEN');
  await alice.post(leave);
  await admin.post(PATH, noticeTo(alice, 'again'));
  assert.equal(await invitation(alice), roomId);
  await admin.post(PATH, noticeTo(alice, 'while invited'));
  assert.equal(await invitation(alice), roomId);
});

test('a notice is sent once for each transaction id, as whatever type is asked for', async () => {
  await using server = await startServer();
  const admin = await administrator(server);
  const alice = await register(server, 'alice');
  const notices = [1, 2].map(() => admin.put(`${PATH}/1`, noticeTo(alice)));
  const [first, second] = await Promise.all(notices);
  assert.equal(first.event_id, second.event_id);
  assert.notEqual((await admin.put(`${PATH}/2`, noticeTo(alice))).event_id, first.event_id);
  const roomId = await invitation(alice);
  await alice.join(roomId);
  await admin.post(PATH, {
    ...noticeTo(alice),
    type: 'm.room.topic',
    state_key: '',
    content: { topic: 'x' },
  });
  assert.equal((await alice.get(`${inRoom(roomId)}/state/m.room.topic`)).topic, 'x');
});

test('only administrators send notices, and only to users of this server', async () => {
  await using server = await startServer();
  const admin = await administrator(server);
  const alice = await register(server, 'alice');
  assertError(await alice.try('POST', PATH, noticeTo(alice)), 403, 'M_FORBIDDEN');
  assertError(await alice.try('POST', PATH), 403, 'M_FORBIDDEN');
  const cases: readonly [body: object, status: number, errcode: string][] = [
    [{ ...noticeTo(alice), user_id: undefined }, 400, 'M_MISSING_PARAM'],
    [{ ...noticeTo(alice), user_id: 'alice' }, 400, 'M_INVALID_PARAM'],
    [{ ...noticeTo(alice), user_id: '@alice:other.test' }, 400, 'M_INVALID_PARAM'],
    [{ ...noticeTo(alice), user_id: '@nobody:kurir.test' }, 404, 'M_NOT_FOUND'],
    [{ ...noticeTo(alice), content: undefined }, 400, 'M_MISSING_PARAM'],
    [{ ...noticeTo(alice), content: 'hello' }, 400, 'M_BAD_JSON'],
    [{ ...noticeTo(alice), type: '' }, 400, 'M_BAD_JSON'],
  ];
  for (const [body, status, errcode] of cases)
    assertError(await admin.try('POST', PATH, body), status, errcode);
});

test('nobody whose account is called as the sender of notices is taken for it', async () => {
  await using server = await startServer();
  const admin = await administrator(server);
  const alice = await register(server, 'alice');
  await register(server, '_server');
  assert.equal((await admin.try('POST', PATH, noticeTo(alice))).status, 500);
});

test('notice send tells one user, or all', async () => {
  await using folder = await temporaryFolder();
  const env = serverEnvironment(folder.path);
  await using server = await startProcess({ ...env, KURIR_REGISTRATION: 'open' });
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const kurir = async (...words: string[]) => run('server/kurir.ts', words, { env });
  const one = await kurir('notice', 'send', 'alice', 'the server', 'rests at night');
  assert.deepEqual([one.code, one.err], [0, ''], one.err);
  const all = await kurir('notice', 'send', '--all', 'to all of you');
  assert.equal(all.out, '2 users are told.\n');
  const wrong = await kurir('notice', 'send', 'nobody', 'hello');
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /No such user/);
  assert.equal((await kurir('notice', 'send')).code, 2);
  assert.match((await kurir('notice', 'send', 'alice')).err, /the text is empty/);
  for (const user of [alice, bob]) {
    const answer = await user.syncUntil(({ rooms }) => Object.keys(rooms?.invite ?? {}).length > 0);
    await user.join(Object.keys(answer.rooms.invite)[0] ?? '');
    const text = JSON.stringify(await user.sync());
    assert.deepEqual([text.includes('rests at night'), text.includes('to all')], [user === alice, true]);
  }
});

/** https://spec.matrix.org/v1.19/client-server-api/#guest-access */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, register, request, TestClient } from '#test/harness/client.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const REGISTER = '/_matrix/client/v3/register';
const OPEN = {
  initial_state: [{ type: 'm.room.guest_access', state_key: '', content: { guest_access: 'can_join' } }],
};
const CLOSED = {
  initial_state: [{ type: 'm.room.guest_access', state_key: '', content: { guest_access: 'forbidden' } }],
};

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

async function newGuest(server: TestServer, body: object = {}): Promise<TestClient> {
  const answer = await request(server, 'POST', `${REGISTER}?kind=guest`, { body });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return new TestClient(server, { ...answer.body, password: '' });
}

async function membershipOf(user: TestClient, roomId: string, userId: string): Promise<string> {
  return (await user.get(`/rooms/${roomId}/state/m.room.member/${userId}`)).membership;
}

test('guests are not let in unless the operator wants them', async () => {
  await using server = await startServer();
  const refused = await request(server, 'POST', `${REGISTER}?kind=guest`, { body: {} });
  assertError(refused, 403, 'M_GUEST_ACCESS_FORBIDDEN');
});

test('a guest gets a name and a device, whatever it asks for, and cannot be signed in to', async () => {
  await using server = await startServer({ guestAccess: true, registration: 'closed' });
  const asked = { username: 'alice', password: 'x', device_id: 'MINE', refresh_token: true };
  const body = { ...asked, inhibit_login: true, initial_device_display_name: 'A browser' };
  const guest = await newGuest(server, body);
  assert.match(guest.userId, /^@guest-[0-9a-f]{16}:kurir\.test$/);
  assert.notEqual(guest.deviceId, 'MINE');
  const expected = { user_id: guest.userId, device_id: guest.deviceId, is_guest: true };
  assert.deepEqual(await guest.get('/account/whoami'), expected);
  assert.equal((await guest.get(`/devices/${guest.deviceId}`)).display_name, 'A browser');
  for (const password of ['x', '']) {
    const login = { type: 'm.login.password', user: guest.userId, password };
    assertError(
      await request(server, 'POST', '/_matrix/client/v3/login', { body: login }),
      403,
      'M_FORBIDDEN',
    );
  }
});

test('guests join rooms that say so, by id and by alias, and no others', async () => {
  await using server = await startServer({ guestAccess: true });
  const alice = await register(server);
  const guest = await newGuest(server);
  const open = await alice.createRoom({ ...OPEN, room_alias_name: 'open' });
  const closed = await alice.createRoom({ ...CLOSED, room_alias_name: 'closed' });
  const silent = await alice.createRoom();
  for (const room of [closed, silent, '#closed:kurir.test', '#nothing:kurir.test', '!x:elsewhere.test']) {
    const path = `/join/${encodeURIComponent(room)}`;
    assertError(await guest.try('POST', path, {}), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  }
  const byState = `/rooms/${closed}/state/m.room.member/${guest.userId}`;
  assertError(await guest.try('PUT', byState, { membership: 'join' }), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  await guest.join('#open:kurir.test');
  await guest.send(open, 'hello');
  const invite = `/rooms/${open}/state/m.room.member/@x:kurir.test`;
  assertError(await guest.try('PUT', invite, { membership: 'invite' }), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  await guest.post(`/rooms/${open}/leave`);
  await guest.post(`/rooms/${open}/join`);
  await guest.put(`/profile/${guest.userId}/displayname`, { displayname: 'Somebody' });
  const avatar = await guest.try('PUT', `/profile/${guest.userId}/avatar_url`, { avatar_url: 'mxc://a/b' });
  assertError(avatar, 403, 'M_GUEST_ACCESS_FORBIDDEN');
});

test('guests leave when a room no longer lets them in, also after a restart', async () => {
  await using server = await startServer({ guestAccess: true });
  const alice = await register(server);
  const guest = await newGuest(server);
  const roomId = await alice.createRoom(OPEN);
  await guest.join(roomId);
  await alice.put(`/rooms/${roomId}/state/m.room.topic`, { topic: 'another' });
  assert.equal(await membershipOf(alice, roomId, guest.userId), 'join');
  await server.restart();
  const { next_batch: since } = await alice.sync();
  await alice.put(`/rooms/${roomId}/state/m.room.guest_access`, { guest_access: 'forbidden' });
  await alice.syncUntil(
    ({ rooms }) =>
      rooms?.join?.[roomId]?.timeline?.events?.some(
        (event: { state_key?: string; content: { membership?: string } }) =>
          event.state_key === guest.userId && event.content.membership === 'leave',
      ) === true,
    { since },
  );
  assert.equal(await membershipOf(alice, roomId, alice.userId), 'join');
});

test('a guest becomes a user by its token and its own name, and keeps its rooms', async () => {
  await using server = await startServer({ guestAccess: true });
  const alice = await register(server);
  const guest = await newGuest(server);
  const roomId = await alice.createRoom(OPEN);
  await guest.join(roomId);
  const username = guest.userId.slice(1, guest.userId.indexOf(':'));
  const auth = { type: 'm.login.dummy' };
  const upgrade = (more: object) =>
    request(server, 'POST', REGISTER, { body: { username, password: 'mine', auth, ...more } });
  assertError(await upgrade({}), 400, 'M_USER_IN_USE');
  assertError(await upgrade({ guest_access_token: 'made up' }), 401, 'M_UNKNOWN_TOKEN');
  assertError(await upgrade({ guest_access_token: alice.accessToken }), 403, 'M_FORBIDDEN');
  const token = { guest_access_token: guest.accessToken };
  assertError(await upgrade({ ...token, username: 'other' }), 400, 'M_INVALID_PARAM');
  const upgraded = await upgrade(token);
  assert.deepEqual([upgraded.status, upgraded.body.user_id], [200, guest.userId]);
  const user = new TestClient(server, { ...upgraded.body, password: 'mine' });
  assert.equal((await user.get('/account/whoami')).is_guest, false);
  await user.createRoom();
  await user.send(roomId, 'still here');
  assertError(await upgrade(token), 403, 'M_FORBIDDEN');
});

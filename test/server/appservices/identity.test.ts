/**
 * https://spec.matrix.org/v1.19/application-service-api/#identity-assertion
 * https://spec.matrix.org/v1.19/application-service-api/#server-admin-style-permissions
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as blockedRooms from '#storage/blocked-rooms.ts';
import * as users from '#storage/users.ts';
import { login, register, request } from '#test/harness/client.ts';
import { crossSigningOf } from '#test/harness/encryption.ts';
import { startService } from '#test/harness/service.ts';
import { addService, startWithService } from '#test/harness/service-server.ts';

const AS = 'm.login.application_service';

test('row 155: a service acts as its own user, as a user of its namespace, and as nobody else', async () => {
  await using both = await startWithService();
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const whoami = (as?: string) =>
    service.try(server, 'GET', '/account/whoami', as === undefined ? {} : { as });
  assert.deepEqual((await whoami()).body, { user_id: '@_bridge_bot:kurir.test', is_guest: false });
  const ghost = await service.register(server, '_bridge_ghost');
  assert.equal((await whoami(ghost)).body.user_id, ghost);
  const refused: [as: string, status: number, errcode: string][] = [
    [alice.userId, 403, 'M_FORBIDDEN'],
    ['@_bridge_ghost:elsewhere.test', 403, 'M_FORBIDDEN'],
    ['@_bridge_nobody:kurir.test', 403, 'M_FORBIDDEN'],
    ['not a user', 400, 'M_INVALID_PARAM'],
  ];
  for (const [as, status, errcode] of refused) {
    const answer = await whoami(as);
    assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], as);
  }
  // Who is no service says what they like: it is passed over.
  const own = await alice.get(`/account/whoami?user_id=${encodeURIComponent(ghost)}&device_id=X`);
  assert.deepEqual([own.user_id, own.device_id], [alice.userId, alice.deviceId]);
  const wrong = await request(server, 'GET', '/_matrix/client/v3/account/whoami', { token: service.hsToken });
  assert.equal(wrong.body.errcode, 'M_UNKNOWN_TOKEN');
});

test('a service acts by a device that its user has, under either name; what needs a device fails without one', async () => {
  await using both = await startWithService();
  const { server, service } = both;
  const ghost = await service.register(server, '_bridge_ghost');
  const made = await service.try(server, 'PUT', '/devices/GHOST', {
    as: ghost,
    body: { display_name: 'bridge' },
  });
  assert.equal(made.status, 201);
  assert.equal((await service.try(server, 'PUT', '/devices/GHOST', { as: ghost, body: {} })).status, 200);
  for (const name of ['device_id', 'org.matrix.msc3202.device_id']) {
    const who = await service.do(server, 'GET', `/account/whoami?${name}=GHOST`, { as: ghost });
    assert.equal(who.device_id, 'GHOST');
    const other = await service.try(server, 'GET', `/account/whoami?${name}=OTHER`, { as: ghost });
    assert.deepEqual([other.status, other.body.errcode], [400, 'M_UNKNOWN_DEVICE']);
    // Of the service's own user, where no other is named.
    const bots = await service.try(server, 'GET', `/account/whoami?${name}=GHOST`);
    assert.equal(bots.body.errcode, 'M_UNKNOWN_DEVICE');
  }
  const upload = await service.try(server, 'POST', '/keys/upload', { as: ghost, body: {} });
  assert.deepEqual([upload.status, upload.body.errcode], [400, 'M_MISSING_PARAM']);
  const logout = await service.try(server, 'POST', '/logout', { as: ghost, body: {} });
  assert.equal(logout.body.errcode, 'M_MISSING_PARAM');
  const withDevice = await service.do(server, 'POST', '/keys/upload?device_id=GHOST', {
    as: ghost,
    body: {},
  });
  assert.deepEqual(withDevice.one_time_key_counts, { signed_curve25519: 0 });
  const { devices } = await service.do(server, 'GET', '/devices', { as: ghost });
  assert.deepEqual(
    devices.map((device: { device_id: string; display_name: string }) => [
      device.device_id,
      device.display_name,
    ]),
    [['GHOST', 'bridge']],
  );
});

test('a service deletes devices, and replaces cross-signing keys, without being asked for a password', async () => {
  await using both = await startWithService();
  const { server, service } = both;
  const ghost = await service.register(server, '_bridge_ghost');
  for (const device of ['A', 'B', 'C'])
    await service.do(server, 'PUT', `/devices/${device}`, { as: ghost, body: {} });
  await service.do(server, 'DELETE', '/devices/A', { as: ghost });
  await service.do(server, 'POST', '/delete_devices', { as: ghost, body: { devices: ['B', 'Z'] } });
  const { devices } = await service.do(server, 'GET', '/devices', { as: ghost });
  assert.deepEqual(
    devices.map((device: { device_id: string }) => device.device_id),
    ['C'],
  );
  for (let times = 0; times < 2; times++) {
    const { body } = crossSigningOf(ghost);
    await service.do(server, 'POST', '/keys/device_signing/upload', { as: ghost, body });
  }
  const alice = await register(server, 'alice');
  assert.equal((await alice.try('PUT', '/devices/NEW', {})).status, 404);
  assert.equal((await alice.try('DELETE', `/devices/${alice.deviceId}`)).status, 401);
});

test('a service registers users of its namespace, whatever people may do, and nobody else', async () => {
  await using both = await startWithService({ server: { registration: 'closed' } });
  const { server, service } = both;
  const post = (path: string, body: object, token?: string) =>
    request(server, 'POST', `/_matrix/client/v3${path}`, { body, ...(token !== undefined && { token }) });
  const { body } = await post('/register', { type: AS, username: '_bridge_Ghost' }, service.asToken);
  assert.equal(body.user_id, '@_bridge_Ghost:kurir.test');
  assert.equal(typeof body.access_token, 'string');
  const silent = await post(
    '/register',
    { type: AS, username: '_bridge_b', inhibit_login: true },
    service.asToken,
  );
  assert.deepEqual(silent.body, { user_id: '@_bridge_b:kurir.test', home_server: 'kurir.test' });
  const cases: [body: object, token: string | undefined, status: number, errcode: string][] = [
    [{ type: AS, username: '_bridge_b' }, service.asToken, 400, 'M_USER_IN_USE'],
    [{ type: AS, username: 'alice' }, service.asToken, 400, 'M_EXCLUSIVE'],
    [{ type: AS, username: '_bridge_ x' }, service.asToken, 400, 'M_INVALID_USERNAME'],
    [{ type: AS, username: `_bridge_${'x'.repeat(250)}` }, service.asToken, 400, 'M_INVALID_USERNAME'],
    [{ type: AS }, service.asToken, 400, 'M_MISSING_PARAM'],
    [{ type: AS, username: 7 }, service.asToken, 400, 'M_BAD_JSON'],
    [{ type: AS, username: '_bridge_c' }, undefined, 401, 'M_MISSING_TOKEN'],
    [{ type: AS, username: '_bridge_c' }, 'guessed', 401, 'M_UNKNOWN_TOKEN'],
  ];
  for (const [given, token, status, errcode] of cases) {
    const answer = await post('/register', given, token);
    assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(given));
  }
});

test('a service signs its users in, and nobody else; the way is offered where there is a service', async () => {
  await using both = await startWithService();
  const { server, service } = both;
  const ghost = await service.register(server, '_bridge_ghost');
  const alice = await register(server, 'alice');
  const flows = await request(server, 'GET', '/_matrix/client/v3/login');
  assert.ok(flows.body.flows.some(({ type }: { type: string }) => type === AS));
  const signIn = (user: string, token: string | undefined) =>
    request(server, 'POST', '/_matrix/client/v3/login', {
      body: { type: AS, identifier: { type: 'm.id.user', user } },
      ...(token !== undefined && { token }),
    });
  const session = await signIn('_bridge_ghost', service.asToken);
  assert.equal(session.body.user_id, ghost);
  const who = await request(server, 'GET', '/_matrix/client/v3/account/whoami', {
    token: session.body.access_token,
  });
  assert.deepEqual([who.body.user_id, who.body.device_id], [ghost, session.body.device_id]);
  const cases: [user: string, token: string | undefined, status: number, errcode: string][] = [
    [alice.userId, service.asToken, 400, 'M_EXCLUSIVE'],
    ['_bridge_nobody', service.asToken, 403, 'M_FORBIDDEN'],
    [ghost, undefined, 401, 'M_MISSING_TOKEN'],
    [ghost, alice.accessToken, 401, 'M_UNKNOWN_TOKEN'],
  ];
  for (const [user, token, status, errcode] of cases) {
    const answer = await signIn(user, token);
    assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], user);
  }
  const byPassword = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: ghost },
    password: '',
  };
  assert.equal((await request(server, 'POST', '/_matrix/client/v3/login', { body: byPassword })).status, 403);
});

test('a service that speaks for everybody signs in who they are, but no administrator', async () => {
  const namespaces = { users: [{ regex: '@.*', exclusive: false }] };
  await using both = await startWithService({ namespaces });
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const signIn = () =>
    request(server, 'POST', '/_matrix/client/v3/login', {
      body: { type: AS, identifier: { type: 'm.id.user', user: alice.userId } },
      token: service.asToken,
    });
  assert.equal((await signIn()).body.user_id, alice.userId);
  await server.ctx.db.write('test', (tx) => users.setAdmin(tx, '@alice:kurir.test', true));
  const refused = await signIn();
  assert.deepEqual([refused.status, refused.body.errcode], [403, 'M_FORBIDDEN']);
});

test('names of an exclusive namespace, of users and aliases, are for their service alone', async () => {
  const namespaces = (name: string) => ({
    users: [{ regex: `@_${name}_.*`, exclusive: true }],
    aliases: [
      { regex: `#_${name}_.*`, exclusive: true },
      { regex: `#open-.*`, exclusive: false },
    ],
    rooms: [],
  });
  await using both = await startWithService({ namespaces: namespaces('bridge') });
  const { server, service } = both;
  await using other = await startService({ id: 'other', namespaces: namespaces('other') });
  await addService(server, other);
  const alice = await register(server, 'alice');
  for (const name of ['_bridge_x', '_bridge_bot', '_other_bot']) {
    const taken = await request(server, 'POST', '/_matrix/client/v3/register', {
      body: { username: name, password: 'p', auth: { type: 'm.login.dummy' } },
    });
    assert.deepEqual([taken.status, taken.body.errcode], [400, 'M_EXCLUSIVE'], name);
    const available = await request(server, 'GET', `/_matrix/client/v3/register/available?username=${name}`);
    assert.equal(available.body.errcode, 'M_EXCLUSIVE');
  }
  const byOther = { body: { type: AS, username: '_bridge_x' } };
  assert.equal((await other.try(server, 'POST', '/register', byOther)).body.errcode, 'M_EXCLUSIVE');

  const room = await alice.createRoom();
  const theirs = (await service.do(server, 'POST', '/createRoom', { body: { room_alias_name: '_bridge_a' } }))
    .room_id;
  const path = (alias: string) => `/directory/room/${encodeURIComponent(`#${alias}:kurir.test`)}`;
  assert.equal((await alice.try('PUT', path('_bridge_b'), { room_id: room })).body.errcode, 'M_EXCLUSIVE');
  assert.equal((await alice.try('DELETE', path('_bridge_a'))).body.errcode, 'M_EXCLUSIVE');
  const named = await alice.try('POST', '/createRoom', { room_alias_name: '_bridge_c' });
  assert.equal(named.body.errcode, 'M_EXCLUSIVE');
  await alice.put(path('open-alice'), { room_id: room });
  const outside = { body: { room_id: theirs } };
  assert.equal((await service.try(server, 'PUT', path('elsewhere'), outside)).body.errcode, 'M_EXCLUSIVE');
  await service.do(server, 'PUT', path('open-bridge'), outside);
  assert.equal((await other.try(server, 'DELETE', path('_bridge_a'))).body.errcode, 'M_EXCLUSIVE');
  await service.do(server, 'DELETE', path('_bridge_a'));
});

test('a locked, suspended or deactivated user is that for a service too; an administrator of a shared namespace is none', async () => {
  await using both = await startWithService({
    namespaces: { users: [{ regex: '@.*', exclusive: false }], aliases: [], rooms: [] },
  });
  const { server, service } = both;
  const admin = await register(server, 'admin');
  await server.ctx.db.write('test', (tx) =>
    tx.run({ name: '', text: `UPDATE users SET is_admin = 1 WHERE user_id = '${admin.userId}'` }),
  );
  const signedIn = await login(server, 'admin', admin.password);
  assert.equal((await signedIn.try('GET', `/admin/whois/${admin.userId}`)).status, 200);
  const whois = await service.try(server, 'GET', `/admin/whois/@_bridge_bot:kurir.test`, {
    as: admin.userId,
  });
  assert.equal(whois.status, 403);
  const states: [set: string, errcode: string][] = [
    ['suspended_ts = 1', 'M_USER_SUSPENDED'],
    ['suspended_ts = NULL, locked_ts = 1', 'M_USER_LOCKED'],
    ['locked_ts = NULL, deactivated_ts = 1', 'M_USER_DEACTIVATED'],
  ];
  for (const [set, errcode] of states) {
    await server.ctx.db.write('test', (tx) =>
      tx.run({ name: '', text: `UPDATE users SET ${set} WHERE user_id = '${admin.userId}'` }),
    );
    const answer = await service.try(server, 'POST', '/createRoom', { as: admin.userId, body: {} });
    assert.equal(answer.body.errcode, errcode);
  }
});

test('a membership of another time is refused as one of now is', async () => {
  await using both = await startWithService();
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const body = { preset: 'public_chat' };
  const { room_id: roomId } = await service.do(server, 'POST', '/createRoom', { body });
  const ghost = await service.register(server, '_bridge_ghost');
  const put = (userId: string, membership: string, as?: string) => {
    const path = `/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${encodeURIComponent(userId)}?ts=1000`;
    return service.try(server, 'PUT', path, { body: { membership }, ...(as !== undefined && { as }) });
  };
  await alice.put(`/user/${alice.userId}/account_data/m.invite_permission_config`, {
    default_action: 'block',
  });
  const unwanted = await put(alice.userId, 'invite');
  assert.deepEqual([unwanted.status, unwanted.body.errcode], [403, 'M_INVITE_BLOCKED']);
  await server.ctx.db.write('test', (tx) => blockedRooms.block(tx, roomId, 1));
  for (const [userId, membership, as] of [
    [ghost, 'join', ghost],
    [ghost, 'invite', undefined],
  ] as const) {
    const closed = await put(userId, membership, as);
    assert.deepEqual([closed.status, closed.body.errcode], [403, 'M_FORBIDDEN'], membership);
  }
});

test('a service says when something was sent, for messages and state; nobody else does', async () => {
  await using both = await startWithService();
  const { server, service } = both;
  const { room_id: roomId } = await service.do(server, 'POST', '/createRoom', { body: {} });
  const ghost = await service.register(server, '_bridge_ghost');
  const room = `/rooms/${encodeURIComponent(roomId)}`;
  await service.do(server, 'POST', `${room}/invite`, { body: { user_id: ghost } });
  const timeOf = async (eventId: string) =>
    (await service.do(server, 'GET', `${room}/event/${encodeURIComponent(eventId)}`)).origin_server_ts;
  const member = `${room}/state/m.room.member/${encodeURIComponent(ghost)}?ts=1000`;
  const puts: [path: string, body: object, as?: string][] = [
    [`${room}/send/m.room.message/t1?ts=1000`, { msgtype: 'm.text', body: 'long ago' }],
    [`${room}/state/m.room.topic?ts=1000`, { topic: 'old' }],
    [member, { membership: 'join' }, ghost],
  ];
  for (const [path, body, as] of puts) {
    const { event_id: eventId } = await service.do(server, 'PUT', path, {
      body,
      ...(as !== undefined && { as }),
    });
    assert.equal(await timeOf(eventId), 1000);
  }
  for (const ts of ['-1', '1.5', 'x', '99999999999999999']) {
    const path = `${room}/send/m.room.message/t${ts}?ts=${ts}`;
    const answer = await service.try(server, 'PUT', path, { body: {} });
    assert.deepEqual([answer.status, answer.body.errcode], [400, 'M_INVALID_PARAM'], ts);
  }
  const alice = await register(server, 'alice');
  const own = await alice.createRoom();
  const sent = await alice.put(`/rooms/${encodeURIComponent(own)}/send/m.room.message/t1?ts=1000`, {
    body: 'now',
  });
  const event = await alice.get(
    `/rooms/${encodeURIComponent(own)}/event/${encodeURIComponent(sent.event_id)}`,
  );
  assert.ok(event.origin_server_ts > 1000);
});

test('limits hold for the users of a service that asks for them, not for its own user, nor those of others', async () => {
  await using both = await startWithService({
    // A clock that stands still: no bucket fills again.
    server: { rateLimits: true, clock: { now: () => 1_800_000_000_000 } },
  });
  const { server, service } = both;
  await using limited = await startService({
    id: 'limited',
    registration: { rate_limited: true },
    namespaces: { users: [{ regex: '@_limited_.*', exclusive: true }] },
  });
  await addService(server, limited);
  await using shared = await startService({
    id: 'shared',
    namespaces: { users: [{ regex: '@alice.*', exclusive: false }] },
  });
  await addService(server, shared);
  const alice = await register(server, 'alice');
  const roomId = await alice.createRoom();
  const statuses = async (which: typeof service, as: string): Promise<Set<number>> => {
    const seen = new Set<number>();
    for (let index = 0; index < 130; index++) {
      const path = `/rooms/${encodeURIComponent(roomId)}/typing/${encodeURIComponent(as)}`;
      seen.add((await which.try(server, 'PUT', path, { as, body: { typing: true, timeout: 1000 } })).status);
    }
    return seen;
  };
  const ghost = await service.register(server, '_bridge_ghost');
  const slow = await limited.register(server, '_limited_ghost');
  await service.do(server, 'POST', `/join/${encodeURIComponent(roomId)}`, { as: ghost, body: {} });
  for (const as of [slow, '@_limited_bot:kurir.test']) {
    await limited.do(server, 'POST', `/join/${encodeURIComponent(roomId)}`, { as, body: {} });
  }
  assert.deepEqual([...(await statuses(service, ghost))], [200]);
  assert.deepEqual([...(await statuses(limited, '@_limited_bot:kurir.test'))], [200]);
  assert.deepEqual([...(await statuses(shared, alice.userId))], [200]);
  assert.ok((await statuses(limited, slow)).has(429));
  // That a service was spared gives the person nothing.
  let refused = false;
  for (let index = 0; index < 130; index++) {
    const path = `/rooms/${encodeURIComponent(roomId)}/typing/${encodeURIComponent(alice.userId)}`;
    refused ||= (await alice.try('PUT', path, { typing: true, timeout: 1000 })).status === 429;
  }
  assert.ok(refused);
});

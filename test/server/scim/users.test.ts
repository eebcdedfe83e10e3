/** Users that a directory keeps by SCIM: RFC 7643 section 4.1, RFC 7644 section 3. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setLocked } from '#server/auth/moderation.ts';
import * as users from '#storage/users.ts';
import { login, register, request } from '#test/harness/client.ts';
import { membershipOf } from '#test/harness/conversation.ts';
import { patchOf, scim, scimOk, scimUser, startScimServer } from '#test/harness/scim.ts';
import { startService } from '#test/harness/service.ts';
import { addService } from '#test/harness/service-server.ts';
import { until } from '#test/harness/until.ts';

const PASSWORD = 'a password of the directory';

test('RFC 7644 3.3: a user that is made is an account, with the name that others see', async () => {
  await using server = await startScimServer({ scimUserName: ['{localpart}@agency.test'] });
  const answer = await scim(server, 'POST', '/Users', {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
    USERNAME: 'Anna.Berg@agency.test',
    externalId: 'e1',
    name: { givenName: 'Anna', familyName: 'Berg' },
    emails: [{ value: 'anna@agency.test', type: 'work', primary: true }],
    preferredLanguage: 'sv',
    nickName: 'not kept',
    password: PASSWORD,
    id: 'ignored',
    groups: [{ value: 'ignored' }],
  });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  const { id, meta, ...rest } = answer.body;
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  assert.deepEqual(rest, {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
    externalId: 'e1',
    userName: 'Anna.Berg@agency.test',
    name: { givenName: 'Anna', familyName: 'Berg' },
    emails: [{ value: 'anna@agency.test', type: 'work', primary: true }],
    preferredLanguage: 'sv',
    active: true,
  });
  const location = `${server.clientUrl}/scim/v2/Users/${id}`;
  assert.equal(answer.headers.get('location'), location);
  assert.equal(answer.headers.get('etag'), 'W/"1"');
  assert.deepEqual(
    { ...meta, created: 0, lastModified: 0 },
    { resourceType: 'User', created: 0, lastModified: 0, location, version: 'W/"1"' },
  );
  assert.deepEqual(await scimOk(server, 'GET', `/Users/${id}`), answer.body);
  const anna = await login(server, 'anna.berg', PASSWORD);
  assert.equal(anna.userId, '@anna.berg:kurir.test');
  assert.deepEqual(await anna.get(`/profile/${anna.userId}`), { displayname: 'Anna Berg' });
});

test('RFC 7644 3.5.2: active false ends every session and pusher and locks the account; true lets the user sign in again', async () => {
  await using server = await startScimServer();
  const user = await scimUser(server, 'anna', { password: PASSWORD });
  const anna = await login(server, 'anna', PASSWORD);
  await anna.post('/pushers/set', {
    ...{
      app_id: 'a',
      app_display_name: 'a',
      device_display_name: 'd',
      kind: 'http',
      lang: 'sv',
      pushkey: 'k',
    },
    data: { url: 'https://push.test/_matrix/push/v1/notify' },
  });
  const waiting = anna.sync({ timeout: 30_000, since: (await anna.sync()).next_batch });
  waiting.catch(() => undefined);
  const path = `/Users/${user.id}`;
  const off = await scimOk(server, 'PATCH', path, patchOf({ op: 'Replace', path: 'active', value: 'False' }));
  assert.equal(off.active, false);
  await assert.rejects(waiting, /401/, 'a sync that waits ends');
  assert.equal((await anna.try('GET', '/account/whoami')).body.errcode, 'M_UNKNOWN_TOKEN');
  const signIn = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'anna' },
    password: PASSWORD,
  };
  const refused = await request(server, 'POST', '/_matrix/client/v3/login', { body: signIn });
  assert.equal(refused.body.errcode, 'M_USER_LOCKED');
  assert.deepEqual((await scimOk(server, 'GET', path)).active, false);
  await scimOk(server, 'PATCH', path, patchOf({ op: 'replace', value: { active: true } }));
  const again = await login(server, 'anna', PASSWORD);
  assert.deepEqual(await again.get('/pushers'), { pushers: [] });
});

test('RFC 7644 3.6: a user that is deleted leaves all rooms, and the name is given to nobody again', async () => {
  await using server = await startScimServer();
  const user = await scimUser(server, 'anna', { password: PASSWORD });
  const anna = await login(server, 'anna', PASSWORD);
  const bob = await register(server, 'bob');
  const roomId = await bob.createRoom();
  await anna.join(roomId);
  assert.equal((await scim(server, 'DELETE', `/Users/${user.id}`)).status, 204);
  assert.equal((await scim(server, 'GET', `/Users/${user.id}`)).status, 404);
  assert.equal((await scim(server, 'DELETE', `/Users/${user.id}`)).status, 404);
  await until(async () => (await membershipOf(bob, roomId, anna.userId)) === 'leave', 'that she leaves');
  const again = await scim(server, 'POST', '/Users', { userName: 'anna' });
  assert.deepEqual([again.status, again.body.scimType], [409, 'uniqueness']);
  assert.match(again.body.detail, /not given to anybody again/);
});

test('RFC 7643 4.1.1: userName is unique in any case, and so is externalId', async () => {
  await using server = await startScimServer();
  await scimUser(server, 'anna', { externalId: 'e1' });
  const bob = await scimUser(server, 'bob', { externalId: 'e2' });
  for (const [method, path, body] of [
    ['POST', '/Users', { userName: 'ANNA' }],
    ['POST', '/Users', { userName: 'carol', externalId: 'e1' }],
    ['PUT', `/Users/${bob.id}`, { userName: 'Anna' }],
    ['PATCH', `/Users/${bob.id}`, patchOf({ op: 'replace', path: 'externalId', value: 'e1' })],
  ] as const) {
    const { status, body: answer } = await scim(server, method, path, body);
    assert.deepEqual(
      [status, answer.status, answer.scimType],
      [409, '409', 'uniqueness'],
      `${method} ${path}`,
    );
  }
  assert.equal((await scimOk(server, 'GET', '/Users')).totalResults, 2);
});

test('a user who gets another userName keeps the user id, which nobody else gets', async () => {
  await using server = await startScimServer();
  const user = await scimUser(server, 'anna', { password: PASSWORD });
  await scimOk(
    server,
    'PATCH',
    `/Users/${user.id}`,
    patchOf({ op: 'replace', path: 'userName', value: 'anna.new' }),
  );
  assert.equal((await login(server, 'anna', PASSWORD)).userId, '@anna:kurir.test');
  const other = await scim(server, 'POST', '/Users', { userName: 'anna' });
  assert.equal(other.status, 409);
  assert.match(other.body.detail, /another userName now/);
});

test('RFC 7644 3.5.1: PUT takes the place of what is kept; what it does not say of active stays', async () => {
  await using server = await startScimServer();
  const user = await scimUser(server, 'anna', {
    displayName: 'Anna',
    preferredLanguage: 'sv',
    active: false,
  });
  const put = await scimOk(server, 'PUT', `/Users/${user.id}`, { userName: 'anna', externalId: 'e9' });
  assert.deepEqual(
    [put.displayName, put.preferredLanguage, put.externalId, put.active, put.meta.version],
    [undefined, undefined, 'e9', false, 'W/"2"'],
  );
});

test('a name that the directory changes is shown in all rooms', async () => {
  await using server = await startScimServer();
  const user = await scimUser(server, 'anna', { displayName: 'Anna', password: PASSWORD });
  const anna = await login(server, 'anna', PASSWORD);
  const roomId = await anna.createRoom();
  await scimOk(
    server,
    'PATCH',
    `/Users/${user.id}`,
    patchOf({ op: 'replace', path: 'displayName', value: 'Anna B' }),
  );
  const path = `/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${encodeURIComponent(anna.userId)}`;
  await until(async () => (await anna.get(path)).displayname === 'Anna B', 'that the room shows the name');
  await anna.put(`/profile/${anna.userId}/displayname`, { displayname: 'My own' });
  await scimOk(
    server,
    'PATCH',
    `/Users/${user.id}`,
    patchOf({ op: 'replace', path: 'preferredLanguage', value: 'en' }),
  );
  assert.equal((await anna.get(`/profile/${anna.userId}`)).displayname, 'My own', 'another change leaves it');
});

test('RFC 7644 3.14: If-Match and If-None-Match', async () => {
  await using server = await startScimServer();
  const { id } = await scimUser(server, 'anna');
  const path = `/Users/${id}`;
  const change = patchOf({ op: 'replace', path: 'displayName', value: 'Anna' });
  assert.equal((await scim(server, 'PATCH', path, change, { 'if-match': 'W/"7"' })).status, 412);
  const good = await scim(server, 'PATCH', path, change, { 'if-match': 'W/"1"' });
  assert.deepEqual([good.status, good.headers.get('etag')], [200, 'W/"2"']);
  assert.equal((await scim(server, 'DELETE', path, undefined, { 'if-match': '"1"' })).status, 412);
  assert.equal((await scim(server, 'PUT', path, { userName: 'anna' }, { 'if-match': 'W/"1"' })).status, 412);
  const same = await scim(server, 'GET', path, undefined, { 'if-none-match': 'W/"2"' });
  assert.deepEqual([same.status, same.body], [304, '']);
});

test('an account from before the directory is taken over only where the operator allows it', async () => {
  await using server = await startScimServer();
  const anna = await register(server, 'anna');
  const refused = await scim(server, 'POST', '/Users', { userName: 'anna' });
  assert.deepEqual([refused.status, refused.body.scimType], [409, 'uniqueness']);
  await server.restart({ scimAdopt: true });
  const user = await scimUser(server, 'anna', { displayName: 'Anna', active: true });
  assert.equal((await anna.get('/account/whoami')).user_id, anna.userId);
  assert.equal((await anna.get(`/profile/${anna.userId}`)).displayname, 'Anna');
  await scimOk(server, 'PATCH', `/Users/${user.id}`, patchOf({ op: 'replace', value: { active: false } }));
  assert.equal((await anna.try('GET', '/account/whoami')).status, 401);
});

test('a name that an application service has for itself is nobody else’s, whether the service has made the user or not', async () => {
  await using service = await startService();
  await using server = await startScimServer({ scimAdopt: true });
  await addService(server, service);
  await service.register(server, '_bridge_ghost');
  for (const userName of ['_bridge_ghost', '_bridge_new', '_bridge_bot']) {
    const refused = await scim(server, 'POST', '/Users', { userName, password: PASSWORD });
    assert.deepEqual([refused.status, refused.body.scimType], [409, 'uniqueness'], userName);
    assert.equal((await scimOk(server, 'GET', '/Users')).totalResults, 0);
  }
  assert.equal(await users.of(server.ctx.db, '@_bridge_new:kurir.test'), undefined);
});

test('an account that was ended for good becomes active no more', async () => {
  await using server = await startScimServer();
  const { id } = await scimUser(server, 'anna', { password: PASSWORD });
  const anna = await login(server, 'anna', PASSWORD);
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'anna' },
    password: PASSWORD,
  };
  const { session } = (await anna.try('POST', '/account/deactivate', {})).body;
  await anna.post('/account/deactivate', { auth: { ...auth, session } });
  assert.equal((await scimOk(server, 'GET', `/Users/${id}`)).active, false);
  const { status, body } = await scim(
    server,
    'PATCH',
    `/Users/${id}`,
    patchOf({ op: 'replace', value: { active: true } }),
  );
  assert.deepEqual([status, body.scimType], [400, 'invalidValue']);
  assert.equal((await scim(server, 'DELETE', `/Users/${id}`)).status, 204);
});

test('two changes at the same time are both kept', async () => {
  await using server = await startScimServer();
  const { id } = await scimUser(server, 'anna');
  const names = ['displayName', 'preferredLanguage', 'externalId'];
  await Promise.all(
    names.map((path) => scimOk(server, 'PATCH', `/Users/${id}`, patchOf({ op: 'add', path, value: path }))),
  );
  const user = await scimOk(server, 'GET', `/Users/${id}`);
  assert.deepEqual(
    names.map((name) => user[name]),
    names,
  );
  assert.equal(user.meta.version, 'W/"4"');
});

test('an account that the operator has locked stays locked, whatever the directory says again', async () => {
  await using server = await startScimServer();
  const { id } = await scimUser(server, 'anna', { password: PASSWORD });
  await setLocked(server.ctx, '@anna:kurir.test', true);
  await scimOk(server, 'PATCH', `/Users/${id}`, patchOf({ op: 'replace', value: { active: true } }));
  await scimOk(server, 'PUT', `/Users/${id}`, { userName: 'anna', active: true, displayName: 'Anna' });
  const body = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'anna' },
    password: PASSWORD,
  };
  const answer = await request(server, 'POST', '/_matrix/client/v3/login', { body });
  assert.equal(answer.body.errcode, 'M_USER_LOCKED');
});

test('RFC 7644 3.5.2.2: active that is taken back leaves the account as it was', async () => {
  await using server = await startScimServer();
  const { id } = await scimUser(server, 'anna', { password: PASSWORD, active: false });
  const taken = await scimOk(server, 'PATCH', `/Users/${id}`, patchOf({ op: 'remove', path: 'active' }));
  assert.equal(taken.active, undefined);
  assert.notEqual((await users.of(server.ctx.db, '@anna:kurir.test'))?.lockedTs, undefined);
  assert.equal((await scimOk(server, 'PUT', `/Users/${id}`, { userName: 'anna' })).active, undefined);
  assert.notEqual((await users.of(server.ctx.db, '@anna:kurir.test'))?.lockedTs, undefined);
  await scimOk(server, 'PATCH', `/Users/${id}`, patchOf({ op: 'add', path: 'active', value: true }));
  assert.equal((await users.of(server.ctx.db, '@anna:kurir.test'))?.lockedTs, undefined);
});

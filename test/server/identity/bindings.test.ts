/** Addresses that identity servers know as users': https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidbind */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { ConfigError } from '#server/config/config-file.ts';
import { loadConfig } from '#server/config.ts';
import * as identityBindings from '#storage/identity-bindings.ts';
import { type Answer, register, type TestClient } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { IdentityServer } from '#test/harness/identity-server.ts';
import { until } from '#test/harness/until.ts';

const names: string[] = [];
const fleet = await startFleet(1, { identityServers: names });
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const identity = await new IdentityServer(fleet.authority, fleet.servers).start();
after(() => identity[Symbol.asyncDispose]());
names.push(identity.name);
const MAIL = { medium: 'email', address: 'alice@example.org' };
let count = 0;

/** A user whose address is bound. */
async function bound(): Promise<{ user: TestClient; address: JsonObject & { address: string } }> {
  count += 1;
  const user = await register(server);
  const address = { medium: 'email', address: `user${count}@example.org` };
  assert.equal((await bind(user, identity.prove(address.address))).status, 200);
  assert.equal(identity.bound.get(address.address), user.userId);
  return { user, address };
}

function bind(user: TestClient, session: JsonObject): Promise<Answer> {
  const access = { id_server: identity.name, id_access_token: identity.tokenFor(user.userId) };
  return user.try('POST', '/account/3pid/bind', { ...access, ...session });
}

function bindingsOf(user: TestClient): Promise<identityBindings.IdentityBinding[]> {
  return identityBindings.ofUser(server.ctx.db, user.userId as UserId);
}

function assertError({ status, body }: Answer, expected: number, errcode: string): void {
  assert.deepEqual([status, body.errcode], [expected, errcode], JSON.stringify(body));
}

for (const named of [true, false]) {
  test(`an address is bound, and unbound by the signature of the server; id_server ${named ? 'named' : 'remembered'}`, async () => {
    const { user, address } = await bound();
    const stranger = await register(server);
    const from = named ? { id_server: identity.name } : {};
    // Nobody else's is taken away: what is signed names who asks.
    const unbind = (client: TestClient) => client.post('/account/3pid/unbind', { ...address, ...from });
    const other = await unbind(stranger);
    assert.equal(other.id_server_unbind_result, named ? 'success' : 'no-support');
    assert.equal(identity.bound.get(address.address), user.userId);
    assert.deepEqual(await unbind(user), { id_server_unbind_result: 'success' });
    assert.equal(identity.bound.has(address.address), false);
    assert.deepEqual(await bindingsOf(user), []);
    const again = await user.post('/account/3pid/unbind', address);
    assert.equal(again.id_server_unbind_result, 'no-support', 'nothing is known of it any more');
  });
}

test('an address that is deleted is unbound where it was bound', async () => {
  const { user, address } = await bound();
  const shouting = { ...address, address: address.address.toUpperCase() };
  assert.deepEqual(await user.post('/account/3pid/delete', shouting), { id_server_unbind_result: 'success' });
  assert.equal(identity.bound.has(address.address), false);
});

test('an address is deleted also where the identity server refuses, and can be unbound later', async () => {
  const { user, address } = await bound();
  identity.script = () => ({ status: 403, json: { errcode: 'M_FORBIDDEN', error: 'no' } });
  assert.deepEqual(await user.post('/account/3pid/delete', address), {
    id_server_unbind_result: 'no-support',
  });
  assertError(await user.try('POST', '/account/3pid/unbind', address), 403, 'M_FORBIDDEN');
  // "If the response body is not a JSON Matrix error, the identity server does not support unbinds."
  for (const status of [400, 404, 501]) {
    identity.script = () => ({ status, json: {} });
    const { id_server_unbind_result: result } = await user.post('/account/3pid/unbind', address);
    assert.equal(result, 'no-support', String(status));
  }
  identity.script = () => undefined;
  assert.deepEqual(await user.post('/account/3pid/unbind', address), { id_server_unbind_result: 'success' });
});

test('row 20: who deactivates their account is forgotten by identity servers, at the latest after the next start', async () => {
  const { user, address } = await bound();
  const { user: other, address: otherAddress } = await bound();
  const auth = (client: TestClient) => ({
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: client.userId },
    password: client.password,
  });
  assert.deepEqual(await user.post('/account/deactivate', { auth: auth(user) }), {
    id_server_unbind_result: 'success',
  });
  assert.equal(identity.bound.has(address.address), false);
  assert.deepEqual(await bindingsOf(user), []);

  await identity.peer.stop();
  const answer = await other.post('/account/deactivate', { auth: auth(other) });
  assert.equal(answer.id_server_unbind_result, 'no-support');
  await identity.peer.start();
  await server.restart();
  await until(() => !identity.bound.has(otherAddress.address), 'that the identity server forgets');
  await until(async () => (await bindingsOf(other)).length === 0, 'that we do');
});

test('what an identity server says against a binding is told, and nothing is noted', async () => {
  const user = await register(server);
  assertError(await bind(user, { sid: 'none', client_secret: 'x' }), 404, 'M_NO_VALID_SESSION');
  const session = identity.prove(MAIL.address);
  identity.script = () => ({ status: 403, json: { errcode: 'M_TERMS_NOT_SIGNED', error: 'accept them' } });
  assertError(await bind(user, session), 403, 'M_TERMS_NOT_SIGNED');
  identity.script = () => ({ json: { medium: 'email' } });
  assertError(await bind(user, session), 504, 'M_UNKNOWN');
  identity.script = () => ({ json: { medium: 'email', address: 'no address' } });
  assertError(await bind(user, session), 400, 'M_INVALID_PARAM');
  identity.script = () => undefined;
  assertError(await bind(user, { ...session, id_access_token: 'of-nobody' }), 403, 'M_UNAUTHORIZED');
  for (const [errcode, more] of [
    ['M_SERVER_NOT_TRUSTED', { id_server: 'localhost:1' }],
    ['M_INVALID_PARAM', { id_server: 'https://x' }],
    ['M_INVALID_PARAM', { sid: 'a b' }],
    ['M_INVALID_PARAM', { client_secret: '' }],
    ['M_MISSING_PARAM', { client_secret: null }],
    ['M_BAD_JSON', { id_access_token: 7 }],
  ] as const) {
    assertError(await bind(user, { ...session, ...more }), 400, errcode);
  }
  const unbind = (more: JsonObject) => user.try('POST', '/account/3pid/unbind', { ...MAIL, ...more });
  const { body } = await unbind({ id_server: 'localhost:1' });
  assert.deepEqual(body, { id_server_unbind_result: 'no-support' });
  assertError(await unbind({ id_server: 'https://x' }), 400, 'M_INVALID_PARAM');
  assertError(await unbind({ medium: 'fax' }), 400, 'M_INVALID_PARAM');
  assertError(await unbind({ address: 'x' }), 400, 'M_INVALID_PARAM');
  assert.deepEqual(await bindingsOf(user), []);
});

test('row 32: identity servers are asked where only partners are called, and not at private addresses unless these are allowed', async () => {
  const user = await register(server);
  const roomId = await user.createRoom();
  const invite = async () => {
    const access = { id_server: identity.name, id_access_token: identity.tokenFor(user.userId) };
    return (await user.try('POST', `${inRoom(roomId)}/invite`, { ...MAIL, ...access })).status;
  };
  await server.restart({ federationOutbound: 'partners' });
  assert.equal(await invite(), 200);
  const asked = identity.peer.requests.length;
  await server.restart({ federationOutbound: 'everyone', federationAllowPrivate: false });
  assert.equal(await invite(), 504);
  // Nor where the room says that keys are looked up.
  const guest = await register(server);
  assert.equal(await identity.tell(MAIL.address, guest.userId), 504);
  assert.equal(identity.peer.requests.length, asked);
  await server.restart({ federationAllowPrivate: true });
});

test('identity_servers are names of servers; without any, nobody is invited by address', async () => {
  const config = await loadConfig([], { KURIR_IDENTITY_SERVERS: 'vector.im, id.example.org:8443' });
  assert.deepEqual(config.identityServers, ['vector.im', 'id.example.org:8443']);
  await assert.rejects(loadConfig([], { KURIR_IDENTITY_SERVERS: 'https://vector.im' }), ConfigError);
});

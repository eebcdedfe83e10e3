/** What services are asked: for users and rooms that are not there yet, whether they are there, and about networks. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register, request } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { TestServer } from '#test/harness/server.ts';
import { type ServiceRequest, startService, type TestService } from '#test/harness/service.ts';
import { addService, startWithService } from '#test/harness/service-server.ts';

const NAMESPACES = {
  users: [{ regex: '@_bridge_.*', exclusive: true }],
  aliases: [{ regex: '#_bridge_.*', exclusive: true }],
  rooms: [],
};
const PING = '/_matrix/client/v1/appservice/bridge/ping';

/** Makes what it is asked for, as a bridge does; nobody of the name "nobody". */
async function make(service: TestService, server: TestServer, { url }: ServiceRequest) {
  const [, kind, encoded = ''] = /^\/_matrix\/app\/v1\/(users|rooms)\/([^?]+)/.exec(url) ?? [];
  const name = decodeURIComponent(encoded).slice(1).split(':')[0] ?? '';
  if (kind === undefined) return undefined;
  if (name.includes('nobody')) return { status: 404, json: { errcode: 'ORG.BRIDGE.NOT_FOUND' } };
  if (kind === 'users') await service.register(server, name);
  else {
    const body = { preset: 'public_chat', room_alias_name: name };
    await service.do(server, 'POST', '/createRoom', { body });
  }
  return {};
}

test('users and rooms of a namespace are made as they are asked for, here and by other servers; 404 is no fault', async () => {
  await using fleet = await startFleet(2);
  const [server, far] = [fleet.at(0), fleet.at(1)];
  await using service = await startService({ namespaces: NAMESPACES });
  service.answer = (asked) => make(service, server, asked);
  await addService(server, service);
  const name = server.serverName;
  const [alice, bob] = [await register(server, 'alice'), await register(far, 'bob')];

  const room = await alice.createRoom();
  await alice.post(`/rooms/${encodeURIComponent(room)}/invite`, { user_id: `@_bridge_a:${name}` });
  assert.equal((await alice.try('GET', `/profile/${encodeURIComponent(`@_bridge_b:${name}`)}`)).status, 200);
  await alice.join(`#_bridge_room:${name}`);
  const found = await request(
    server,
    'GET',
    `/_matrix/client/v3/directory/room/${encodeURIComponent(`#_bridge_c:${name}`)}`,
  );
  assert.equal(found.status, 200);

  const theirs = await bob.createRoom();
  await bob.post(`/rooms/${encodeURIComponent(theirs)}/invite`, { user_id: `@_bridge_d:${name}` });
  await bob.join(`#_bridge_far:${name}`, [name]);
  assert.equal((await bob.try('GET', `/profile/${encodeURIComponent(`@_bridge_e:${name}`)}`)).status, 200);

  const nobody = encodeURIComponent(`@_bridge_nobody:${name}`);
  for (let times = 0; times < 3; times++) {
    assert.equal((await alice.try('GET', `/profile/${nobody}`)).body.errcode, 'M_NOT_FOUND');
  }
  // A namespaced user that there is none of is not asked for again at once.
  assert.equal(service.requests.filter(({ url }) => url.includes(nobody)).length, 1);
  const absent = encodeURIComponent(`#_bridge_nobody:${name}`);
  assert.equal((await alice.try('GET', `/directory/room/${absent}`)).status, 404);
  assert.ok(service.requests.every(({ url }) => !url.includes('alice')));
  const invite = service.events.find(
    ({ state_key: key, content }) => key === `@_bridge_d:${name}` && content.membership === 'invite',
  );
  assert.equal(invite?.room_id, theirs);
  assert.ok(invite.unsigned.invite_room_state.length > 0);
});

test('a service that does not answer is waited for no longer than 408 says; one without the paths knows nobody', async () => {
  await using both = await startWithService({ namespaces: NAMESPACES });
  const { server, service } = both;
  const path = `/_matrix/client/v3/profile/${encodeURIComponent('@_bridge_x:kurir.test')}`;
  assert.equal((await request(server, 'GET', path)).body.errcode, 'M_NOT_FOUND');
  await service.stop();
  const other = `/_matrix/client/v3/profile/${encodeURIComponent('@_bridge_y:kurir.test')}`;
  assert.equal((await request(server, 'GET', other)).status, 408);
});

test('a ping goes to the service and back, and says what is wrong', async () => {
  let status = 200;
  await using both = await startWithService({
    answer: ({ url }) =>
      url.endsWith('/ping') ? { status, json: status === 200 ? {} : { errcode: 'M_FORBIDDEN' } } : undefined,
  });
  const { server, service } = both;
  const ping = (path = PING, body: unknown = { transaction_id: 'meow' }) =>
    service.try(server, 'POST', path, { body });
  const answer = await ping();
  assert.equal(answer.status, 200);
  assert.ok(Number.isInteger(answer.body.duration_ms));
  const asked = service.requests.find(({ url }) => url === '/_matrix/app/v1/ping');
  assert.deepEqual([asked?.method, asked?.body], ['POST', { transaction_id: 'meow' }]);
  const unstable = '/_matrix/client/unstable/fi.mau.msc2659/appservice/bridge/ping';
  assert.equal((await ping(unstable)).status, 200);
  assert.equal((await ping(PING, {})).status, 200);
  assert.equal((await ping(PING, { transaction_id: 7 })).body.errcode, 'M_BAD_JSON');
  status = 403;
  const bad = await ping();
  assert.deepEqual(
    [bad.status, bad.body.errcode, bad.body.status, bad.body.body],
    [502, 'M_BAD_STATUS', 403, '{"errcode":"M_FORBIDDEN"}'],
  );
  await service.stop();
  assert.deepEqual(await ping().then(({ status: s, body }) => [s, body.errcode]), [
    502,
    'M_CONNECTION_FAILED',
  ]);
  assert.equal((await ping('/_matrix/client/v1/appservice/other/ping')).body.errcode, 'M_FORBIDDEN');
  const alice = await register(server, 'alice');
  assert.equal((await alice.try('POST', PING, {})).body.errcode, 'M_FORBIDDEN');
  assert.equal((await request(server, 'POST', PING, { body: {} })).body.errcode, 'M_MISSING_TOKEN');
  await using silent = await startService({ id: 'silent', namespaces: {}, registration: { url: null } });
  await addService(server, silent);
  const none = await silent.try(server, 'POST', '/_matrix/client/v1/appservice/silent/ping', { body: {} });
  assert.deepEqual([none.status, none.body.errcode], [400, 'M_URL_NOT_SET']);
});

test('networks are told of by all services that bridge them, and asked for users and locations', async () => {
  const protocol = {
    user_fields: ['nickname'],
    location_fields: ['channel'],
    icon: 'mxc://example.org/aBcDeFgH',
    field_types: {
      nickname: { regexp: '.+', placeholder: 'name' },
      channel: { regexp: '#.+', placeholder: '#x' },
    },
    instances: [{ network_id: 'net', desc: 'The net', fields: { network: 'net' } }],
  };
  const answers: Record<string, unknown> = {
    '/_matrix/app/v1/thirdparty/protocol/irc': protocol,
    '/_matrix/app/v1/thirdparty/user/irc?nickname=x': [
      { userid: '@_bridge_x:kurir.test', protocol: 'irc', fields: {} },
    ],
    '/_matrix/app/v1/thirdparty/location/irc?channel=%23x': [
      { alias: '#x:kurir.test', protocol: 'irc', fields: {} },
      7,
    ],
    '/_matrix/app/v1/thirdparty/user?userid=%40_bridge_x%3Akurir.test': [
      { userid: '@_bridge_x:kurir.test', protocol: 'irc', fields: {} },
    ],
    '/_matrix/app/v1/thirdparty/location?alias=%23x%3Akurir.test': [
      { alias: '#x:kurir.test', protocol: 'irc', fields: {} },
    ],
  };
  const answer = ({ url }: ServiceRequest) => (url in answers ? { json: answers[url] } : undefined);
  await using both = await startWithService({ registration: { protocols: ['irc', 'broken'] }, answer });
  const { server } = both;
  await using second = await startService({
    id: 'second',
    namespaces: {},
    registration: { protocols: ['irc'] },
    answer,
  });
  await addService(server, second);
  const alice = await register(server, 'alice');
  const protocols = await alice.get('/thirdparty/protocols');
  assert.deepEqual(Object.keys(protocols), ['irc']);
  const instances = protocols.irc.instances.map((instance: { instance_id: string }) => instance.instance_id);
  assert.deepEqual(instances, ['bridge|net', 'second|net']);
  assert.deepEqual(await alice.get('/thirdparty/protocol/irc'), protocols.irc);
  assert.equal((await alice.get('/thirdparty/user/irc?nickname=x')).length, 2);
  assert.equal((await alice.get('/thirdparty/location/irc?channel=%23x')).length, 2);
  assert.equal((await alice.get('/thirdparty/user?userid=@_bridge_x:kurir.test')).length, 2);
  assert.equal((await alice.get('/thirdparty/location?alias=%23x:kurir.test')).length, 2);
  for (const path of [
    'protocol/xmpp',
    'protocol/broken',
    'user/xmpp',
    'location/xmpp',
    'user/irc?nickname=y',
  ]) {
    assert.equal((await alice.try('GET', `/thirdparty/${path}`)).body.errcode, 'M_NOT_FOUND', path);
  }
  assert.equal((await alice.try('GET', '/thirdparty/user')).body.errcode, 'M_MISSING_PARAM');
  assert.equal((await alice.try('GET', '/thirdparty/location')).body.errcode, 'M_MISSING_PARAM');
});

test('a service publishes rooms in the directory of its network, which clients ask for by its id', async () => {
  await using both = await startWithService({ registration: { protocols: ['irc'] } });
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const own = await alice.createRoom({ visibility: 'public' });
  const bridged = await alice.createRoom();
  const path = `/directory/list/appservice/net/${encodeURIComponent(bridged)}`;
  await service.do(server, 'PUT', path, { body: { visibility: 'public' } });
  const list = async (body: object) =>
    (await alice.post('/publicRooms', body)).chunk.map((room: { room_id: string }) => room.room_id);
  assert.deepEqual(await list({}), [own]);
  assert.deepEqual(await list({ third_party_instance_id: 'bridge|net' }), [bridged]);
  assert.deepEqual(await list({ third_party_instance_id: 'bridge|other' }), []);
  assert.deepEqual((await list({ include_all_networks: true })).sort(), [own, bridged].sort());
  await service.do(server, 'PUT', path, { body: { visibility: 'private' } });
  assert.deepEqual(await list({ third_party_instance_id: 'bridge|net' }), []);
  const refused: [body: object, errcode: string][] = [
    [{}, 'M_MISSING_PARAM'],
    [{ visibility: 'hidden' }, 'M_INVALID_PARAM'],
    [{ visibility: 7 }, 'M_BAD_JSON'],
  ];
  for (const [body, errcode] of refused) {
    assert.equal((await service.try(server, 'PUT', path, { body })).body.errcode, errcode);
  }
  assert.equal((await alice.try('PUT', path, { visibility: 'public' })).body.errcode, 'M_FORBIDDEN');
  const unknown = '/directory/list/appservice/net/!none:kurir.test';
  assert.equal((await service.try(server, 'PUT', unknown, { body: { visibility: 'public' } })).status, 404);
});

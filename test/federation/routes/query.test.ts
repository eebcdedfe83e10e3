/** https://spec.matrix.org/v1.19/server-server-api/#querying-for-information */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Json } from '#keys/json.ts';
import { register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

let now = Date.now();
const fleet = await startFleet(2, { clock: { now: () => now } });
after(() => fleet[Symbol.asyncDispose]());
const [one, two] = [fleet.at(0), fleet.at(1)];
const [alice, bob] = [await register(one, 'alice'), await register(two, 'bob')];

const profilePath = (userId: string, field?: string) =>
  `/_matrix/federation/v1/query/profile?user_id=${encodeURIComponent(userId)}${field === undefined ? '' : `&field=${field}`}`;
const aliasPath = (alias: string) =>
  `/_matrix/federation/v1/query/directory?room_alias=${encodeURIComponent(alias)}`;
const ofUser = (userId: string, field = '') => `/profile/${encodeURIComponent(userId)}${field}`;

async function answerTo(peer: RoomPeer, path: string) {
  const { status, body } = await peer.request(one, { path });
  return { status, body };
}

test('query/profile: the whole profile with its further fields, or the one field that is asked for', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  assert.deepEqual(await answerTo(peer, profilePath(alice.userId)), { status: 200, body: {} });
  await alice.put(ofUser(alice.userId, '/displayname'), { displayname: 'Alice' });
  await alice.put(ofUser(alice.userId, '/m.tz'), { 'm.tz': 'Europe/Berlin' });
  await alice.put(ofUser(alice.userId, '/org.example.languages'), { 'org.example.languages': ['de', 'uk'] });
  const whole = { displayname: 'Alice', 'm.tz': 'Europe/Berlin', 'org.example.languages': ['de', 'uk'] };
  assert.deepEqual(await answerTo(peer, profilePath(alice.userId)), {
    status: 200,
    body: whole,
  });
  for (const field of ['displayname', 'm.tz', 'org.example.languages'] as const) {
    const { body } = await peer.request(one, { path: profilePath(alice.userId, field) });
    assert.deepEqual(body, { [field]: whole[field] });
  }
  // "If the user does not have a particular field set [...] exclude it from the response body".
  for (const field of ['avatar_url', 'constructor', '__proto__']) {
    assert.deepEqual(await answerTo(peer, profilePath(alice.userId, field)), {
      status: 200,
      body: {},
    });
  }
});

test('query/profile: of users that are not here there is none; what is no user id is refused', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const gone = await register(one);
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: gone.userId },
    password: gone.password,
  };
  await gone.post('/account/deactivate', { auth });
  for (const userId of [`@nobody:${one.serverName}`, bob.userId, gone.userId]) {
    const { status, body } = await peer.request(one, { path: profilePath(userId) });
    assert.deepEqual([status, body.errcode], [404, 'M_NOT_FOUND'], userId);
  }
  for (const query of ['', '?user_id=alice', `?user_id=${alice.userId}&user_id=${bob.userId}`]) {
    const path = `/_matrix/federation/v1/query/profile${query}`;
    assert.equal((await peer.request(one, { path })).status, 400, query);
  }
  const unsigned = await peer.request(one, { path: profilePath(alice.userId), as: 'x.test' });
  assert.equal(unsigned.status, 401);
});

test('query/directory: the room of an alias, with the servers in it', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const roomId = await alice.createRoom({ room_alias_name: 'room' });
  await bob.join(`#room:${one.serverName}`);
  const found = await answerTo(peer, aliasPath(`#room:${one.serverName}`));
  assert.deepEqual(found, {
    status: 200,
    body: { room_id: roomId, servers: [one.serverName, two.serverName] },
  });
  for (const alias of [`#none:${one.serverName}`, `#room:${two.serverName}`]) {
    const { status, body } = await peer.request(one, { path: aliasPath(alias) });
    assert.deepEqual([status, body.errcode], [404, 'M_NOT_FOUND'], alias);
  }
  for (const path of ['/_matrix/federation/v1/query/directory', aliasPath('room')]) {
    assert.equal((await peer.request(one, { path })).status, 400, path);
  }
});

test('other queries are not known here', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { status, body } = await peer.request(one, { path: '/_matrix/federation/v1/query/anything?a=b' });
  assert.deepEqual([status, body.errcode], [404, 'M_UNRECOGNIZED']);
});

test('a client reads the profile of a user of another server, and each of its fields', async () => {
  await bob.put(ofUser(bob.userId, '/displayname'), { displayname: 'Bob' });
  await bob.put(ofUser(bob.userId, '/m.tz'), { 'm.tz': 'UTC' });
  assert.deepEqual(await alice.get(ofUser(bob.userId)), { displayname: 'Bob', 'm.tz': 'UTC' });
  assert.deepEqual(await alice.get(ofUser(bob.userId, '/m.tz')), { 'm.tz': 'UTC' });
  for (const path of [ofUser(bob.userId, '/avatar_url'), ofUser(`@nobody:${two.serverName}`)]) {
    const { status, body } = await alice.try('GET', path);
    assert.deepEqual([status, body.errcode], [404, 'M_NOT_FOUND'], path);
  }
});

test('a profile that was asked for is kept for five minutes, but not that a server did not answer', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  let name = 'Carol';
  peer.script = ({ url }) => (url.includes('/query/profile') ? { json: { displayname: name } } : undefined);
  const carol = peer.user('carol');
  await peer.peer.stop();
  assert.equal((await alice.try('GET', ofUser(carol))).status, 504);
  await peer.peer.start();
  await one.ctx.backoff.succeeded(peer.name);
  assert.deepEqual(await alice.get(ofUser(carol)), { displayname: 'Carol' });
  name = 'Caroline';
  assert.deepEqual(await alice.get(ofUser(carol)), { displayname: 'Carol' });
  assert.equal(peer.asked('/query/profile').length, 1);
  now += 5 * 60_000;
  assert.deepEqual(await alice.get(ofUser(carol)), { displayname: 'Caroline' });
});

test('of a profile from another server only what can be in one is told', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const profiles: Record<string, [Json, unknown]> = {
    null: [{ displayname: null, avatar_url: null, 'm.tz': null }, {}],
    types: [{ displayname: 5, avatar_url: ['a'], 'm.tz': 5, 'x.y': 5 }, { 'x.y': 5 }],
    long: [{ ['k'.repeat(256)]: 1, x: 'y' }, { x: 'y' }],
    large: [
      { a: 'b', b: 'x'.repeat(70_000), c: 'd' },
      { a: 'b', c: 'd' },
    ],
    proto: [JSON.parse('{"__proto__":{"x":1},"a":1}'), JSON.parse('{"__proto__":{"x":1},"a":1}')],
  };
  peer.script = ({ url }) => {
    const user = /user_id=%40(\w+)/.exec(url)?.[1];
    return user === undefined ? undefined : { json: (profiles[user]?.[0] ?? {}) as { [key: string]: Json } };
  };
  for (const [user, [, shown]] of Object.entries(profiles)) {
    assert.deepEqual(await alice.get(ofUser(peer.user(user))), shown, user);
  }
});

test('a server that denies its profiles is obeyed; its other errors are told as what they are', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const statuses: Record<string, number> = { denied: 403, missing: 404, broken: 500 };
  peer.script = ({ url }) => {
    const user = /user_id=%40(\w+)/.exec(url)?.[1] ?? '';
    return user in statuses
      ? { status: statuses[user] ?? 0, json: { errcode: 'M_UNKNOWN', error: 'no' } }
      : undefined;
  };
  for (const [user, status] of [
    ['denied', 403],
    ['missing', 404],
    ['broken', 504],
  ] as const) {
    assert.equal((await alice.try('GET', ofUser(peer.user(user)))).status, status, user);
  }
});

test('an alias of another server is asked for there; what is malformed of the answer is left out', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const answers: Record<string, Json> = {
    good: { room_id: '!a:x.test', servers: ['x.test', 5, 'not a name', 'x.test'] },
    noroom: { room_id: 'a', servers: [] },
    noservers: { room_id: '!a:x.test', servers: 'x.test' },
  };
  peer.script = ({ url }) => {
    const alias = /room_alias=%23(\w+)/.exec(url)?.[1];
    return alias === undefined ? undefined : { json: answers[alias] as { [key: string]: Json } };
  };
  const of = (alias: string) =>
    alice.try('GET', `/directory/room/${encodeURIComponent(`#${alias}:${peer.name}`)}`);
  assert.deepEqual((await of('good')).body, { room_id: '!a:x.test', servers: [peer.name, 'x.test'] });
  for (const alias of ['noroom', 'noservers']) assert.equal((await of(alias)).status, 404);
});

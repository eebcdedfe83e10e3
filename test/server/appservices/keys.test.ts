/** Keys that services keep to themselves: MSC3983 (one-time keys) and MSC3984 (devices). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { crossSigningOf, deviceKeysOf, oneTimeKey } from '#test/harness/encryption.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { TestServer } from '#test/harness/server.ts';
import {
  type ServiceAnswer,
  type ServiceRequest,
  startService,
  type TestService,
} from '#test/harness/service.ts';
import { addService, startWithService } from '#test/harness/service-server.ts';

const ASKS = { appServiceKeyClaims: true, appServiceKeyQueries: true };
const CLAIM = '/_matrix/app/unstable/org.matrix.msc3983/keys/claim';
const QUERY = '/_matrix/app/unstable/org.matrix.msc3984/keys/query';
const ALGORITHM = 'signed_curve25519';

function askedFor(service: TestService, path: string): ServiceRequest[] {
  return service.requests.filter(({ url }) => url === path);
}

function answering(path: string, answer: (body: Body) => ServiceAnswer | undefined) {
  return ({ url, body }: ServiceRequest) => (url === path ? answer(body) : undefined);
}

async function claim(client: TestClient, userIds: readonly string[]): Promise<Body> {
  const wanted = Object.fromEntries(userIds.map((userId) => [userId, { DEV: ALGORITHM }]));
  return (await client.post('/keys/claim', { one_time_keys: wanted })).one_time_keys;
}

async function query(client: TestClient, device_keys: JsonObject): Promise<Body> {
  return client.post('/keys/query', { device_keys });
}

async function ghostWith(
  { server, service }: { server: TestServer; service: TestService },
  keys: object,
  name = '_bridge_ghost',
): Promise<string> {
  const ghost = await service.register(server, name);
  await service.do(server, 'PUT', '/devices/DEV', { as: ghost, body: {} });
  await service.do(server, 'POST', '/keys/upload?device_id=DEV', { as: ghost, body: keys });
  return ghost;
}

test('MSC3983: one-time keys that were uploaded go first, then what the service gives, then the fallback key', async () => {
  await using both = await startWithService({ server: ASKS });
  const { server, service } = both;
  const alice = await register(server, 'alice');
  await alice.post('/keys/upload', { one_time_keys: { [`${ALGORITHM}:own`]: oneTimeKey('own') } });
  const ghost = await ghostWith(both, {
    one_time_keys: { [`${ALGORITHM}:up`]: oneTimeKey('up') },
    fallback_keys: { [`${ALGORITHM}:fall`]: { ...oneTimeKey('fall'), fallback: true } },
  });
  let given: Body = { [ghost]: { DEV: { [`${ALGORITHM}:svc`]: oneTimeKey('svc') } } };
  service.answer = answering(CLAIM, () => ({ json: given }));

  assert.deepEqual(Object.keys((await claim(alice, [ghost]))[ghost].DEV), [`${ALGORITHM}:up`]);
  assert.equal(askedFor(service, CLAIM).length, 0);
  assert.deepEqual((await claim(alice, [ghost]))[ghost].DEV, { [`${ALGORITHM}:svc`]: oneTimeKey('svc') });
  const [asked] = askedFor(service, CLAIM);
  assert.deepEqual(asked?.body, { [ghost]: { DEV: [ALGORITHM] } });
  assert.equal(asked?.authorization, `Bearer ${service.hsToken}`);
  given = {};
  assert.deepEqual(Object.keys((await claim(alice, [ghost]))[ghost].DEV), [`${ALGORITHM}:fall`]);

  // Of users who are not its alone a service is not asked.
  const before = askedFor(service, CLAIM).length;
  await alice.post('/keys/claim', { one_time_keys: { [alice.userId]: { [alice.deviceId]: ALGORITHM } } });
  assert.equal(askedFor(service, CLAIM).length, before);
});

test('MSC3983: of what a service answers only keys are given out that were asked for and are sound', async () => {
  await using both = await startWithService({ server: ASKS });
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const ghost = await ghostWith(both, {
    fallback_keys: { [`${ALGORITHM}:fall`]: oneTimeKey('fall') },
  });
  const good = { [`${ALGORITHM}:x`]: oneTimeKey('x') };
  const wrong: Record<string, unknown> = {
    'no object': [],
    'of another user': { [alice.userId]: { DEV: good } },
    'of another device': { [ghost]: { OTHER: good } },
    'of another algorithm': { [ghost]: { DEV: { 'other:x': oneTimeKey('x') } } },
    'no keys': { [ghost]: { DEV: { [`${ALGORITHM}:x`]: 1 } } },
    'without signatures': { [ghost]: { DEV: { [`${ALGORITHM}:x`]: { key: 'x' } } } },
    'too large': { [ghost]: { DEV: { [`${ALGORITHM}:x`]: oneTimeKey('x'.repeat(10_000)) } } },
    'no devices': { [ghost]: 'x' },
  };
  for (const [what, json] of Object.entries(wrong)) {
    await server.restart();
    service.answer = answering(CLAIM, () => ({ json }));
    assert.deepEqual(Object.keys((await claim(alice, [ghost]))[ghost].DEV), [`${ALGORITHM}:fall`], what);
    assert.deepEqual(Object.keys(await claim(alice, [ghost])), [ghost], what);
  }
  assert.ok(askedFor(service, CLAIM).length >= Object.keys(wrong).length);
});

test('a service that hangs, or answers 10 MB, holds up no claims, no queries and none of what it is told', async () => {
  await using both = await startWithService({ server: ASKS });
  const { server, service } = both;
  const alice = await register(server, 'alice');
  await alice.post('/keys/upload', {
    device_keys: deviceKeysOf(alice),
    one_time_keys: { [`${ALGORITHM}:a1`]: oneTimeKey('a1') },
  });
  const ghost = await ghostWith(both, {
    device_keys: deviceKeysOf({ userId: `@_bridge_ghost:${server.serverName}`, deviceId: 'DEV' }),
    fallback_keys: { [`${ALGORITHM}:fall`]: oneTimeKey('fall') },
  });
  const room = await alice.createRoom({ preset: 'public_chat' });
  await service.do(server, 'POST', `/join/${encodeURIComponent(room)}`, { as: ghost, body: {} });
  // Never answers.
  service.answer = ({ url }) => (url === CLAIM || url === QUERY ? () => undefined : undefined);
  const claims = Promise.all(Array.from({ length: 20 }, () => claim(alice, [ghost])));
  const queries = Promise.all(
    Array.from({ length: 20 }, () => query(alice, { [ghost]: [], [alice.userId]: [] })),
  );
  await service.untilTold(await alice.send(room, 'meanwhile'));
  const own = { [alice.userId]: { [alice.deviceId]: ALGORITHM } };
  const ofOthers = await alice.post('/keys/claim', { one_time_keys: own });
  assert.deepEqual(Object.keys(ofOthers.one_time_keys[alice.userId][alice.deviceId]), [`${ALGORITHM}:a1`]);
  for (const claimed of await claims)
    assert.deepEqual(Object.keys(claimed[ghost].DEV), [`${ALGORITHM}:fall`]);
  for (const { device_keys: devices } of await queries) {
    assert.deepEqual(Object.keys(devices[ghost]), ['DEV']);
    assert.deepEqual(Object.keys(devices[alice.userId]), [alice.deviceId]);
  }
  // After that it is left alone for a while.
  const asked = service.requests.length;
  await claim(alice, [ghost]);
  await query(alice, { [ghost]: [] });
  assert.equal(service.requests.length, asked);

  await server.restart();
  const text = `{"x":"${'x'.repeat(10_000_000)}"}`;
  service.answer = ({ url }) => (url === CLAIM || url === QUERY ? { text } : undefined);
  assert.deepEqual(Object.keys((await claim(alice, [ghost]))[ghost].DEV), [`${ALGORITHM}:fall`]);
  assert.deepEqual(Object.keys((await query(alice, { [ghost]: [] })).device_keys[ghost]), ['DEV']);
});

test('MSC3984: what a service says of devices goes over what is stored, to the level of devices', async () => {
  await using both = await startWithService({ server: ASKS });
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const ghost = `@_bridge_ghost:${server.serverName}`;
  const stored = deviceKeysOf({ userId: ghost, deviceId: 'DEV' });
  await ghostWith(both, { device_keys: stored });
  const [told, replaced] = [
    deviceKeysOf({ userId: ghost, deviceId: 'TOLD' }),
    deviceKeysOf({ userId: ghost, deviceId: 'DEV' }),
  ];
  const crossSigning = crossSigningOf(ghost).body;
  let json: Body = {
    device_keys: { [ghost]: { TOLD: { ...told, unsigned: { device_display_name: 'Bridge', more: 1 } } } },
    master_keys: { [ghost]: crossSigning.master_key },
    self_signing_keys: { [ghost]: crossSigning.self_signing_key },
    user_signing_keys: { [ghost]: crossSigning.user_signing_key },
  };
  service.answer = answering(QUERY, () => ({ json }));
  const found = await query(alice, { [ghost]: [], [alice.userId]: [] });
  assert.deepEqual(Object.keys(found.device_keys[ghost]).sort(), ['DEV', 'TOLD']);
  assert.deepEqual(found.device_keys[ghost].DEV, stored);
  assert.deepEqual(found.device_keys[ghost].TOLD, {
    ...told,
    unsigned: { device_display_name: 'Bridge' },
  });
  assert.deepEqual(found.master_keys[ghost], crossSigning.master_key);
  assert.deepEqual(found.self_signing_keys[ghost], crossSigning.self_signing_key);
  assert.equal(found.user_signing_keys, undefined);
  assert.deepEqual(askedFor(service, QUERY)[0]?.body, { [ghost]: [] });

  const only = await query(alice, { [ghost]: ['TOLD'] });
  assert.deepEqual(Object.keys(only.device_keys[ghost]), ['TOLD']);
  assert.deepEqual(askedFor(service, QUERY)[1]?.body, { [ghost]: ['TOLD'] });
  const body = { device_keys: { [ghost]: [] } };
  const own = await service.do(server, 'POST', '/keys/query', { as: ghost, body });
  assert.deepEqual(own.user_signing_keys[ghost], crossSigning.user_signing_key);

  json = { device_keys: { [ghost]: { DEV: replaced } } };
  assert.deepEqual((await query(alice, { [ghost]: [] })).device_keys[ghost], { DEV: replaced });
  // What is not sound, or of somebody else, is passed over; nobody is made by it.
  const unknown = `@_bridge_unknown:${server.serverName}`;
  json = {
    device_keys: {
      [ghost]: { DEV: { ...replaced, user_id: alice.userId }, X: told, Y: 1 },
      [alice.userId]: { DEV: replaced },
      [unknown]: { DEV: deviceKeysOf({ userId: unknown, deviceId: 'DEV' }) },
    },
    master_keys: { [ghost]: crossSigning.self_signing_key, [alice.userId]: crossSigning.master_key },
    self_signing_keys: [],
  };
  const rest = await query(alice, { [ghost]: [], [alice.userId]: [], [unknown]: [] });
  assert.deepEqual(rest.device_keys, { [ghost]: { DEV: stored }, [alice.userId]: {} });
  assert.deepEqual([rest.master_keys, rest.self_signing_keys], [{}, {}]);
  assert.deepEqual(askedFor(service, QUERY).at(-1)?.body, { [ghost]: [] });
});

test('other servers get keys of a service too, without the names of devices', async () => {
  await using fleet = await startFleet(2, ASKS);
  const [server, far] = [fleet.at(0), fleet.at(1)];
  await using service = await startService();
  await addService(server, service);
  const bob = await register(far, 'bob');
  const ghost = await service.register(server, '_bridge_ghost');
  const told = deviceKeysOf({ userId: ghost, deviceId: 'DEV' });
  const named = { ...told, unsigned: { device_display_name: 'Bridge' } };
  service.answer = ({ url }) => {
    if (url === QUERY) return { json: { device_keys: { [ghost]: { DEV: named } } } };
    if (url === CLAIM) return { json: { [ghost]: { DEV: { [`${ALGORITHM}:svc`]: oneTimeKey('svc') } } } };
    return undefined;
  };
  assert.deepEqual((await query(bob, { [ghost]: [] })).device_keys[ghost], { DEV: told });
  assert.deepEqual(Object.keys((await claim(bob, [ghost]))[ghost].DEV), [`${ALGORITHM}:svc`]);
  // Whoever shares a room has the list of devices as a whole, by GET user/devices.
  const room = await bob.createRoom({ preset: 'public_chat' });
  const path = `/join/${encodeURIComponent(room)}?server_name=${encodeURIComponent(far.serverName)}`;
  await service.do(server, 'POST', path, { as: ghost, body: {} });
  assert.deepEqual((await query(bob, { [ghost]: [] })).device_keys[ghost], { DEV: told });
});

test('a service is not asked unless the operator says so, nor for a while where it does not know the question', async () => {
  await using both = await startWithService();
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const ghost = await ghostWith(both, { fallback_keys: { [`${ALGORITHM}:fall`]: oneTimeKey('fall') } });
  const askBoth = async () => {
    assert.deepEqual(Object.keys((await claim(alice, [ghost]))[ghost].DEV), [`${ALGORITHM}:fall`]);
    assert.deepEqual((await query(alice, { [ghost]: [] })).device_keys, { [ghost]: {} });
  };
  const asked = () => [CLAIM, QUERY].map((path) => askedFor(service, path).length);
  await askBoth();
  assert.deepEqual(asked(), [0, 0]);
  await server.restart(ASKS);
  await askBoth();
  await askBoth();
  assert.deepEqual(asked(), [1, 1]);
  await service.stop();
  await server.restart(ASKS);
  await askBoth();
});

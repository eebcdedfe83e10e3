/** Ephemeral events, and what services need for encryption (MSC3202, MSC4203). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, login, register } from '#test/harness/client.ts';
import { startService, type TestService } from '#test/harness/service.ts';
import { addService, startWithService } from '#test/harness/service-server.ts';
import { until } from '#test/harness/until.ts';

const EPHEMERAL = { receive_ephemeral: true };
const DEVICES = { 'de.sorunome.msc2409.push_ephemeral': true, 'org.matrix.msc3202': true };

function members(service: TestService, name: string): Body[] {
  return service.transactions.map(({ body }) => body[name]).filter((value) => value !== undefined);
}

async function roomOf(both: Awaited<ReturnType<typeof startWithService>>, invited: string): Promise<string> {
  const { server, service } = both;
  const body = { preset: 'public_chat', invite: [invited] };
  return (await service.do(server, 'POST', '/createRoom', { body })).room_id;
}

test('typing, receipts and presence are told of rooms that are of interest, under both names', async () => {
  await using both = await startWithService({ registration: EPHEMERAL });
  const { server, service } = both;
  const [alice, stranger] = [await register(server, 'alice'), await register(server, 'stranger')];
  const ghost = await service.register(server, '_bridge_ghost');
  const roomId = await roomOf(both, alice.userId);
  const apart = await stranger.createRoom();
  const unread = await stranger.send(apart, 'x');
  await stranger.put(`/rooms/${encodeURIComponent(apart)}/typing/${stranger.userId}`, {
    typing: true,
    timeout: 9000,
  });
  await stranger.post(`/rooms/${encodeURIComponent(apart)}/receipt/m.read/${encodeURIComponent(unread)}`);
  await stranger.put(`/presence/${stranger.userId}/status`, { presence: 'online', status_msg: 'apart' });
  await alice.join(roomId);
  await service.do(server, 'POST', `/join/${encodeURIComponent(roomId)}`, { as: ghost, body: {} });
  const said = await service.send(server, roomId, 'hello');
  const room = `/rooms/${encodeURIComponent(roomId)}`;
  await alice.put(`${room}/typing/${alice.userId}`, { typing: true, timeout: 9000 });
  await alice.post(`${room}/receipt/m.read.private/${encodeURIComponent(said)}`);
  const mine = { as: ghost, body: {} };
  await service.do(server, 'POST', `${room}/receipt/m.read.private/${encodeURIComponent(said)}`, mine);
  await alice.post(`${room}/receipt/m.read/${encodeURIComponent(said)}`, { thread_id: 'main' });
  await alice.put(`/presence/${alice.userId}/status`, { presence: 'online', status_msg: 'here' });
  const seen = (type: string) => service.ephemeral.filter((event) => event.type === type);
  const receipts = () => seen('m.receipt').flatMap(({ content }) => Object.entries(content[said] ?? {}));
  await until(
    () => seen('m.typing').some(({ content }) => content.user_ids.includes(alice.userId)),
    'typing',
  );
  await until(() => receipts().some(([type]) => type === 'm.read'), 'a receipt');
  await until(
    () => receipts().some(([type]) => type === 'm.read.private'),
    'a private receipt of its own user',
  );
  await until(
    () =>
      seen('m.presence').some(
        ({ sender, content }) => sender === alice.userId && content.status_msg === 'here',
      ),
    'presence',
  );
  assert.ok([...seen('m.typing'), ...seen('m.receipt')].every(({ room_id: id }) => id === roomId));
  const privately = receipts().filter(([type]) => type === 'm.read.private');
  assert.ok(privately.every(([, users]) => Object.keys(users as object).join() === ghost));
  assert.ok(seen('m.presence').every(({ sender }) => sender !== stranger.userId));
  for (const { body } of service.transactions) {
    assert.deepEqual(body['de.sorunome.msc2409.ephemeral'], body.ephemeral);
  }
});

test('a service that does not ask for it is told of events alone', async () => {
  await using both = await startWithService();
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const roomId = await roomOf(both, alice.userId);
  await alice.join(roomId);
  await alice.put(`/rooms/${encodeURIComponent(roomId)}/typing/${alice.userId}`, {
    typing: true,
    timeout: 9000,
  });
  await service.untilTold(await alice.send(roomId, 'x'));
  assert.ok(service.transactions.every(({ body }) => Object.keys(body).join() === 'events'));
});

test('messages to devices of its users come by transactions, once and for good, also after a restart', async () => {
  await using both = await startWithService({ registration: DEVICES });
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const ghost = await service.register(server, '_bridge_ghost');
  await service.do(server, 'PUT', '/devices/GHOST', { as: ghost, body: {} });
  const send = (n: number) =>
    alice.put(`/sendToDevice/m.test/t${n}`, {
      messages: { [ghost]: { GHOST: { n } }, [alice.userId]: { '*': { n } } },
    });
  await send(1);
  const told = () => members(service, 'to_device').flat();
  await until(() => told().length === 1, 'the first message');
  await service.stop();
  await send(2);
  await send(3);
  await server.restart();
  await service.start();
  await until(() => told().length >= 3, 'the others');
  assert.deepEqual(
    told().map(({ content }) => content.n),
    [1, 2, 3],
  );
  assert.deepEqual(told()[0], {
    type: 'm.test',
    sender: alice.userId,
    content: { n: 1 },
    to_user_id: ghost,
    to_device_id: 'GHOST',
  });
  for (const { body } of service.transactions)
    assert.deepEqual(body['de.sorunome.msc2409.to_device'], body.to_device);
  // What the service has is in no inbox any more.
  const sync = await service.do(server, 'GET', '/sync?device_id=GHOST', { as: ghost });
  assert.equal(sync.to_device, undefined);
  const own = await alice.sync();
  assert.equal(own.to_device.events.length, 3);
});

test('of users who are not its alone a service gets only what nobody else can read', async () => {
  await using both = await startWithService({
    registration: DEVICES,
    namespaces: { users: [{ regex: '@.*', exclusive: false }] },
  });
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const phone = await login(server, 'alice', alice.password);
  await service.do(server, 'PUT', '/devices/PUPPET', { as: alice.userId, body: {} });
  await phone.put('/sendToDevice/m.test/t1', { messages: { [alice.userId]: { '*': { n: 1 } } } });
  await until(() => members(service, 'to_device').length > 0, 'the message to the device of the service');
  const devices = members(service, 'to_device')
    .flat()
    .map((message) => message.to_device_id);
  assert.deepEqual(devices, ['PUPPET']);
  assert.equal((await alice.sync()).to_device.events.length, 1);
});

test('of users who belong to another service alone a service gets nothing, though they are in its namespace too', async () => {
  const namespaces = { users: [{ regex: '@.*', exclusive: false }] };
  await using both = await startWithService({ id: 'puppets', registration: DEVICES, namespaces });
  const { server, service: puppets } = both;
  await using bridge = await startService({ registration: DEVICES });
  await addService(server, bridge);
  const alice = await register(server, 'alice');
  const ghost = await bridge.register(server, '_bridge_ghost');
  await bridge.do(server, 'PUT', '/devices/GHOST', { as: ghost, body: {} });
  await puppets.do(server, 'PUT', '/devices/PUPPET', { as: alice.userId, body: {} });
  for (const userId of [ghost, alice.userId]) {
    await alice.put(`/sendToDevice/m.test/${userId}`, { messages: { [userId]: { '*': { n: 1 } } } });
  }
  await until(() => members(puppets, 'to_device').length > 0, 'the message to the puppet');
  await until(() => members(bridge, 'to_device').length > 0, 'the message to the ghost');
  for (const [service, device] of [
    [puppets, 'PUPPET'],
    [bridge, 'GHOST'],
  ] as const) {
    const told = members(service, 'to_device').flat();
    assert.deepEqual(
      told.map((message) => message.to_device_id),
      [device],
    );
  }
});

test('a service is told whose devices changed, who came and who is gone, and what keys its devices have left', async () => {
  await using both = await startWithService({ registration: DEVICES });
  const { server, service } = both;
  const [alice, stranger] = [await register(server, 'alice'), await register(server, 'stranger')];
  const ghost = await service.register(server, '_bridge_ghost');
  await service.do(server, 'PUT', '/devices/GHOST', { as: ghost, body: {} });
  const keys = {
    device_keys: {
      user_id: ghost,
      device_id: 'GHOST',
      algorithms: ['m.olm.v1.curve25519-aes-sha2'],
      keys: { 'curve25519:GHOST': 'A'.repeat(43), 'ed25519:GHOST': 'A'.repeat(43) },
      signatures: {},
    },
    one_time_keys: { 'signed_curve25519:a': { key: 'A'.repeat(43), signatures: {} } },
    fallback_keys: { 'signed_curve25519:b': { key: 'B'.repeat(43), fallback: true, signatures: {} } },
  };
  await service.do(server, 'POST', '/keys/upload?device_id=GHOST', { as: ghost, body: keys });
  const counts = () => members(service, 'device_one_time_keys_count').at(-1)?.[ghost]?.GHOST;
  await until(() => counts()?.signed_curve25519 === 1, 'the count');
  assert.deepEqual(members(service, 'device_unused_fallback_key_types').at(-1), {
    [ghost]: { GHOST: ['signed_curve25519'] },
  });

  const roomId = await roomOf(both, alice.userId);
  await alice.join(roomId);
  const lists = () => members(service, 'device_lists');
  await until(() => lists().some(({ changed }) => changed.includes(alice.userId)), 'who came');
  const before = lists().length;
  await login(server, 'stranger', stranger.password);
  await login(server, 'alice', alice.password);
  await until(
    () =>
      lists()
        .slice(before)
        .some(({ changed }) => changed.includes(alice.userId)),
    'who changed',
  );
  await alice.post('/keys/claim', { one_time_keys: { [ghost]: { GHOST: 'signed_curve25519' } } });
  await alice.put('/sendToDevice/m.test/t1', { messages: { [ghost]: { GHOST: {} } } });
  await until(() => counts()?.signed_curve25519 === 0, 'the count after a claim');
  await alice.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
  await until(() => lists().some(({ left }) => left.includes(alice.userId)), 'who is gone');
  assert.ok(lists().every(({ changed, left }) => ![...changed, ...left].includes(stranger.userId)));
  for (const { body } of service.transactions) {
    for (const name of ['device_lists', 'device_one_time_keys_count', 'device_unused_fallback_key_types']) {
      assert.deepEqual(body[`org.matrix.msc3202.${name}`], body[name]);
    }
  }
});

/** https://spec.matrix.org/v1.19/push-gateway-api/ */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAuthority } from '#test/harness/certificates.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startGateway, type TestGateway } from '#test/harness/push-gateway.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const inRoom = (roomId: string): string => `/rooms/${encodeURIComponent(roomId)}`;
const mentioning = (user: TestClient, body = 'x'): object => ({
  msgtype: 'm.text',
  body,
  'm.mentions': { user_ids: [user.userId] },
});

interface Setting extends AsyncDisposable {
  readonly gateway: TestGateway;
  readonly server: TestServer;
  readonly alice: TestClient;
  readonly bob: TestClient;
  readonly roomId: string;
}

/** A room of alice and bob, on a server that reaches the gateway. */
async function setting(options: object = {}): Promise<Setting> {
  const gateway = await startGateway();
  const server = await startServer(gateway.options);
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const roomId = await alice.createRoom(options);
  await bob.join(roomId);
  const end = async () => {
    await server[Symbol.asyncDispose]();
    await gateway[Symbol.asyncDispose]();
  };
  return { gateway, server, alice, bob, roomId, [Symbol.asyncDispose]: end };
}

test('an event is told with its content, names, counts, priority and tweaks', async () => {
  await using room = await setting({ name: 'Office', room_alias_name: 'office' });
  const { gateway, alice, bob, roomId } = room;
  await alice.put(`/profile/${alice.userId}/displayname`, { displayname: 'Alice' });
  await gateway.pusherOf(bob, { data: { custom: [1] } });
  const plain = await alice.sendEvent(roomId, 'm.room.message', mentioning(bob, 'hello'));
  const { devices, ...told } = await gateway.untilTold(plain);
  assert.deepEqual(told, {
    event_id: plain,
    room_id: roomId,
    type: 'm.room.message',
    sender: alice.userId,
    sender_display_name: 'Alice',
    room_name: 'Office',
    prio: 'high',
    content: mentioning(bob, 'hello'),
    counts: { unread: 1 },
    room_alias: '#office:kurir.test',
  });
  const [device] = devices;
  assert.equal(typeof device.pushkey_ts, 'number');
  assert.deepEqual(device, {
    app_id: 'org.example.app',
    pushkey: `key of ${bob.userId}`,
    pushkey_ts: device.pushkey_ts,
    data: { custom: [1] },
    tweaks: { sound: 'default', highlight: true },
  });
  await bob.send(roomId, 'own');
  const next = await alice.send(roomId, 'two');
  assert.deepEqual((await gateway.untilTold(next)).counts, { unread: 1 });
  assert.deepEqual(gateway.events, [plain, next]);
});

test('by the format event_id_only nothing is told of what was said, nor by whom', async () => {
  await using room = await setting({ name: 'Office' });
  const { gateway, alice, bob, roomId } = room;
  await gateway.pusherOf(bob, { data: { format: 'event_id_only' } });
  const eventId = await alice.send(roomId, 'hello');
  const told = await gateway.untilTold(eventId);
  assert.deepEqual(Object.keys(told).sort(), ['counts', 'devices', 'event_id', 'prio', 'room_id']);
  assert.deepEqual(told.devices[0].data, { format: 'event_id_only' });
});

test('what no rule notifies of, what is ignored or read and what was there before is not told', async () => {
  await using room = await setting();
  const { gateway, server, alice, bob, roomId } = room;
  const carol = await register(server, 'carol');
  await carol.join(roomId);
  await alice.send(roomId, 'before');
  await gateway.pusherOf(bob);
  await bob.put(`/user/${bob.userId}/account_data/m.ignored_user_list`, {
    ignored_users: { [carol.userId]: {} },
  });
  await carol.send(roomId, 'ignored');
  await alice.sendEvent(roomId, 'm.room.message', { msgtype: 'm.notice', body: 'silent' });
  await alice.sendEvent(roomId, 'm.reaction', {});
  const last = await alice.send(roomId, 'last');
  await gateway.untilTold(last);
  assert.deepEqual(gateway.events, [last]);
});

test('an invitation is told, from this server and from another', async () => {
  await using gateway = await startGateway();
  await using fleet = await startFleet(2, gateway.options);
  const [first, second] = fleet.servers;
  assert.ok(first && second);
  const alice = await register(first, 'alice');
  const carol = await register(second, 'carol');
  const bob = await register(second, 'bob');
  await gateway.pusherOf(bob);
  for (const inviter of [alice, carol]) {
    const roomId = await inviter.createRoom({ preset: 'private_chat', name: 'Office', invite: [bob.userId] });
    await until(() => gateway.told.some((told) => told.room_id === roomId), 'the invitation was told');
    const told = gateway.told.find((one) => one.room_id === roomId);
    assert.deepEqual(
      [told.type, told.user_is_target, told.room_name, told.content.membership, told.sender],
      ['m.room.member', true, 'Office', 'invite', inviter.userId],
    );
  }
});

test('what is read elsewhere changes the number on the icon; an app that shows none is left alone', async () => {
  await using room = await setting();
  const { gateway, server, alice, bob, roomId } = room;
  const carol = await register(server, 'carol');
  await carol.join(roomId);
  await gateway.pusherOf(bob);
  await gateway.pusherOf(carol, { data: { 'org.matrix.msc4076.disable_badge_count': true } });
  const eventId = await alice.send(roomId, 'hello');
  await until(() => gateway.events.length === 2, 'both were told');
  for (const user of [carol, bob])
    await user.post(`${inRoom(roomId)}/receipt/m.read/${encodeURIComponent(eventId)}`);
  const counts = (): Body[] => gateway.told.filter((told) => told.event_id === undefined);
  await until(() => counts().length > 0, 'the number was told');
  await sleep(600);
  assert.deepEqual(
    counts().map((told) => [told.counts, told.devices[0].pushkey]),
    [[{}, `key of ${bob.userId}`]],
  );
  for (const told of gateway.told.filter((one) => one.devices[0].pushkey === `key of ${carol.userId}`))
    assert.deepEqual(told.counts, {});
});

test('"Homeservers must cease sending notification requests for these pushkeys and remove the associated pushers"', async () => {
  await using room = await setting();
  const { gateway, alice, bob, roomId } = room;
  await gateway.pusherOf(bob);
  await gateway.pusherOf(bob, { pushkey: 'gone' });
  gateway.answer = () => ({ json: { rejected: ['gone', "somebody else's", 5] } });
  await alice.send(roomId, 'hello');
  await until(async () => (await bob.get('/pushers')).pushers.length === 1, 'the pusher was removed');
  const told = (await bob.get('/pushers')).pushers;
  assert.equal(told[0].pushkey, `key of ${bob.userId}`);
});

test('a pusher that its app sets anew while it is rejected stays, and is told', async () => {
  await using room = await setting();
  const { gateway, alice, bob, roomId } = room;
  await gateway.pusherOf(bob);
  gateway.answer = async () => {
    gateway.answer = () => ({ json: { rejected: [] } });
    await gateway.pusherOf(bob, { data: { installed: 2 } });
    return { json: { rejected: [`key of ${bob.userId}`] } };
  };
  const eventId = await alice.send(roomId, 'hello');
  await until(() => gateway.events.length === 2, 'it was told by the new one');
  assert.deepEqual(gateway.events, [eventId, eventId]);
  assert.deepEqual(gateway.told[1].devices[0].data, { installed: 2 });
  assert.equal((await bob.get('/pushers')).pushers.length, 1);
});

test('a gateway that is away gets the news when it is back, also after a restart of the server', async () => {
  await using room = await setting();
  const { gateway, server, alice, bob, roomId } = room;
  await gateway.pusherOf(bob);
  await gateway.stop();
  const first = await alice.send(roomId, 'first');
  const second = await alice.send(roomId, 'second');
  await server.restart();
  await gateway.start();
  await gateway.untilTold(second);
  assert.deepEqual(gateway.events, [first, second]);
  gateway.answer = () => ({ status: 503, json: {} });
  const third = await alice.send(roomId, 'third');
  await gateway.untilTold(third);
  const tries = gateway.events.length;
  gateway.answer = () => ({ json: { rejected: [] } });
  await until(() => gateway.events.length > tries, 'it was tried again');
  assert.equal(gateway.events.at(-1), third);
});

test('of an event that was redacted while the gateway was away nothing is told', async () => {
  await using room = await setting();
  const { gateway, alice, bob, roomId } = room;
  await gateway.pusherOf(bob);
  await gateway.stop();
  const secret = await alice.send(roomId, 'secret');
  await alice.put(`${inRoom(roomId)}/redact/${encodeURIComponent(secret)}/t`, {});
  await gateway.start();
  const last = await alice.send(roomId, 'last');
  await gateway.untilTold(last);
  assert.equal(JSON.stringify(gateway.told).includes('secret'), false);
});

test('F36: a gateway that hangs, or answers without an end, holds nobody else up', async () => {
  const authority = await createAuthority();
  await using hanging = await startGateway(authority);
  await using endless = await startGateway(authority);
  await using gateway = await startGateway(authority);
  await using server = await startServer(gateway.options);
  hanging.answer = () => () => undefined;
  endless.answer = () => (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write('"');
    response.write('x'.repeat(10_000_000));
  };
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  await hanging.pusherOf(bob, { pushkey: 'hanging' });
  await endless.pusherOf(bob, { pushkey: 'endless' });
  await gateway.pusherOf(alice);
  await gateway.pusherOf(bob);
  const eventId = await alice.send(roomId, 'hello');
  await gateway.untilTold(eventId);
  await gateway.untilTold(await bob.send(roomId, 'hello'));
  await gateway.untilTold(await alice.send(roomId, 'bob has other devices, too'));
});

test('row 32: a gateway at a private address is not reached unless its host is named, nor by a redirect', async () => {
  await using gateway = await startGateway();
  await using other = await startGateway();
  const { pushCa } = gateway.options;
  await using server = await startServer({ pushCa: pushCa ?? [] });
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const { port } = new URL(gateway.url);
  for (const host of ['localhost', '127.0.0.1', '127.1', '[::ffff:127.0.0.1]', '0x7f.1', 'localhost.'])
    await gateway.pusherOf(bob, {
      pushkey: host,
      data: { url: `https://${host}:${port}/_matrix/push/v1/notify` },
    });
  await alice.send(roomId, 'hello');
  await sleep(500);
  assert.equal(gateway.told.length, 0);
  await server.restart({ privatePushGateways: ['localhost'] });
  gateway.answer = () => ({ status: 307, json: {}, headers: { location: other.url } });
  await until(() => gateway.told.length > 0, 'the gateway was told');
  assert.equal(other.told.length, 0);
});

/** Web Push: https://www.rfc-editor.org/rfc/rfc8030, 8291 and 8292, by pushers of MSC4174. */

import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { test } from 'node:test';
import { encryptFor, MOST_PLAINTEXT, recipientOf } from '#server/push/web-push-encryption.ts';
import { type Answer, login, register, type TestClient } from '#test/harness/client.ts';
import { startPushService } from '#test/harness/push-service.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const of = (text: string): Buffer => Buffer.from(text, 'base64url');

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

async function pushersOf(user: TestClient): Promise<{ readonly activated?: boolean }[]> {
  return (await user.get('/pushers')).pushers;
}

test('RFC 8291, 5: the example of the standard', () => {
  const recipient = recipientOf(
    'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4',
    'BTBZMqHH6r4Tts7J_aSIgg',
  );
  assert.ok(recipient);
  const chosen = {
    salt: of('DGv6ra1nlYgDCS1FRnbzlw'),
    privateKey: of('yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw'),
  };
  const text = Buffer.from('When I grow up, I want to be a watermelon');
  assert.equal(
    encryptFor(recipient, text, { chosen }).toString('base64url'),
    'DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_' +
      'yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN',
  );
  assert.equal(encryptFor(recipient, Buffer.alloc(MOST_PLAINTEXT)).length, 4_096);
  assert.throws(() => encryptFor(recipient, Buffer.alloc(MOST_PLAINTEXT + 1)));
});

test('an app is told what a gateway would be told, encrypted for it, once it has shown that it is reached', async () => {
  await using service = await startPushService();
  await using server = await startServer(service.options);
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const roomId = await alice.createRoom({ name: 'Office' });
  await bob.join(roomId);
  const app = service.app();
  assert.equal((await app.set(bob)).status, 201);
  await until(() => app.requests.length > 0, 'what the pusher is activated by');
  const [{ ack_token: token, ...rest }] = app.messages;
  assert.deepEqual(rest, { app_id: 'org.example.web' });
  assert.match(token, /^[\da-f-]{36}$/);
  const before = await alice.send(roomId, 'not told');
  assert.deepEqual(
    (await pushersOf(bob)).map(({ activated }) => activated),
    [false],
  );
  await bob.post('/pushers/ack', { app_id: 'org.example.web', ack_token: token });
  await bob.post('/pushers/ack', { app_id: 'org.example.web', ack_token: token });
  assert.equal((await pushersOf(bob))[0]?.activated, true);
  // The same again is no new pusher.
  assert.equal((await app.set(bob)).status, 200);

  const content = { msgtype: 'm.text', body: 'secret words', 'm.mentions': { user_ids: [bob.userId] } };
  const eventId = await alice.sendEvent(roomId, 'm.room.message', content);
  const told = await app.untilTold(eventId);
  assert.deepEqual(told, {
    ...{ event_id: eventId, room_id: roomId, type: 'm.room.message', sender: alice.userId, content },
    ...{ room_name: 'Office', prio: 'high', counts: { unread: 2 } },
    tweaks: { sound: 'default', highlight: true },
  });
  assert.ok(!app.messages.some((message) => message.event_id === before));
  const request = app.requests.at(-1);
  assert.ok(request);
  assert.ok(!request.bytes.includes('secret') && !request.bytes.includes('kurir'));
  const { ttl, urgency, 'content-encoding': encoding } = request.headers;
  assert.deepEqual([ttl, urgency, encoding], ['86400', 'high', 'aes128gcm']);
  // Most messages have the same length.
  await app.untilTold(await alice.send(roomId, 'x'));
  assert.equal(app.requests.at(-1)?.bytes.length, request.bytes.length);
});

test('RFC 8292: a push service knows the server by the key that clients are shown, also after a restart', async () => {
  await using service = await startPushService();
  await using server = await startServer(service.options);
  const alice = await register(server, 'alice');
  const vapidKey = async (): Promise<string> => {
    const { capabilities } = await alice.get('/capabilities');
    assert.equal(capabilities['m.webpush'].enabled, true);
    return capabilities['m.webpush'].vapid;
  };
  const key = await vapidKey();
  await server.restart();
  assert.equal(await vapidKey(), key);
  const app = service.app();
  await app.subscribe(alice);
  const [, token = '', shown] =
    /^vapid t=(\S+), k=(\S+)$/.exec(app.requests[0]?.headers.authorization ?? '') ?? [];
  assert.equal(shown, key);
  const [header = '', claims = '', signature = ''] = token.split('.');
  assert.deepEqual(JSON.parse(of(header).toString()), { typ: 'JWT', alg: 'ES256' });
  const { aud, exp, sub } = JSON.parse(of(claims).toString());
  assert.deepEqual([aud, sub], [service.origin, 'mailto:admin@kurir.test']);
  const hours = (exp - Date.now() / 1_000) / 3_600;
  assert.ok(hours > 0 && hours <= 24, `${hours} hours`);
  const point = of(key);
  assert.deepEqual([point.length, point[0]], [65, 4]);
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((one) => one.toString('base64url'));
  const publicKey = createPublicKey({
    key: { kty: 'EC', crv: 'P-256', x: x ?? '', y: y ?? '' },
    format: 'jwk',
  });
  const signed = Buffer.from(`${header}.${claims}`);
  assert.ok(verify('sha256', signed, { key: publicKey, dsaEncoding: 'ieee-p1363' }, of(signature)));
});

test('a pusher that the push service does not know any more is removed, one that it refuses for a while is kept', async () => {
  await using service = await startPushService();
  await using server = await startServer(service.options);
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  for (const status of [403, 404, 410]) {
    const app = service.app();
    await app.subscribe(bob);
    service.answer = () => ({ status, json: {} });
    await alice.send(roomId, `${status}`);
    await until(async () => (await pushersOf(bob)).length === 0, `removed after ${status}`);
    service.answer = () => ({ status: 201, json: {} });
  }
  const app = service.app();
  await app.subscribe(bob);
  let refused = 0;
  service.answer = () => {
    refused += 1;
    service.answer = () => ({ status: 201, json: {} });
    return { status: 429, json: {}, headers: { 'retry-after': '1' } };
  };
  const eventId = await alice.send(roomId, 'later');
  // Told twice: refused at first, and taken then.
  await until(
    () => app.messages.filter((message) => message.event_id === eventId).length === 2,
    'told later',
  );
  assert.equal(refused, 1);
  assert.equal((await pushersOf(bob)).length, 1);
  const other = service.app();
  service.answer = () => ({ status: 404, json: {} });
  await other.set(bob);
  await until(async () => (await pushersOf(bob)).length === 1, 'what cannot be activated is removed');
});

test('a pusher that is to be left alone for an hour is told at once when its app has set it anew', async () => {
  await using service = await startPushService();
  await using server = await startServer(service.options);
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const app = service.app();
  await app.subscribe(bob);
  const told = app.messages.length;
  service.answer = () => ({ status: 429, json: {}, headers: { 'retry-after': '3600' } });
  await alice.send(roomId, 'one');
  await until(() => app.messages.length > told, 'that it is refused');
  service.answer = () => ({ status: 201, json: {} });
  await app.set(bob, { data: { device: 'new' } });
  await app.untilTold(await alice.send(roomId, 'two'));
});

test('of a long event an app is told what it needs to fetch it, within what push services carry', async () => {
  await using service = await startPushService();
  await using server = await startServer(service.options);
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const [named, longNamed] = [
    await alice.createRoom({ name: 'Office' }),
    await alice.createRoom({ name: 'ä'.repeat(5_000) }),
  ];
  for (const roomId of [named, longNamed]) await bob.join(roomId);
  const app = service.app();
  await app.subscribe(bob);
  const { content, room_name: name } = await app.untilTold(await alice.send(named, 'x'.repeat(4_000)));
  assert.deepEqual([content, name], [undefined, 'Office']);
  const eventId = await alice.send(longNamed, 'short');
  assert.deepEqual(Object.keys(await app.untilTold(eventId)).sort(), [
    'counts',
    'event_id',
    'prio',
    'room_id',
  ]);
  for (const { bytes } of app.requests) assert.ok(bytes.length <= 4_096);
  const brief = service.app();
  const carol = await register(server, 'carol');
  await carol.join(named);
  await brief.subscribe(carol, { data: { format: 'event_id_only' } });
  const last = await brief.untilTold(await alice.send(named, 'hidden'));
  assert.deepEqual(Object.keys(last).sort(), ['counts', 'event_id', 'prio', 'room_id']);
});

test('what activates a pusher is known to its user and app alone, for five minutes', async () => {
  await using service = await startPushService();
  let now = Date.now();
  await using server = await startServer({ ...service.options, clock: { now: () => now } });
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const app = service.app();
  const ack = (user: TestClient, body: object) => user.try('POST', '/pushers/ack', body);
  assertError(await ack(alice, { app_id: 'org.example.web', ack_token: 'x' }), 404, 'M_NOT_FOUND');
  assertError(await ack(alice, { app_id: 'org.example.web' }), 400, 'M_MISSING_PARAM');
  assertError(await ack(alice, { app_id: 5, ack_token: 'x' }), 400, 'M_BAD_JSON');
  await app.set(alice);
  await until(() => app.requests.length > 0, 'what the pusher is activated by');
  const [sent] = app.messages;
  const { app_id: appId } = sent;
  assertError(await ack(alice, { app_id: appId, ack_token: 'x' }), 400, 'M_UNKNOWN_ACTIVATION_TOKEN');
  assertError(await ack(bob, sent), 404, 'M_NOT_FOUND');
  now += 5 * 60_000 + 1;
  assertError(await ack(alice, sent), 400, 'M_EXPIRED_ACTIVATION_TOKEN');
  // Tried again it gets another.
  assert.equal((await app.set(alice)).status, 201);
  await until(() => app.requests.length === 2, 'another one');
  assertError(await ack(alice, sent), 400, 'M_UNKNOWN_ACTIVATION_TOKEN');
  assert.equal((await ack(alice, app.messages[1])).status, 200);
  // At another address of the same service it is to be activated again.
  const moved = await app.set(alice, { data: { url: `${service.origin}${app.path}?2` } });
  assert.equal(moved.status, 201);
  assert.deepEqual(
    (await pushersOf(alice)).map(({ activated }) => activated),
    [false],
  );
  const second = await login(server, 'alice', alice.password);
  await alice.post('/logout');
  assert.deepEqual(await pushersOf(second), []);
});

test('row 32: what is no subscription is refused, and a push service at a private address is not reached', async () => {
  await using service = await startPushService();
  const lines: string[] = [];
  const refusals = () => lines.filter((line) => line.includes('took no request to activate')).length;
  const options = { ...service.options, privatePushGateways: [], logTo: (line: string) => lines.push(line) };
  await using server = await startServer(options);
  const alice = await register(server, 'alice');
  const app = service.app();
  const offCurve = Buffer.alloc(65, 7);
  offCurve[0] = 4;
  const cases: readonly [more: object, errcode: string][] = [
    [{ data: { url: undefined } }, 'M_MISSING_PARAM'],
    [{ data: { auth: undefined } }, 'M_MISSING_PARAM'],
    [{ data: { auth: 'short' } }, 'M_INVALID_PARAM'],
    [{ data: { auth: 'ä'.repeat(22) } }, 'M_INVALID_PARAM'],
    [{ data: { url: 'http://push.example.org/' } }, 'M_INVALID_PARAM'],
    [{ data: { url: 'https://user@push.example.org/' } }, 'M_INVALID_PARAM'],
    [{ pushkey: 'key' }, 'M_INVALID_PARAM'],
    [{ pushkey: offCurve.toString('base64url') }, 'M_INVALID_PARAM'],
  ];
  for (const [more, errcode] of cases) assertError(await app.set(alice, more), 400, errcode);
  assert.deepEqual(await pushersOf(alice), []);
  for (const host of ['127.0.0.1', '[::1]', 'localhost', '169.254.169.254']) {
    const url = `https://${host}:${new URL(service.origin).port}${app.path}`;
    assert.equal((await app.set(alice, { data: { url } })).status, 201);
  }
  await until(() => refusals() === 4, 'none is reached');
  assert.deepEqual(service.requests, []);
});

test('without web_push there is neither the kind of pusher nor the capability', async () => {
  await using service = await startPushService();
  await using server = await startServer({ ...service.options, webPush: false });
  const alice = await register(server, 'alice');
  assertError(await service.app().set(alice), 400, 'M_INVALID_PARAM');
  assert.equal((await alice.get('/capabilities')).capabilities['m.webpush'], undefined);
});

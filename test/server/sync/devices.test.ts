import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { oneTimeKey } from '#test/harness/encryption.ts';
import { startServer } from '#test/harness/server.ts';

let transactions = 0;

async function sendToDevice(from: TestClient, to: TestClient, number: number): Promise<void> {
  transactions += 1;
  const messages = { [to.userId]: { [to.deviceId]: { number } } };
  await from.put(`/sendToDevice/test.message/t${transactions}`, { messages });
}

const numbers = (answer: Body): number[] =>
  (answer.to_device?.events ?? []).map((event: Body) => event.content.number);

test('to-device: messages are told until the device comes back with the token of an answer that had them', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const { next_batch: since } = await bob.sync();
  const waiting = bob.sync({ since, timeout: 10_000 });
  await sendToDevice(alice, bob, 1);
  const first = await waiting;
  assert.deepEqual(numbers(first), [1]);
  assert.equal(first.to_device.events[0].sender, alice.userId);
  await sendToDevice(alice, bob, 2);
  const again = await bob.sync({ since });
  assert.deepEqual(numbers(again), [1, 2], 'the first answer was lost');
  await server.restart();
  assert.deepEqual(numbers(await bob.sync({ since: again.next_batch })), []);
  assert.deepEqual(numbers(await bob.sync({ since })), [], 'acknowledged is gone');
});

test('to-device: more messages than fit into an answer come in the next ones, all and in order', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const all = Array.from({ length: 230 }, (_, index) => index);
  for (const number of all) await sendToDevice(alice, bob, number);
  const roomId = await bob.createRoom();
  const told: number[] = [];
  let rooms = 0;
  let answer = await bob.sync();
  while (numbers(answer).length > 0) {
    told.push(...numbers(answer));
    if (answer.rooms?.join?.[roomId] !== undefined) rooms += 1;
    answer = await bob.sync({ since: answer.next_batch });
  }
  assert.deepEqual(told, all);
  assert.equal(rooms, 1, 'the rest of the answer is told once');
});

test('to-device: another device of the user gets none of them', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const phone = await login(server, alice.userId, alice.password);
  await sendToDevice(alice, phone, 7);
  assert.deepEqual(numbers(await alice.sync()), []);
  assert.deepEqual(numbers(await phone.sync()), [7]);
});

test('to-device: `*` is every device of a user, a repeated request sends nothing twice, and other devices are no repetition', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const phone = await login(server, alice.userId, alice.password);
  const bob = await register(server);
  const path = '/sendToDevice/test.message/same';
  const messages = { [bob.userId]: { '*': { number: 1 } }, '@nobody:kurir.test': { '*': { number: 1 } } };
  const tablet = await login(server, bob.userId, bob.password);
  await Promise.all(Array.from({ length: 5 }, () => alice.put(path, { messages })));
  await server.restart();
  await alice.put(path, { messages: { [bob.userId]: { '*': { number: 2 } } } });
  await phone.put(path, { messages: { [bob.userId]: { '*': { number: 3 } } } });
  for (const device of [bob, tablet]) assert.deepEqual(numbers(await device.sync()), [1, 3]);
});

test('to-device: what waits for a device that is signed out, and what it has sent, is gone at once', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const phone = await login(server, alice.userId, alice.password);
  await sendToDevice(phone, phone, 1);
  await sendToDevice(alice, phone, 2);
  await phone.post('/logout');
  await sendToDevice(alice, phone, 3);
  const rows = (table: string) =>
    server.ctx.db.all<[], { device_id: string }>({ name: '', text: `SELECT device_id FROM ${table}` });
  assert.deepEqual(await rows('to_device'), []);
  const senders = (await rows('to_device_transactions')).map((row) => row.device_id);
  assert.deepEqual(senders, [alice.deviceId, alice.deviceId]);
});

test('to-device: a device that never comes back has at most 50,000 messages waiting', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const fill = {
    name: '',
    text: `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 49999)
           INSERT INTO to_device (user_id, device_id, position, message_json)
           SELECT '${bob.userId}', '${bob.deviceId}', -n, '{}' FROM n`,
  };
  await server.ctx.db.write('test', (tx) => tx.run(fill));
  for (const number of [1, 2]) await sendToDevice(alice, bob, number);
  const last = { name: '', text: 'SELECT message_json FROM to_device ORDER BY position DESC LIMIT 2' };
  const kept = await server.ctx.db.all<[], { message_json: string }>(last);
  assert.deepEqual(
    kept.map((row) => JSON.parse(row.message_json).content),
    [{ number: 1 }, undefined],
  );
});

test('one-time and fallback keys: what no other device could use, or is too much, is refused as a whole', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const many = (count: number, algorithm: (index: number) => string) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, index) => [`${algorithm(index)}:K${index}`, oneTimeKey('k')]),
    );
  const good = { 'signed_curve25519:GOOD': oneTimeKey('k') };
  const wrong: object[] = [
    { one_time_keys: { ...good, 'signed_curve25519:': oneTimeKey('k') } },
    { one_time_keys: { ...good, ':A': oneTimeKey('k') } },
    { one_time_keys: { ...good, nothing: oneTimeKey('k') } },
    { one_time_keys: { ...good, 'signed_curve25519:A': 5 } },
    { one_time_keys: { ...good, 'signed_curve25519:A': null } },
    { one_time_keys: { ...good, 'signed_curve25519:A': { key: 1.5 } } },
    { one_time_keys: { ...good, 'signed_curve25519:A': oneTimeKey('x'.repeat(5_000)) } },
    { one_time_keys: { ...good, [`signed_curve25519:${'x'.repeat(255)}`]: oneTimeKey('k') } },
    { one_time_keys: { ...good, 'signed_curve25519:\0': oneTimeKey('k') } },
    { one_time_keys: many(201, () => 'signed_curve25519') },
    { one_time_keys: good, fallback_keys: many(11, (index) => `algorithm${index}`) },
    { one_time_keys: good, fallback_keys: { 'signed_curve25519:A': oneTimeKey('x'.repeat(5_000)) } },
  ];
  for (const body of wrong) {
    const answer = await alice.try('POST', '/keys/upload', body);
    const shown = JSON.stringify(body).slice(0, 100);
    assert.deepEqual([answer.status, answer.body.errcode], [400, 'M_INVALID_PARAM'], shown);
  }
  for (const body of [{ one_time_keys: [] }, { fallback_keys: 'x' }]) {
    const answer = await alice.try('POST', '/keys/upload', body);
    assert.deepEqual([answer.status, answer.body.errcode], [400, 'M_BAD_JSON']);
  }
  await alice.post('/keys/upload', { fallback_keys: many(10, (index) => `algorithm${index}`) });
  const more = await alice.try('POST', '/keys/upload', { fallback_keys: { 'another:A': oneTimeKey('k') } });
  assert.deepEqual([more.status, more.body.errcode], [400, 'M_INVALID_PARAM']);
  const answer = await alice.sync();
  assert.deepEqual(answer.device_one_time_keys_count, { signed_curve25519: 0 });
  assert.equal(answer.device_unused_fallback_key_types.length, 10);
  // The same key again is no error; another one of the same name is, and nothing beside it is stored.
  await alice.post('/keys/upload', { one_time_keys: good });
  await alice.post('/keys/upload', { one_time_keys: good });
  const other = { 'signed_curve25519:NEW': oneTimeKey('k'), 'signed_curve25519:GOOD': oneTimeKey('other') };
  const conflict = await alice.try('POST', '/keys/upload', { one_time_keys: other });
  assert.deepEqual([conflict.status, conflict.body.errcode], [400, 'M_INVALID_PARAM']);
  assert.deepEqual((await alice.sync()).device_one_time_keys_count, { signed_curve25519: 1 });
});

test('transaction ids: shown to the device that sent, and to no other', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const phone = await login(server, alice.userId, alice.password);
  const roomId = await alice.createRoom();
  const since = (await phone.sync()).next_batch;
  const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/mine`;
  const first = await alice.put(path, { msgtype: 'm.text', body: 'hello' });
  assert.deepEqual(await alice.put(path, { msgtype: 'm.text', body: 'again' }), first, 'sent once');
  const shown = async (client: TestClient) =>
    (await client.sync({ since })).rooms.join[roomId].timeline.events.map(
      (event: Body) => event.unsigned.transaction_id,
    );
  assert.deepEqual(await shown(alice), ['mine']);
  assert.deepEqual(await shown(phone), [undefined]);
});

test('devices: keys left are counted, and changes of those one shares a room with are told', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  const first = await alice.sync();
  assert.deepEqual(first.device_one_time_keys_count, { signed_curve25519: 0 });
  await alice.post('/keys/upload', { one_time_keys: { 'signed_curve25519:AAAA': oneTimeKey('x') } });
  const counted = await alice.sync({ since: first.next_batch });
  assert.deepEqual(counted.device_one_time_keys_count, { signed_curve25519: 1 });

  const keys = { user_id: bob.userId, device_id: bob.deviceId, algorithms: [], keys: {}, signatures: {} };
  await bob.post('/keys/upload', { device_keys: keys });
  const strangers = await alice.sync({ since: counted.next_batch });
  assert.equal(strangers.device_lists, undefined);
  await bob.join(roomId);
  const joined = await alice.sync({ since: strangers.next_batch });
  assert.deepEqual(joined.device_lists.changed, [bob.userId]);
  await bob.post('/keys/upload', { device_keys: { ...keys, algorithms: ['new'] } });
  const changed = await alice.sync({ since: joined.next_batch, timeout: 5_000 });
  assert.deepEqual(changed.device_lists.changed, [bob.userId]);
  await bob.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
  const left = await alice.sync({ since: changed.next_batch });
  assert.deepEqual(left.device_lists.left, [bob.userId]);
});

test('row 72: device keys of a wrong shape anywhere they are refused, and nothing of the upload is kept', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const id = `ed25519:${alice.deviceId}`;
  const keys = {
    user_id: alice.userId,
    device_id: alice.deviceId,
    algorithms: ['m.megolm.v1.aes-sha2'],
    keys: { [id]: 'key' },
    signatures: { [alice.userId]: { [id]: 'signature' } },
  };
  const wrong: object[] = [
    { user_id: '@bob:kurir.test' },
    { device_id: 'OTHER' },
    { algorithms: 'm.megolm.v1.aes-sha2' },
    { algorithms: [1] },
    { keys: [] },
    { keys: { [id]: { key: 'x' } } },
    { signatures: 'x' },
    { signatures: { [alice.userId]: 'x' } },
    { signatures: { [alice.userId]: { [id]: 1 } } },
    { unsigned: { padding: 'x'.repeat(65_536) } },
  ];
  for (const part of wrong) {
    const upload = {
      device_keys: { ...keys, ...part },
      one_time_keys: { 'signed_curve25519:A': oneTimeKey('x') },
    };
    const { status, body } = await alice.try('POST', '/keys/upload', upload);
    assert.deepEqual([status, body.errcode], [400, 'M_INVALID_PARAM'], JSON.stringify(part).slice(0, 100));
  }
  for (const part of Object.keys(keys)) {
    const rest = Object.fromEntries(Object.entries(keys).filter(([name]) => name !== part));
    const { status, body } = await alice.try('POST', '/keys/upload', { device_keys: rest });
    assert.deepEqual([status, body.errcode], [400, 'M_BAD_JSON'], part);
  }
  const { one_time_key_counts: counts } = await alice.post('/keys/upload', { device_keys: null });
  assert.deepEqual(counts, { signed_curve25519: 0 });
  await alice.post('/keys/upload', { device_keys: keys });
  const { device_keys: found } = await alice.post('/keys/query', { device_keys: { [alice.userId]: [] } });
  assert.deepEqual(found[alice.userId][alice.deviceId], keys);
});

test('row 175: only those who share a room are told of changes, and of those who left it', async () => {
  await using server = await startServer();
  const [alice, bob, carol, mallory] = await Promise.all([1, 2, 3, 4].map(() => register(server)));
  assert.ok(alice && bob && carol && mallory);
  const roomId = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId, carol.userId] });
  await bob.join(roomId);
  const { next_batch: from } = await mallory.sync();
  const change = (client: TestClient) => {
    const keys = { user_id: client.userId, device_id: client.deviceId, keys: {}, signatures: {} };
    return client.post('/keys/upload', { device_keys: { ...keys, algorithms: ['new'] } });
  };
  const toldSince = async (client: TestClient, since: string) => {
    const { next_batch: to, device_lists: lists } = await client.sync({ since });
    const asked = await client.get(`/keys/changes?${new URLSearchParams({ from: since, to })}`);
    assert.deepEqual(asked, { changed: [], left: [], ...lists });
    return asked;
  };
  // Neither a stranger, nor one who was invited and declines, nor one who is banned without having been there.
  await alice.post(`/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: mallory.userId });
  await change(alice);
  await change(bob);
  await mallory.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
  await alice.post(`/rooms/${encodeURIComponent(roomId)}/ban`, { user_id: mallory.userId });
  assert.deepEqual(await toldSince(mallory, from), { changed: [], left: [] });

  // Who left is not told what becomes of the others afterwards.
  const { next_batch: atLeave } = await bob.sync();
  await bob.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
  await carol.join(roomId);
  await change(alice);
  const { next_batch: left } = await bob.sync({ since: atLeave });
  assert.deepEqual(await toldSince(bob, atLeave), { changed: [], left: [alice.userId] });
  await carol.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
  await change(carol);
  assert.deepEqual(await toldSince(bob, left), { changed: [], left: [] });
});

test('devices: who left and was banned, all between two answers, is told as left; who came back is not', async () => {
  await using server = await startServer();
  const [alice, bob, carol] = await Promise.all([1, 2, 3].map(() => register(server)));
  assert.ok(alice && bob && carol);
  const roomId = await alice.createRoom();
  const path = `/rooms/${encodeURIComponent(roomId)}`;
  await bob.join(roomId);
  await carol.join(roomId);
  const { next_batch: since } = await alice.sync();
  await bob.post(`${path}/leave`);
  await alice.post(`${path}/ban`, { user_id: bob.userId });
  await carol.post(`${path}/leave`);
  await carol.join(roomId);
  const { device_lists: lists } = await alice.sync({ since });
  assert.deepEqual(lists, { changed: [carol.userId], left: [bob.userId] });
});

/** Attacks by who has an account, on rooms and their history. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const path = (roomId: string, rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;
const NUL = 'a\u0000b';

test('row 45: NUL in what a user says is kept as it is, or refused, and is never a fault of the server', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom({ name: NUL, topic: NUL });
  const own = `/user/${encodeURIComponent(alice.userId)}`;
  const requests: [string, string, object?][] = [
    ['PUT', path(roomId, `state/test.nul/${encodeURIComponent(NUL)}`), { [NUL]: NUL }],
    ['PUT', path(roomId, `state/${encodeURIComponent(NUL)}`), {}],
    ['PUT', path(roomId, `send/${encodeURIComponent(NUL)}/${encodeURIComponent(NUL)}`), { body: NUL }],
    ['PUT', `${own}/rooms/${encodeURIComponent(roomId)}/tags/${encodeURIComponent(NUL)}`, {}],
    ['PUT', `${own}/account_data/test.nul`, { [NUL]: NUL }],
    ['PUT', `${own}/account_data/${encodeURIComponent(NUL)}`, {}],
    ['PUT', `/profile/${alice.userId}/displayname`, { displayname: NUL }],
    ['POST', path(roomId, 'report'), { reason: NUL }],
    ['POST', path(roomId, 'invite'), { user_id: `@${NUL}:kurir.test` }],
    ['GET', path(roomId, `event/${encodeURIComponent(`$${NUL}`)}`)],
    ['GET', path(roomId, `messages?dir=b&from=${encodeURIComponent(NUL)}`)],
    ['GET', path(roomId, `messages?dir=b&filter=${encodeURIComponent(JSON.stringify({ types: [NUL] }))}`)],
    ['GET', `/directory/room/${encodeURIComponent(`#${NUL}:kurir.test`)}`],
    ['POST', '/createRoom', { room_alias_name: NUL }],
  ];
  for (const [method, where, body] of requests) {
    const { status } = await alice.try(method, where, body);
    assert.ok(status < 500, `${status} ${method} ${where}`);
  }
  assert.equal((await alice.get(path(roomId, 'state/m.room.topic'))).topic, NUL);
  assert.deepEqual(await alice.get(path(roomId, `state/test.nul/${encodeURIComponent(NUL)}`)), {
    [NUL]: NUL,
  });
  assert.deepEqual(await alice.get(`${own}/account_data/test.nul`), { [NUL]: NUL });
  const eventId = await alice.send(roomId, NUL);
  const event = await alice.get(path(roomId, `event/${encodeURIComponent(eventId)}`));
  assert.equal(event.content.body, NUL);
});

test('row 77: hundreds of events for one room at once are all sent, and nobody else waits for them', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  const sends = Array.from({ length: 300 }, (_, number) => alice.sendEvent(roomId, 'test.many', { number }));
  const joins = [bob.join(roomId), bob.createRoom()];
  await Promise.all(joins);
  const ids = await Promise.all(sends);
  assert.equal(new Set(ids).size, 300);
});

test('row 90: account data is given back as it was put, after joins, leaves and a restart', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const odd = {
    [bob.userId]: ['!a:b', 5, null, ['!c:d']],
    'no user': { '': [] },
    '': 1.5,
    __proto__x: null,
    '10': -0.25,
  };
  const direct = `/user/${encodeURIComponent(alice.userId)}/account_data/m.direct`;
  await alice.put(direct, odd);
  const roomId = await alice.createRoom({ is_direct: true, invite: [bob.userId] });
  await bob.join(roomId);
  await alice.post(path(roomId, 'leave'));
  await server.restart();
  assert.deepEqual(await alice.get(direct), odd);
});

test('row 94: an alias is deleted by its maker or who has the power, is not taken over, and gives none', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom({ room_alias_name: 'admins' });
  await bob.join(roomId);
  const other = await bob.createRoom();
  const alias = `/directory/room/${encodeURIComponent(`#admins:${server.serverName}`)}`;
  assert.equal((await bob.try('DELETE', alias)).status, 403);
  assert.equal((await bob.try('PUT', alias, { room_id: other })).status, 409);
  await bob.put(`/directory/room/${encodeURIComponent(`#bobs:${server.serverName}`)}`, { room_id: roomId });
  for (const type of ['m.room.canonical_alias', 'm.room.name', 'm.room.power_levels'])
    assert.equal((await bob.try('PUT', path(roomId, `state/${type}`), {})).status, 403, type);
  assert.equal((await bob.get(alias)).room_id, roomId);
});

test('row 112: the transaction id of an event is told to the device that sent it, wherever the event is shown', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const send = (txnId: string, content: object) =>
    alice.put(path(roomId, `send/m.room.message/${txnId}`), { msgtype: 'm.text', body: txnId, ...content });
  const { event_id: root } = await send('secret-1', {});
  const { event_id: reply } = await send('secret-2', {
    'm.relates_to': { rel_type: 'm.thread', event_id: root },
  });
  await send('secret-3', {
    'm.new_content': { msgtype: 'm.text', body: 'edited' },
    'm.relates_to': { rel_type: 'm.replace', event_id: reply },
  });
  const other = await login(server, alice.userId, alice.password);
  const id = encodeURIComponent(root);
  const seenBy = async (who: TestClient) => {
    const v1 = (rest: string) => who.get(`/_matrix/client/v1${path(roomId, rest)}`);
    const limited = { room: { timeline: { limit: 3 } } };
    return {
      sync: await who.sync(),
      limited: await who.sync({ filter: limited }),
      event: await who.get(path(roomId, `event/${id}`)),
      context: await who.get(path(roomId, `context/${id}`)),
      messages: await who.get(path(roomId, 'messages?dir=b&limit=50')),
      relations: await v1(`relations/${id}?recurse=true`),
      threads: await v1('threads'),
      initialSync: await who.get(path(roomId, 'initialSync')),
      events: await who.get('/events?from=s1_0&timeout=0'),
    };
  };
  const shows = (answer: unknown) => JSON.stringify(answer).includes('transaction_id');
  for (const [where, answer] of Object.entries(await seenBy(alice))) assert.ok(shows(answer), where);
  for (const who of [bob, other]) {
    for (const [where, answer] of Object.entries(await seenBy(who))) assert.ok(!shows(answer), where);
  }
});

test('row 130: a tombstone moves nobody, and gives nobody power', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const power = { users: { [alice.userId]: 100, [bob.userId]: 100 } };
  const name = { room_alias_name: 'old', room_version: '11', power_level_content_override: power };
  const old = await alice.createRoom(name);
  await bob.join(old);
  const next = await bob.createRoom({ creation_content: { predecessor: { room_id: old } } });
  await bob.put(path(old, 'state/m.room.tombstone'), { body: 'moved', replacement_room: next });
  assert.deepEqual((await alice.get('/joined_rooms')).joined_rooms, [old]);
  const alias = await bob.get(`/directory/room/${encodeURIComponent(`#old:${server.serverName}`)}`);
  assert.equal(alias.room_id, old);
  await alice.join(next);
  assert.equal((await alice.try('PUT', path(next, 'state/m.room.name'), { name: 'mine' })).status, 403);
});

test('row 161: a transaction id counts for one device and one endpoint, also at once and after a restart', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const other = await login(server, alice.userId, alice.password);
  const [one, two] = [await alice.createRoom(), await alice.createRoom()];
  await bob.join(one);
  const put = async (who: TestClient, rest: string): Promise<string> =>
    (await who.put(rest, { body: 'hello' })).event_id;
  const target = encodeURIComponent(await alice.send(one, 'target'));
  const target2 = encodeURIComponent(await alice.send(one, 'target'));
  const places: [TestClient, string][] = [
    [alice, path(one, 'send/m.room.message/t')],
    [alice, path(one, 'send/test.other/t')],
    [alice, path(two, 'send/m.room.message/t')],
    [other, path(one, 'send/m.room.message/t')],
    [bob, path(one, 'send/m.room.message/t')],
    [alice, path(one, `redact/${target}/t`)],
    [alice, path(one, `redact/${target2}/t`)],
  ];
  const sent: string[] = [];
  for (const [who, rest] of places) sent.push(await put(who, rest));
  assert.equal(new Set(sent).size, places.length);
  const again = await Promise.all(places.flatMap(([who, rest]) => [put(who, rest), put(who, rest)]));
  assert.deepEqual(
    again,
    sent.flatMap((eventId) => [eventId, eventId]),
  );
  await server.restart();
  for (const [index, [who, rest]] of places.entries()) assert.equal(await put(who, rest), sent[index]);
  const atOnce = await Promise.all(
    Array.from({ length: 20 }, () => put(alice, path(one, 'send/m.room.message/at-once'))),
  );
  assert.equal(new Set(atOnce).size, 1);
});

test('row 162: a filter or token that is forged or huge is refused, or gives nobody more than theirs', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const mine = await bob.createRoom();
  const filter = await alice.post(`/user/${encodeURIComponent(alice.userId)}/filter`, {
    room: { rooms: [roomId] },
  });
  const filters = [
    filter.filter_id,
    "' OR 1=1 --",
    '{"room":{"rooms":["\' OR 1=1"]}}',
    `{"room":{"rooms":${JSON.stringify(Array.from({ length: 500 }, () => roomId))}}}`,
    '{"room":{"timeline":{"types":["*************************a*b"]}}}',
    '[]',
    '{',
  ];
  for (const text of filters) {
    const { status, body } = await bob.try('GET', `/sync?filter=${encodeURIComponent(text)}`);
    assert.ok(status < 500, text);
    assert.ok(!JSON.stringify(body).includes(roomId), text);
  }
  const tokens = ['s1_-5', 's1_999999999999999', 's1_1e3', "s1_1' OR 1", 's2_1', 'x'.repeat(5_000), '\u0000'];
  for (const token of tokens) {
    const value = encodeURIComponent(token);
    for (const where of [
      `/sync?since=${value}`,
      path(mine, `messages?dir=b&from=${value}`),
      path(mine, `messages?dir=f&to=${value}`),
      path(mine, `members?at=${value}`),
      `/events?timeout=0&from=${value}`,
      `/_matrix/client/v1${path(mine, `threads?from=${value}`)}`,
    ]) {
      const { status, body } = await bob.try('GET', where);
      assert.ok(status < 500, where);
      assert.ok(!JSON.stringify(body).includes(roomId), where);
    }
  }
});

test('row 166: what an ignored user says, and whom they invite, does not reach who ignores them', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const list = `/user/${encodeURIComponent(alice.userId)}/account_data/m.ignored_user_list`;
  await alice.put(list, { ignored_users: { [bob.userId]: {} } });
  const { next_batch: since } = await alice.sync();
  await bob.send(roomId, 'noise');
  await bob.createRoom({ invite: [alice.userId], name: 'noise' });
  await alice.send(roomId, 'hello');
  for (const answer of [await alice.sync({ since }), await alice.sync(), await alice.get('/initialSync')]) {
    const text = JSON.stringify(answer);
    assert.ok(!text.includes('noise'), text);
    assert.ok(text.includes('hello'));
  }
  const { chunk } = await alice.get(path(roomId, 'messages?dir=b&limit=50'));
  assert.ok(chunk.every((event: Body) => event.content.body !== 'noise'));
});

test('row 165: presence, typing and receipts are for those in a room; private receipts go to no other server', async () => {
  await using fleet = await startFleet(1, { presence: 'federated' });
  const server = fleet.at(0);
  await using peer = await new RoomPeer(fleet.authority).start();
  const [alice, bob, stranger] = [await register(server), await register(server), await register(server)];
  const roomId = await alice.createRoom({ invite: [bob.userId] });
  await bob.join(roomId);
  const shared = peer.makeRoom();
  await alice.join(shared.roomId, [peer.name]);
  await stranger.createRoom();
  const since = { bob: (await bob.sync()).next_batch, stranger: (await stranger.sync()).next_batch };
  const toPeer = () => peer.peer.requests.filter(({ url }) => url.includes('/send/')).map(({ body }) => body);

  await alice.put(`/presence/${alice.userId}/status`, { presence: 'online', status_msg: 'seen by friends' });
  const messages = [await alice.send(roomId, 'here'), await alice.send(shared.roomId, 'there')];
  for (const [index, room] of [roomId, shared.roomId].entries()) {
    const eventId = encodeURIComponent(messages[index] ?? '');
    await alice.put(path(room, `typing/${alice.userId}`), { typing: true, timeout: 30_000 });
    await alice.post(path(room, `receipt/m.read.private/${eventId}`));
    await alice.post(path(room, 'read_markers'), { 'm.read.private': messages[index] });
  }
  const told = await bob.syncUntil(({ presence }) => JSON.stringify(presence ?? {}).includes('seen by'), {
    since: since.bob,
  });
  assert.equal(JSON.stringify(told).includes('m.read.private'), false);
  // A public receipt after the private ones: once it is there, they would be.
  await alice.post(path(shared.roomId, `receipt/m.read/${encodeURIComponent(messages[1] ?? '')}`));
  await until(() => toPeer().some((body) => body.includes('m.receipt')), 'that the peer has the receipt');
  assert.equal(
    toPeer().some((body) => body.includes('m.read.private')),
    false,
  );
  assert.equal(JSON.stringify(await bob.sync()).includes('m.read.private'), false);

  const unseen = JSON.stringify([
    await stranger.sync({ since: since.stranger }),
    await stranger.sync({ fullState: true }),
  ]);
  assert.equal(unseen.includes(alice.userId), false);
  for (const [method, where] of [
    ['GET', `/presence/${alice.userId}/status`],
    ['PUT', path(roomId, `typing/${stranger.userId}`)],
    ['POST', path(roomId, `receipt/m.read/${encodeURIComponent(messages[0] ?? '')}`)],
  ] as const) {
    const body = method === 'PUT' ? { typing: true, timeout: 1_000 } : method === 'POST' ? {} : undefined;
    assert.equal((await stranger.try(method, where, body)).status, 403, where);
  }
});

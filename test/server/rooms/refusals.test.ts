import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, type Body, register, request } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const path = (roomId: string, rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;
const refusal = ({ status, body }: Answer) => `${status} ${body.errcode} ${body.error}`;

test('row 41: a room of others and one that is not there are refused alike, whatever is asked of them', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const carol = await register(server);
  const closed = await alice.createRoom({ preset: 'private_chat' });
  const nowhere = `!${'A'.repeat(43)}`;
  const member = `state/m.room.member/${encodeURIComponent(carol.userId)}`;
  const requests: readonly (readonly [string, string, Body?])[] = [
    ['PUT', 'send/test.event/t1', {}],
    ['PUT', 'state/test.state/key', {}],
    ['PUT', member, { membership: 'leave' }],
    ['PUT', 'redact/%24event/t2', {}],
    ['PUT', `typing/${encodeURIComponent(carol.userId)}`, { typing: true }],
    ['POST', 'receipt/m.read/%24event', {}],
    ['POST', 'read_markers', { 'm.read': '$event' }],
    ['POST', 'invite', { user_id: alice.userId }],
    ['POST', 'kick', { user_id: alice.userId }],
    ['POST', 'ban', { user_id: alice.userId }],
    ['POST', 'leave', {}],
    ['GET', 'state'],
    ['GET', 'state/m.room.create'],
    ['GET', 'members'],
    ['GET', 'joined_members'],
    ['GET', 'messages?dir=b'],
    ['GET', 'aliases'],
    ['GET', 'initialSync'],
    ['PUT', 'send/test.event/t3?org.matrix.msc4140.delay=5', {}],
  ];
  for (const [method, rest, body] of requests) {
    const [there, absent] = [
      await carol.try(method, path(closed, rest), body),
      await carol.try(method, path(nowhere, rest), body),
    ];
    assert.equal(there.status, 403, `${method} ${rest}`);
    assert.equal(there.body.errcode, 'M_FORBIDDEN');
    assert.equal(refusal(there), refusal(absent), `${method} ${rest}`);
  }
});

test('kick: only who is in the room, is invited or knocks', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  const kick = async (userId: string) =>
    (await alice.try('POST', path(roomId, 'kick'), { user_id: userId })).status;
  assert.equal(await kick(bob.userId), 403);
  assert.equal(await kick('@nobody:kurir.test'), 403);
  await alice.post(path(roomId, 'invite'), { user_id: bob.userId });
  assert.equal(await kick(bob.userId), 200);
  await bob.join(roomId);
  assert.equal(await kick(bob.userId), 200);
  assert.equal(await kick(bob.userId), 403);
});

test('messages: who has left reads what was before, also while invited again, banned, or after a refusal', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] });
  await bob.join(roomId);
  await alice.send(roomId, 'before');
  await bob.post(path(roomId, 'leave'));
  await alice.send(roomId, 'after');
  const read = async () => {
    const { chunk } = await bob.get(path(roomId, 'messages?dir=b&limit=50'));
    const names = (await bob.get(path(roomId, 'members'))).chunk.length;
    assert.equal(names, 2);
    return chunk.map((event: Body) => event.content.body).filter(Boolean);
  };
  await alice.post(path(roomId, 'invite'), { user_id: bob.userId });
  assert.deepEqual(await read(), ['before']);
  await bob.post(path(roomId, 'leave'));
  assert.deepEqual(await read(), ['before']);
  await alice.post(path(roomId, 'ban'), { user_id: bob.userId });
  assert.deepEqual(await read(), ['before']);
  await bob.post(path(roomId, 'forget'));
  assert.equal((await bob.try('GET', path(roomId, 'messages?dir=b'))).status, 403);
});

test('messages: who was invited, and declined, reads nothing', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] });
  assert.equal((await bob.try('GET', path(roomId, 'messages?dir=b'))).status, 403);
  await bob.post(path(roomId, 'leave'));
  assert.equal((await bob.try('GET', path(roomId, 'messages?dir=b'))).status, 403);
  await alice.post(path(roomId, 'ban'), { user_id: bob.userId });
  assert.equal((await bob.try('GET', path(roomId, 'state'))).status, 403);
});

test('receipts: a thread_id must be of an event of the room', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const [roomId, other] = [await alice.createRoom(), await alice.createRoom()];
  const eventId = await alice.send(roomId, 'root');
  const elsewhere = await alice.send(other, 'root of another room');
  const receipt = (body: Body) =>
    alice.try('POST', path(roomId, `receipt/m.read/${encodeURIComponent(eventId)}`), body);
  for (const threadId of ['', 7, '$none', elsewhere]) {
    assert.equal((await receipt({ thread_id: threadId })).status, 400, `${threadId}`);
  }
  for (const threadId of ['main', eventId]) {
    assert.equal((await receipt({ thread_id: threadId })).status, 200, threadId);
  }
  assert.equal((await alice.try('POST', path(roomId, 'receipt/m.read/%24a%00'), {})).status, 400);
});

test('receipts and markers: only of an event of the room; of another room it is as one that is not there', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const [roomId, other] = [await alice.createRoom(), await alice.createRoom()];
  const eventId = await alice.send(roomId, 'here');
  const elsewhere = await alice.send(other, 'elsewhere');
  const { next_batch: since } = await alice.sync();
  const refusals = new Set<string>();
  for (const wrong of [elsewhere, `$${'A'.repeat(43)}`]) {
    for (const type of ['m.read', 'm.read.private', 'm.fully_read']) {
      const receipt = path(roomId, `receipt/${type}/${encodeURIComponent(wrong)}`);
      refusals.add(refusal(await alice.try('POST', receipt, {})));
      const markers = { 'm.fully_read': eventId, 'm.read': eventId, [type]: wrong };
      refusals.add(refusal(await alice.try('POST', path(roomId, 'read_markers'), markers)));
    }
  }
  assert.deepEqual([...refusals], ['404 M_NOT_FOUND Event not found']);
  assert.equal((await alice.sync({ since })).rooms, undefined, 'nothing of a refused request is kept');
});

test('aliases: one without a name is refused', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const alias = encodeURIComponent(`#:${server.serverName}`);
  const answer = await alice.try('PUT', `/directory/room/${alias}`, { room_id: roomId });
  assert.equal(`${answer.status} ${answer.body.errcode}`, '400 M_INVALID_PARAM');
});

test('createRoom: what canonical JSON cannot hold is 400 M_BAD_JSON', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bodies = [
    '{"creation_content":{"a":1.5}}',
    '{"initial_state":[{"type":"test","content":{"a":9007199254740993}}]}',
    '{"power_level_content_override":{"x":0.5}}',
  ];
  for (const body of bodies) {
    const answer = await request(server, 'POST', '/_matrix/client/v3/createRoom', {
      body,
      token: alice.accessToken,
    });
    assert.equal(`${answer.status} ${answer.body.errcode}`, '400 M_BAD_JSON', body);
  }
});

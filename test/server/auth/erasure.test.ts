/** `erase` of https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId, UserId } from '#keys/ids.ts';
import { sendEvent } from '#rooms/send.ts';
import { deactivate } from '#server/auth/accounts.ts';
import { reactivate } from '#server/mas/provisioning.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startServer } from '#test/harness/server.ts';

function confirmation(user: TestClient): object {
  const identifier = { type: 'm.id.user', user: user.userId };
  return { auth: { type: 'm.login.password', identifier, password: user.password } };
}

async function textOf(user: TestClient, roomId: string, eventId: string): Promise<string | undefined> {
  const event = await user.get(`/rooms/${roomId}/event/${encodeURIComponent(eventId)}`);
  return event.content.body;
}

async function hasLeft(user: TestClient, roomId: string, userId: string): Promise<void> {
  const isGone = ({ rooms }: Body) =>
    [
      ...(rooms?.join?.[roomId]?.timeline?.events ?? []),
      ...(rooms?.join?.[roomId]?.state?.events ?? []),
    ].some((event: Body) => event.state_key === userId && event.content.membership === 'leave');
  await user.syncUntil(isGone);
}

test('who comes later is shown a redacted copy of what an erased user wrote; who was there keeps it', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const early = await register(server);
  const late = await register(server);
  const other = await register(server);
  const roomId = await bob.createRoom({ name: 'of bob' });
  await alice.join(roomId);
  const before = await alice.send(roomId, 'alice said this');
  const bobs = await bob.send(roomId, 'bob said this');
  await early.join(roomId);
  await alice.post('/account/deactivate', { ...confirmation(alice), erase: true });
  await hasLeft(bob, roomId, alice.userId);
  await late.join(roomId);

  assert.equal(await textOf(bob, roomId, before), 'alice said this');
  assert.equal(await textOf(early, roomId, before), 'alice said this', 'joined later, before the erasure');
  assert.equal(await textOf(late, roomId, before), undefined);
  assert.equal(await textOf(late, roomId, bobs), 'bob said this');
  const context = await late.get(`/rooms/${roomId}/context/${encodeURIComponent(bobs)}`);
  const page = await late.get(`/rooms/${roomId}/messages?dir=b&limit=50`);
  const sync = await late.sync();
  for (const answer of [context, page, sync]) {
    const text = JSON.stringify(answer);
    assert.ok(text.includes('bob said this'));
    assert.equal(text.includes('alice said this'), false, text);
  }
  assert.ok(JSON.stringify(await early.sync()).includes('alice said this'));
  assert.equal((await other.try('GET', `/profile/${alice.userId}`)).status, 404);
});

test('who is given their account back is read again, also by those who come later', async () => {
  await using server = await startServer();
  const { ctx } = server;
  const [alice, late] = [await register(server), await register(server)];
  const sender = alice.userId as UserId;
  const roomId = (await alice.createRoom()) as RoomId;
  assert.equal(await deactivate(ctx, sender, { erase: true }), true);
  await reactivate(ctx, sender);
  const content = { msgtype: 'm.text', body: 'back again' };
  const sent = await sendEvent(ctx, { roomId, sender, type: 'm.room.message', content });
  assert.equal(sent.kind, 'sent');
  await late.join(roomId);
  assert.equal(await textOf(late, roomId, sent.kind === 'sent' ? sent.eventId : ''), 'back again');
});

test('without erase nothing is hidden, and erase must be a boolean', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const late = await register(server);
  const roomId = await bob.createRoom();
  await alice.join(roomId);
  const said = await alice.send(roomId, 'alice said this');
  const wrong = await alice.try('POST', '/account/deactivate', { ...confirmation(alice), erase: 'yes' });
  assert.deepEqual([wrong.status, wrong.body.errcode], [400, 'M_BAD_JSON']);
  const answer = await alice.post('/account/deactivate', confirmation(alice));
  assert.deepEqual(answer, { id_server_unbind_result: 'success' });
  await late.join(roomId);
  assert.equal(await textOf(late, roomId, said), 'alice said this');
});

test('a server that comes later is served a redacted copy, one that was there the event', async () => {
  await using fleet = await startFleet(3);
  const [one, two, three] = [fleet.at(0), fleet.at(1), fleet.at(2)];
  const alice = await register(one);
  const bob = await register(one);
  const carol = await register(two);
  const dave = await register(three);
  const roomId = await bob.createRoom();
  await alice.join(roomId);
  await carol.join(roomId, [one.serverName]);
  const said = await alice.send(roomId, 'alice said this');
  await carol.syncUntil(({ rooms }) => JSON.stringify(rooms ?? {}).includes('alice said this'));
  await alice.post('/account/deactivate', { ...confirmation(alice), erase: true });
  await hasLeft(bob, roomId, alice.userId);
  await dave.join(roomId, [one.serverName]);
  const page = await dave.get(`/rooms/${roomId}/messages?dir=b&limit=50`);
  const copy = page.chunk.find((event: Body) => event.event_id === said);
  assert.ok(copy !== undefined, 'the event is in the history');
  assert.deepEqual(copy.content, {});
  assert.equal(await textOf(carol, roomId, said), 'alice said this');
});

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isRoomId } from '#keys/ids.ts';
import { getRoom } from '#rooms/room.ts';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { rowsOf } from '#test/harness/rows.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

let server: TestServer;
let alice: TestClient;
let bob: TestClient;

before(async () => {
  server = await startServer();
  [alice, bob] = await Promise.all([register(server), register(server)]);
});

after(() => server[Symbol.asyncDispose]());

const ALL = { filter: { room: { include_leave: true } } };

function forget(user: TestClient, roomId: string): Promise<Body> {
  return user.post(`${inRoom(roomId)}/forget`);
}

test('a forgotten room is gone from everything that reads history', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const eventId = await alice.send(roomId, 'seen by bob');
  await bob.post(`${inRoom(roomId)}/leave`);
  const reads = ['messages?dir=b', `event/${eventId}`, `context/${eventId}`, 'state', 'members'];
  for (const read of reads)
    assert.equal((await bob.try('GET', `${inRoom(roomId)}/${read}`)).status, 200, read);
  await forget(bob, roomId);
  for (const read of reads) {
    const { status } = await bob.try('GET', `${inRoom(roomId)}/${read}`);
    assert.ok(status === 403 || status === 404, `${read}: ${status}`);
  }
  assert.equal((await bob.sync(ALL)).rooms?.leave?.[roomId], undefined);
  await bob.join(roomId);
  assert.equal((await bob.try('GET', `${inRoom(roomId)}/event/${eventId}`)).status, 200, 'back in the room');
});

test('who was banned or kicked, or only invited, may forget too; who is in the room, invited, or a stranger may not', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const tryForget = () => bob.try('POST', `${inRoom(roomId)}/forget`, {});
  assert.equal((await tryForget()).status, 404);
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: bob.userId });
  assert.deepEqual([(await tryForget()).status, (await tryForget()).body.errcode], [400, 'M_UNKNOWN']);
  await bob.post(`${inRoom(roomId)}/leave`);
  await forget(bob, roomId);
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: bob.userId });
  await bob.join(roomId);
  assert.equal((await tryForget()).status, 400);
  await alice.post(`${inRoom(roomId)}/ban`, { user_id: bob.userId });
  await forget(bob, roomId);
  await forget(bob, roomId);
  assert.equal((await bob.sync(ALL)).rooms?.leave?.[roomId], undefined);
});

test('the other devices of a user who left and forgot a room at once learn that they left, and no more', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const { next_batch: since } = await bob.sync();
  await alice.send(roomId, 'before');
  await bob.post(`${inRoom(roomId)}/leave`);
  await forget(bob, roomId);
  const { timeline, state } = (await bob.sync({ since })).rooms.leave[roomId];
  assert.deepEqual(
    timeline.events.map((event: Body) => [event.type, event.content.membership]),
    [['m.room.member', 'leave']],
  );
  assert.deepEqual(state.events, []);
});

test('a room that all have forgotten is deleted; tags, aliases and receipts with it', async () => {
  const roomId = await alice.createRoom({ room_alias_name: 'short', visibility: 'public' });
  await bob.join(roomId);
  const eventId = await alice.send(roomId, 'text');
  await bob.post(`${inRoom(roomId)}/receipt/m.read/${eventId}`);
  await bob.put(`/user/${bob.userId}${inRoom(roomId)}/tags/m.favourite`, {});
  for (const user of [alice, bob]) await user.post(`${inRoom(roomId)}/leave`);
  await forget(alice, roomId);
  await alice.createRoom();
  await server.ctx.purges.runAll();
  const room = await roomOf(roomId);
  assert.notDeepEqual(await rowsOf(server.ctx.db, room), {});
  await forget(bob, roomId);
  await server.ctx.purges.runAll();
  assert.deepEqual(await rowsOf(server.ctx.db, room), {});
  assert.equal((await bob.try('POST', `${inRoom(roomId)}/join`, {})).status, 404);
  assert.equal((await alice.sync(ALL)).rooms?.leave?.[roomId], undefined);
  await alice.createRoom({ room_alias_name: 'short' });
});

test('the rooms of a deactivated account are deleted as if it had forgotten them', async () => {
  const carol = await register(server);
  const roomId = await carol.createRoom();
  const room = await roomOf(roomId);
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: carol.userId },
    password: carol.password,
  };
  await carol.post('/account/deactivate', { auth });
  await until(async () => {
    await server.ctx.purges.runAll();
    // The newest room and event of all stay until there are others.
    await alice.createRoom();
    return Object.keys(await rowsOf(server.ctx.db, room)).length === 0;
  }, 'that the room is deleted');
});

test('a room that was deleted here and lives on elsewhere can be joined again, whole', async () => {
  await using fleet = await startFleet(2);
  const host = await register(fleet.at(0));
  const guest = await register(fleet.at(1));
  const roomId = await host.createRoom({ name: 'Lives on' });
  await guest.join(roomId, [fleet.at(0).serverName]);
  await host.send(roomId, 'first stay');
  await guest.syncUntil(({ rooms }: Body) =>
    rooms?.join?.[roomId]?.timeline.events.some((event: Body) => event.content.body === 'first stay'),
  );
  await guest.post(`${inRoom(roomId)}/leave`);
  await guest.post(`${inRoom(roomId)}/forget`);
  await guest.createRoom();
  const { ctx } = fleet.at(1);
  await until(async () => {
    await ctx.purges.runAll();
    return isRoomId(roomId) && (await getRoom(ctx, roomId)) === undefined;
  }, 'that the room is deleted once the leave is sent');
  await guest.join(roomId, [fleet.at(0).serverName]);
  const name = await guest.get(`${inRoom(roomId)}/state/m.room.name`);
  assert.equal(name.name, 'Lives on');
  await guest.send(roomId, 'second stay');
  await host.syncUntil(({ rooms }: Body) =>
    rooms?.join?.[roomId]?.timeline.events.some((event: Body) => event.content.body === 'second stay'),
  );
});

async function roomOf(roomId: string): Promise<{ roomNid: number; roomId: string }> {
  const room = isRoomId(roomId) ? await getRoom(server.ctx, roomId) : undefined;
  assert.ok(room !== undefined);
  return room;
}

/** Rooms that are bound to a circle of servers: Kurir keeps their access control lists. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { detailLines } from '#federation/outbound/ledger.ts';
import { aclOf, circleServers } from '#federation/partners/circles.ts';
import type { RoomId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { performOnCircles } from '#server/cli/circle-operations.ts';
import type { Outcome } from '#server/cli/operations.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom, messagesOf, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { freePort } from '#test/harness/free-port.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

/** The time of day, and what the test adds to it. */
const clock = { ahead: 0, now: () => Date.now() + clock.ahead };
const fleet = await startFleet(2, { clock });
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server);
const bob = await register(fleet.at(1));

/** As the operator's command, by the running server. */
function operate(operation: JsonObject, on: TestServer = server): Promise<Outcome | undefined> {
  const { ctx } = on;
  return performOnCircles({ ...ctx, keeper: { circles: ctx.circles, ctx } }, operation);
}

async function linesOf(operation: JsonObject): Promise<string[]> {
  const outcome = await operate(operation);
  if (outcome?.kind !== 'done') throw new Error(JSON.stringify(outcome));
  return [...outcome.lines];
}

async function problemOf(operation: JsonObject): Promise<string> {
  const outcome = await operate(operation);
  if (outcome?.kind !== 'refused') throw new Error(JSON.stringify(outcome));
  return outcome.problem;
}

const aclIn = (roomId: string, user: TestClient = alice) =>
  user.try('GET', `${inRoom(roomId)}/state/m.room.server_acl/`);

async function aclEvents(roomId: string): Promise<number> {
  const { chunk } = await alice.get(`${inRoom(roomId)}/messages?dir=b&limit=100`);
  return chunk.filter(({ type }: JsonObject) => type === 'm.room.server_acl').length;
}

test('the list of a bound room follows the circle, and is sent only where it changes', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await linesOf({ operation: 'circle.create', name: 'north', servers: ['a.test', '*.b.test'] });
  const bound = await linesOf({ operation: 'room.circle', room: roomId, name: 'north' });
  assert.match(bound.join('\n'), /is bound to the circle north\.\n.*the list was sent\./);
  const expected = (...allow: string[]) => ({
    allow: [...allow, 'localhost'].sort(),
    allow_ip_literals: false,
    deny: [],
  });
  assert.deepEqual((await aclIn(roomId)).body, expected('a.test', '*.b.test'));
  const added = await linesOf({ operation: 'circle.add', name: 'north', servers: ['c.test', 'A.test'] });
  assert.deepEqual(added, ['north  *.b.test a.test c.test', `${roomId}: the list was sent.`]);
  assert.deepEqual((await aclIn(roomId)).body, expected('a.test', '*.b.test', 'c.test'));
  const again = await linesOf({ operation: 'circle.add', name: 'north', servers: ['c.test'] });
  assert.equal(again.at(-1), `${roomId}: the list is right.`);
  assert.equal(await aclEvents(roomId), 2);
  await linesOf({ operation: 'circle.remove', name: 'north', servers: ['a.test', '*.b.test'] });
  assert.deepEqual((await aclIn(roomId)).body, expected('c.test'));

  await linesOf({ operation: 'room.circle', room: roomId });
  const later = await linesOf({ operation: 'circle.add', name: 'north', servers: ['d.test'] });
  assert.equal(later.length, 1, 'the room was let go');
  assert.match(await problemOf({ operation: 'room.circle', room: roomId }), /is bound to no circle/);
});

test('a server outside of the circle is named as cut off, and what it sends is refused', async () => {
  const port = await freePort();
  const { federationCa, tlsCert = '', tlsKey = '' } = server.ctx.config;
  await using outsider = await startServer({
    ...{ serverName: `127.0.0.1:${port}`, federationListen: { host: '127.0.0.1', port } },
    ...{ federationCa, tlsCert, tlsKey },
  });
  const carol = await register(outsider);
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await bringIn(alice, bob, roomId);
  await bringIn(alice, carol, roomId);
  await linesOf({ operation: 'circle.create', name: 'few', servers: ['localhost'] });
  const bound = await linesOf({ operation: 'room.circle', room: roomId, name: 'few' });
  assert.equal(bound.at(-1), `Not in the circle, and cut off from the room: 127.0.0.1:${port}`);
  // Else bob's server takes what carol says, and ours has it as what bob answers to.
  await until(async () => (await aclIn(roomId, bob)).status === 200, 'that the list arrives');
  await carol.send(roomId, 'from outside');
  const ledger = async () => await detailLines(outsider.ctx.db, server.serverName, Date.now());
  await until(async () => /refused: [1-9]/.test((await ledger())?.join() ?? ''), 'that it is refused');
  await bob.send(roomId, 'from inside');
  await untilMessages(alice, roomId, ['from inside']);
  assert.ok(!(await messagesOf(alice, roomId)).includes('from outside'));
});

test('our own users cannot change the list of a bound room; what others change is put right', async () => {
  const roomId = await alice.createRoom({ preset: 'trusted_private_chat', room_version: '11' });
  await bringIn(alice, bob, roomId);
  const levels = await alice.get(`${inRoom(roomId)}/state/m.room.power_levels/`);
  const users = { ...levels.users, [bob.userId]: 100 };
  await alice.put(`${inRoom(roomId)}/state/m.room.power_levels/`, { ...levels, users });
  await linesOf({ operation: 'circle.create', name: 'kept', servers: ['a.test'] });
  await linesOf({ operation: 'room.circle', room: roomId, name: 'kept' });
  const open = { allow: ['*'] };
  const changed = await alice.try('PUT', `${inRoom(roomId)}/state/m.room.server_acl/`, open);
  assert.equal(changed.status, 403);
  assert.match(changed.body.error, /kept by the administrator of this server, as the circle "kept"/);
  await until(async () => (await aclIn(roomId, bob)).status === 200, 'that the list arrives');
  clock.ahead += 120_000;
  const sent = await aclEvents(roomId);
  const change = () => bob.put(`${inRoom(roomId)}/state/m.room.server_acl/`, open);
  await change();
  await until(async () => (await aclEvents(roomId)) === sent + 2, 'that it is put right');
  assert.deepEqual((await aclIn(roomId)).body.allow, ['a.test', 'localhost']);
  // A second time it waits for a minute, so that two who keep different lists do not send them all the time.
  await until(async () => (await aclIn(roomId, bob)).body.allow[0] === 'a.test', 'that the list arrives');
  await change();
  await until(async () => (await aclIn(roomId)).body.allow[0] === '*', 'that the other list arrives');
  assert.equal((await server.ctx.circles.keep(roomId as RoomId)).kind, 'sent');
  assert.equal(await aclEvents(roomId), sent + 4);
});

test('after a start the lists are brought up to date, as they were changed while the server was stopped', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await linesOf({ operation: 'circle.create', name: 'late', servers: ['a.test'] });
  await linesOf({ operation: 'room.circle', room: roomId, name: 'late' });
  const { ctx } = server;
  const offline = await performOnCircles(
    { db: ctx.db, rooms: ctx.rooms, serverName: ctx.serverName, clock: ctx.clock },
    { operation: 'circle.add', name: 'late', servers: ['b.test'] },
  );
  assert.equal(offline?.kind === 'done' && offline.lines.at(-1), 'The rooms get it when the server starts.');
  await server.restart();
  await until(async () => (await aclIn(roomId)).body.allow.includes('b.test'), 'that the list is sent');
});

test('a room that takes the place of a bound one is bound to the same circle', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat', room_version: '11' });
  await linesOf({ operation: 'circle.create', name: 'moving', servers: ['a.test'] });
  await linesOf({ operation: 'room.circle', room: roomId, name: 'moving' });
  const upgraded = await alice.post(`${inRoom(roomId)}/upgrade`, { new_version: '12' });
  const added = await linesOf({ operation: 'circle.add', name: 'moving', servers: ['b.test'] });
  assert.ok(added.includes(`${upgraded.replacement_room}: the list was sent.`), added.join('\n'));
  assert.deepEqual((await aclIn(upgraded.replacement_room)).body.allow, ['a.test', 'b.test', 'localhost']);
});

test('where nobody of ours may set the list, or is in the room, that is said', async () => {
  const theirs = await bob.createRoom({ preset: 'private_chat', room_version: '11' });
  await bringIn(bob, alice, theirs);
  await linesOf({ operation: 'circle.create', name: 'weak', servers: ['a.test'] });
  const bound = await linesOf({ operation: 'room.circle', room: theirs, name: 'weak' });
  assert.match(bound.join('\n'), /nobody of this server may set the list\. Have somebody in the room give/);
  assert.equal((await aclIn(theirs)).status, 404);
  await alice.post(`${inRoom(theirs)}/leave`);
  const left = await linesOf({ operation: 'room.circle', room: theirs, name: 'weak' });
  assert.match(left.join('\n'), /nobody of this server is in the room/);
});

test('what cannot be a circle, or be done to one, is said in one line', async () => {
  for (const [operation, says] of [
    [
      { operation: 'circle.create', name: 'North', servers: ['a.test'] },
      /no name of a circle: use lower-case/,
    ],
    [{ operation: 'circle.create', name: 'x', servers: ['a b'] }, /is made of server names/],
    [{ operation: 'circle.create', name: 'x', servers: [] }, /no server is named/],
    [{ operation: 'circle.create', name: 'north', servers: ['a.test'] }, /there is a circle north already/],
    [{ operation: 'circle.add', name: 'none', servers: ['a.test'] }, /there is no circle "none"/],
    [{ operation: 'room.circle', room: 'x', name: 'north' }, /neither a room id/],
    [{ operation: 'room.circle', room: '!no:a.test', name: 'north' }, /does not know the room/],
  ] as const) {
    assert.match(await problemOf(operation as JsonObject), says);
  }
});

test('a list lets in who keeps it, also where servers have addresses for names', () => {
  assert.deepEqual(aclOf(['b.test:8448', '*.a.test'], 'here.test:1'), {
    allow: ['*.a.test', 'b.test', 'here.test'],
    allow_ip_literals: false,
    deny: [],
  });
  assert.equal(aclOf(['a.test'], '10.0.0.1').allow_ip_literals, true);
  assert.deepEqual(circleServers(['B.test', 'a.test', 'b.test']), ['a.test', 'b.test']);
});

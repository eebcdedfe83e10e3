/** Groups of a directory that are bound to rooms: the members of the rooms follow those of the groups. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRoomId, type RoomId } from '#keys/ids.ts';
import * as groupRooms from '#storage/group-rooms.ts';
import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom, membershipOf } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import {
  patchOf,
  SCIM_TOKEN,
  scim,
  scimGroup,
  scimOk,
  scimUser,
  startScimServer,
} from '#test/harness/scim.ts';
import type { TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const PASSWORD = 'password';

function roomId(text: string): RoomId {
  assert.ok(isRoomId(text));
  return text;
}

async function bind(
  server: TestServer,
  group: Body,
  room: string,
  { power, withChildren = false }: { power?: number; withChildren?: boolean } = {},
): Promise<void> {
  const isBound = await server.ctx.groupRooms.bind({
    groupId: group.id,
    roomId: roomId(room),
    power,
    withChildren,
  });
  assert.equal(isBound, true);
}

/** Until nothing is left to do. */
async function settled({ ctx }: TestServer): Promise<void> {
  await until(
    async () => (await groupRooms.countWork(ctx.db)) === 0,
    'that all rooms are as their groups are',
  );
}

async function joinedIn(viewer: TestClient, room: string): Promise<string[]> {
  const { joined } = await viewer.get(`${inRoom(room)}/joined_members`);
  return Object.keys(joined)
    .map((userId) => userId.slice(1, userId.indexOf(':')))
    .sort();
}

function addTo(server: TestServer, group: Body, user: Body): Promise<Body> {
  return scimOk(
    server,
    'PATCH',
    `/Groups/${group.id}`,
    patchOf({ op: 'add', path: 'members', value: [{ value: user.id }] }),
  );
}

function removeFrom(server: TestServer, group: Body, user: Body): Promise<Body> {
  return scimOk(
    server,
    'PATCH',
    `/Groups/${group.id}`,
    patchOf({ op: 'remove', path: `members[value eq "${user.id}"]` }),
  );
}

test('who is in the group is brought into its room, and who leaves it is put out, unless another group holds them', async () => {
  await using server = await startScimServer();
  const admin = await register(server, 'admin');
  const room = await admin.createRoom({ preset: 'private_chat' });
  const [anna, bo, cia] = [
    await scimUser(server, 'anna'),
    await scimUser(server, 'bo'),
    await scimUser(server, 'cia'),
  ];
  const staff = await scimGroup(server, 'Staff', [anna, bo]);
  const guard = await scimGroup(server, 'Guard', [bo]);
  await bind(server, staff, room);
  await bind(server, guard, room);
  await settled(server);
  assert.deepEqual(await joinedIn(admin, room), ['admin', 'anna', 'bo']);
  await addTo(server, staff, cia);
  await settled(server);
  assert.deepEqual(await joinedIn(admin, room), ['admin', 'anna', 'bo', 'cia']);
  await removeFrom(server, staff, anna);
  await removeFrom(server, staff, bo);
  await settled(server);
  assert.deepEqual(await joinedIn(admin, room), ['admin', 'bo', 'cia']);
  const { content, sender } = await memberEvent(admin, room, '@anna:kurir.test');
  assert.deepEqual([content.membership, sender], ['leave', admin.userId], 'she was put out by who may');
  assert.equal((await scim(server, 'DELETE', `/Groups/${staff.id}`)).status, 204);
  await settled(server);
  assert.deepEqual(await joinedIn(admin, room), ['admin', 'bo']);
});

test('a public room is joined without an invitation, and one that needs an invitation with one', async () => {
  await using server = await startScimServer();
  const admin = await register(server, 'admin');
  const group = await scimGroup(server, 'Staff', [await scimUser(server, 'anna', { displayName: 'Anna' })]);
  const rooms = [await admin.createRoom(), await admin.createRoom({ preset: 'private_chat' })];
  for (const room of rooms) await bind(server, group, room);
  await settled(server);
  const seen: string[][] = [];
  for (const room of rooms) {
    const { content } = await memberEvent(admin, room, '@anna:kurir.test');
    assert.deepEqual([content.membership, content.displayname], ['join', 'Anna']);
    const { chunk } = await admin.get(`${inRoom(room)}/messages?dir=f&limit=100`);
    const events = chunk.filter(({ state_key: key }: Body) => key === '@anna:kurir.test');
    seen.push(events.map((event: Body) => event.content.membership));
  }
  assert.deepEqual(seen, [['join'], ['invite', 'join']]);
});

test('who leaves by themselves or is banned stays out, and comes back when they come into the group again', async () => {
  await using server = await startScimServer();
  const admin = await register(server, 'admin');
  const room = await admin.createRoom({ preset: 'private_chat' });
  const anna = await scimUser(server, 'anna', { password: PASSWORD });
  const bo = await scimUser(server, 'bo');
  const group = await scimGroup(server, 'Staff', [anna, bo]);
  await bind(server, group, room);
  await settled(server);
  const client = await login(server, 'anna', PASSWORD);
  await client.post(`${inRoom(room)}/leave`);
  await admin.post(`${inRoom(room)}/ban`, { user_id: '@bo:kurir.test' });
  await addTo(server, group, await scimUser(server, 'cia'));
  await settled(server);
  assert.deepEqual(await joinedIn(admin, room), ['admin', 'cia']);
  for (const user of [anna, bo]) await removeFrom(server, group, user);
  await settled(server);
  for (const user of [anna, bo]) await addTo(server, group, user);
  await settled(server);
  assert.deepEqual(await joinedIn(admin, room), ['admin', 'anna', 'cia']);
  assert.equal(await membershipOf(admin, room, '@bo:kurir.test'), 'ban');
});

test('who is not active is brought in once they are', async () => {
  await using server = await startScimServer();
  const admin = await register(server, 'admin');
  const room = await admin.createRoom({ preset: 'private_chat' });
  const anna = await scimUser(server, 'anna', { active: false });
  await bind(server, await scimGroup(server, 'Staff', [anna]), room);
  await settled(server);
  assert.deepEqual(await joinedIn(admin, room), ['admin']);
  await scimOk(server, 'PATCH', `/Users/${anna.id}`, patchOf({ op: 'replace', value: { active: true } }));
  await settled(server);
  assert.deepEqual(await joinedIn(admin, room), ['admin', 'anna']);
});

test('a group has a level in the room, which its members lose with the group', async () => {
  await using server = await startScimServer();
  const admin = await register(server, 'admin');
  const rooms: [string, string] = [
    await admin.createRoom({ preset: 'private_chat', room_version: '11' }),
    await admin.createRoom({ preset: 'private_chat', room_version: '12' }),
  ];
  const [anna, bo] = [await scimUser(server, 'anna'), await scimUser(server, 'bo')];
  const group = await scimGroup(server, 'Moderators', [anna, bo]);
  for (const room of rooms) await bind(server, group, room, { power: 50 });
  await settled(server);
  const levels = async (room: string) => (await admin.get(`${inRoom(room)}/state/m.room.power_levels`)).users;
  for (const room of rooms) {
    const { '@anna:kurir.test': a, '@bo:kurir.test': b } = await levels(room);
    assert.deepEqual([a, b], [50, 50]);
  }
  await removeFrom(server, group, anna);
  for (const room of rooms) await bind(server, group, room, { power: 60 });
  await settled(server);
  for (const room of rooms) {
    const { '@anna:kurir.test': a, '@bo:kurir.test': b } = await levels(room);
    assert.deepEqual([a, b], [undefined, 60]);
    assert.deepEqual(await joinedIn(admin, room), ['admin', 'bo']);
  }
});

test('a group of a space comes into its rooms, those too that come to it later, and stays in those that leave it', async () => {
  await using server = await startScimServer();
  const admin = await register(server, 'admin');
  const space = await admin.createRoom({ preset: 'private_chat', creation_content: { type: 'm.space' } });
  const inner = await admin.createRoom({ preset: 'private_chat', creation_content: { type: 'm.space' } });
  const room = await admin.createRoom({ preset: 'private_chat' });
  const later = await admin.createRoom({ preset: 'private_chat' });
  const child = (parent: string, each: string, via: string[]) =>
    admin.put(`${inRoom(parent)}/state/m.space.child/${encodeURIComponent(each)}`, { via });
  await child(space, inner, ['kurir.test']);
  await child(inner, room, ['kurir.test']);
  await child(space, '!elsewhere:other.test', ['other.test']);
  const group = await scimGroup(server, 'Staff', [await scimUser(server, 'anna')]);
  await bind(server, group, space, { withChildren: true });
  await settled(server);
  for (const each of [space, inner, room]) assert.deepEqual(await joinedIn(admin, each), ['admin', 'anna']);
  assert.deepEqual(await joinedIn(admin, later), ['admin']);
  await child(inner, later, ['kurir.test']);
  await until(async () => (await joinedIn(admin, later)).length === 2, 'that she comes into the new room');
  await server.restart();
  await child(inner, room, []);
  const isTarget = async () => (await groupRooms.comingTo(server.ctx.db, roomId(room))).length > 0;
  await until(async () => !(await isTarget()), 'that the room is none of the space any more');
  await settled(server);
  await addTo(server, group, await scimUser(server, 'bo'));
  await settled(server);
  assert.deepEqual(await joinedIn(admin, room), ['admin', 'anna']);
  assert.deepEqual(await joinedIn(admin, later), ['admin', 'anna', 'bo']);
});

test('a room that is let go keeps its members, whatever becomes of the group', async () => {
  await using server = await startScimServer();
  const admin = await register(server, 'admin');
  const room = await admin.createRoom({ preset: 'private_chat' });
  const anna = await scimUser(server, 'anna');
  const group = await scimGroup(server, 'Staff', [anna]);
  await bind(server, group, room);
  await settled(server);
  assert.equal(await server.ctx.groupRooms.unbind(group.id, roomId(room)), true);
  assert.equal(await server.ctx.groupRooms.unbind(group.id, roomId(room)), false);
  await removeFrom(server, group, anna);
  await settled(server);
  assert.deepEqual(await joinedIn(admin, room), ['admin', 'anna']);
});

test('where the power for it is lost, that is reported, and tried again until it works', async () => {
  let now = Date.now();
  await using server = await startScimServer({ clock: { now: () => now } });
  const admin = await register(server, 'admin');
  const room = await admin.createRoom({
    ...{ preset: 'private_chat', room_version: '11' },
    power_level_content_override: { invite: 50, users: { [admin.userId]: 100 } },
  });
  const group = await scimGroup(server, 'Staff', [await scimUser(server, 'anna')]);
  await admin.put(`${inRoom(room)}/state/m.room.power_levels`, {
    ...(await admin.get(`${inRoom(room)}/state/m.room.power_levels`)),
    users: { [admin.userId]: 40 },
    events: {},
    state_default: 40,
    invite: 41,
  });
  await bind(server, group, room);
  const problems = () => groupRooms.problems(server.ctx.db, '', 10);
  await until(async () => (await problems()).length === 1, 'that it is reported');
  assert.match(
    (await problems())[0]?.problem ?? '',
    /@admin:kurir\.test, the most powerful .* may not invite/,
  );
  assert.deepEqual(await joinedIn(admin, room), ['admin']);
  await admin.put(`${inRoom(room)}/state/m.room.join_rules`, { join_rule: 'public' });
  now += 60_000;
  server.ctx.groupRooms.wake();
  await settled(server);
  assert.deepEqual(await joinedIn(admin, room), ['admin', 'anna']);
});

test('the last one who may put people out stays, and is reported', async () => {
  await using server = await startScimServer();
  const boss = await scimUser(server, 'boss', { password: PASSWORD });
  const group = await scimGroup(server, 'Staff', [boss, await scimUser(server, 'anna')]);
  const admin = await login(server, 'boss', PASSWORD);
  const room = await admin.createRoom({ preset: 'private_chat' });
  await bind(server, group, room);
  await settled(server);
  await removeFrom(server, group, boss);
  const problems = () => groupRooms.problems(server.ctx.db, '', 10);
  await until(async () => (await problems()).length === 1, 'that it is reported');
  assert.match((await problems())[0]?.problem ?? '', /@boss:kurir\.test stays/);
  assert.deepEqual(await joinedIn(admin, room), ['anna', 'boss']);
});

test('a server that stops in the middle goes on where it was', async () => {
  await using server = await startScimServer();
  const admin = await register(server, 'admin');
  const users = [];
  for (let count = 0; count < 12; count++) users.push(await scimUser(server, `user${count}`));
  const group = await scimGroup(server, 'Staff', users);
  const rooms: string[] = [];
  for (let count = 0; count < 8; count++) rooms.push(await admin.createRoom({ preset: 'private_chat' }));
  for (const room of rooms) await bind(server, group, room);
  for (let count = 0; count < 4; count++) {
    await server.restart();
    const left = await groupRooms.countWork(server.ctx.db);
    await until(
      async () => (await groupRooms.countWork(server.ctx.db)) < Math.max(1, left),
      'that it goes on',
    );
  }
  await settled(server);
  for (const room of rooms) {
    assert.equal((await joinedIn(admin, room)).length, 13);
    const { chunk } = await admin.get(`${inRoom(room)}/messages?dir=b&limit=100`);
    const joins = chunk.filter(
      ({ type, content }: Body) => type === 'm.room.member' && content.membership === 'join',
    );
    assert.equal(joins.length, 13, 'each has joined once');
  }
});

test('when a room is upgraded its groups come along', async () => {
  await using server = await startScimServer();
  const admin = await register(server, 'admin');
  const room = await admin.createRoom({ preset: 'private_chat', room_version: '10' });
  const anna = await scimUser(server, 'anna');
  const group = await scimGroup(server, 'Staff', [anna]);
  await bind(server, group, room);
  await settled(server);
  const { replacement_room: next } = await admin.post(`${inRoom(room)}/upgrade`, { new_version: '11' });
  await settled(server);
  assert.deepEqual(await joinedIn(admin, next), ['admin', 'anna']);
  await addTo(server, group, await scimUser(server, 'bo'));
  await settled(server);
  assert.deepEqual(await joinedIn(admin, next), ['admin', 'anna', 'bo']);
  assert.deepEqual(await joinedIn(admin, room), ['admin', 'anna'], 'the old room is let go');
});

test('levels that somebody sets while members are brought in stay', async () => {
  await using server = await startScimServer();
  const admin = await register(server, 'admin');
  const room = await admin.createRoom({ preset: 'private_chat' });
  const users: Body[] = [];
  for (let number = 0; number < 120; number++) users.push(await scimUser(server, `user${number}`));
  const path = `${inRoom(room)}/state/m.room.power_levels`;
  const before = await admin.get(path);
  await bind(server, await scimGroup(server, 'Staff', users), room, { power: 50 });
  await until(async () => (await joinedIn(admin, room)).length > 1, 'that the first one is in');
  await admin.put(path, { ...before, kick: 75 });
  await settled(server);
  const after = await admin.get(path);
  assert.equal(after.kick, 75);
  assert.equal(Object.keys(after.users).length, users.length);
});

async function memberEvent(viewer: TestClient, room: string, userId: string): Promise<Body> {
  const state: Body[] = await viewer.get(`${inRoom(room)}/state`);
  const event = state.find(({ type, state_key: key }) => type === 'm.room.member' && key === userId);
  assert.ok(event, `${userId} is in no member event`);
  return event;
}

test('in a room of another server members come and go too, and lost power there is reported and comes back', async () => {
  let now = Date.now();
  await using fleet = await startFleet(2, { scimToken: [SCIM_TOKEN], clock: { now: () => now } });
  const [home, host] = [fleet.at(0), fleet.at(1)];
  const owner = await register(host, 'owner');
  const admin = await register(home, 'admin');
  const room = await owner.createRoom({ preset: 'private_chat', room_version: '11' });
  await bringIn(owner, admin, room);
  const levels = async (users: object) =>
    owner.put(`${inRoom(room)}/state/m.room.power_levels`, {
      ...(await owner.get(`${inRoom(room)}/state/m.room.power_levels`)),
      ...{ invite: 50, users: { [owner.userId]: 100, ...users } },
    });
  await levels({ [admin.userId]: 50 });
  const seen = (level: number) => async () =>
    (await admin.get(`${inRoom(room)}/state/m.room.power_levels`)).users[admin.userId] === level;
  await until(seen(50), 'that our administrator has power');
  const [anna, bo] = [await scimUser(home, 'anna'), await scimUser(home, 'bo')];
  const group = await scimGroup(home, 'Staff', [anna]);
  await bind(home, group, room);
  await settled(home);
  const isIn = (user: Body) => membershipOf(owner, room, `@${user.userName}:${home.serverName}`);
  await until(async () => (await isIn(anna)) === 'join', 'that the other server sees her');
  await levels({ [admin.userId]: 0 });
  await until(seen(0), 'that our administrator has none');
  await removeFrom(home, group, anna);
  await addTo(home, group, bo);
  const problems = () => groupRooms.problems(home.ctx.db, '', 10);
  await until(async () => (await problems()).length === 1, 'that it is reported');
  await until(async () => (await isIn(anna)) === 'leave', 'that she leaves though nobody may put her out');
  await levels({ [admin.userId]: 50 });
  await until(seen(50), 'that our administrator has power again');
  now += 60_000;
  home.ctx.groupRooms.wake();
  await settled(home);
  await until(async () => (await isIn(bo)) === 'join', 'that the other one comes in');
});

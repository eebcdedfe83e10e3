import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import { summaryFor } from '#rooms/summary.ts';
import { roomOf } from '../harness/room-builder.ts';
import { arrive, importRoom, localRooms } from './local-rooms.ts';

const ALICE: UserId = '@alice:a.test';
const USERS: readonly UserId[] = [
  '@z:b.test',
  '@y:b.test',
  '@x:b.test',
  '@w:b.test',
  '@v:b.test',
  '@u:b.test',
];

test('the heroes are the first five other members, joined or invited, in the order of their joining', async () => {
  await using rooms = await localRooms();
  const { ctx } = rooms;
  const built = roomOf(ALICE, { join_rule: 'public' });
  const room = await importRoom(ctx, built);
  for (const user of USERS.slice(0, 3)) await arrive(ctx, room, built.join(user));
  for (const user of USERS.slice(3)) await arrive(ctx, room, built.invite(ALICE, user));
  assert.deepEqual(await summaryFor(ctx, room.roomNid, ALICE), {
    heroes: USERS.slice(0, 5),
    joinedCount: 4,
    invitedCount: 3,
  });
  const [first = ALICE] = USERS;
  const summary = await summaryFor(ctx, room.roomNid, first);
  assert.deepEqual(summary.heroes, [ALICE, ...USERS.slice(1, 5)]);
});

test('where nobody else is joined or invited, the heroes are those who left or were banned', async () => {
  await using rooms = await localRooms();
  const { ctx } = rooms;
  const built = roomOf(ALICE, { join_rule: 'public' });
  const room = await importRoom(ctx, built);
  const [left = ALICE, banned = ALICE] = USERS;
  for (const user of [left, banned]) await arrive(ctx, room, built.join(user));
  await arrive(ctx, room, built.leave(left));
  await arrive(ctx, room, built.ban(ALICE, banned));
  assert.deepEqual(await summaryFor(ctx, room.roomNid, ALICE), {
    heroes: [left, banned],
    joinedCount: 1,
    invitedCount: 0,
  });
});

test('a room with a name or an alias has no heroes; an empty name is none', async () => {
  await using rooms = await localRooms();
  const { ctx } = rooms;
  const built = roomOf(ALICE, { join_rule: 'public' });
  const room = await importRoom(ctx, built);
  await arrive(ctx, room, built.state(ALICE, 'm.room.name', '', { name: '' }));
  assert.deepEqual((await summaryFor(ctx, room.roomNid, ALICE)).heroes, []);
  await arrive(ctx, room, built.state(ALICE, 'm.room.canonical_alias', '', { alias: '#a:a.test' }));
  assert.equal((await summaryFor(ctx, room.roomNid, ALICE)).heroes, undefined);
  await arrive(ctx, room, built.state(ALICE, 'm.room.canonical_alias', '', {}));
  assert.deepEqual((await summaryFor(ctx, room.roomNid, ALICE)).heroes, []);
  await arrive(ctx, room, built.state(ALICE, 'm.room.name', '', { name: 'The room' }));
  assert.equal((await summaryFor(ctx, room.roomNid, ALICE)).heroes, undefined);
});

test('users who serve the others, such as bots, are no heroes', async () => {
  await using rooms = await localRooms();
  const { ctx } = rooms;
  const built = roomOf(ALICE, { join_rule: 'public' });
  const room = await importRoom(ctx, built);
  const [bot = ALICE, other = ALICE] = USERS;
  for (const user of [bot, other]) await arrive(ctx, room, built.join(user));
  const content = { service_members: [bot] };
  await arrive(ctx, room, built.state(ALICE, 'io.element.functional_members', '', content));
  assert.deepEqual((await summaryFor(ctx, room.roomNid, ALICE)).heroes, [other]);
});

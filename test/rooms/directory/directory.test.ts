/** The published directory: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { createRoom, type NewRoom } from '#rooms/create-room.ts';
import { listPublicRooms, type PublicRooms, type PublicRoomsQuery } from '#rooms/directory/directory.ts';
import { changeMembership } from '#rooms/membership-local.ts';
import { getRoom } from '#rooms/room.ts';
import * as roomDirectory from '#storage/room-directory.ts';
import { openRooms } from '#test/harness/rooms.ts';

const ALICE = '@alice:here.test';

async function published(ctx: RoomsContext, room: Partial<NewRoom>, members = 0): Promise<RoomId> {
  const creation = await createRoom(ctx, { creator: ALICE, visibility: 'public', ...room });
  if (creation.kind !== 'created') throw new Error(creation.reason);
  for (let index = 0; index < members; index++) {
    const user: UserId = `@member${index}:here.test`;
    await changeMembership(ctx, { roomId: creation.roomId, sender: user, target: user, membership: 'join' });
  }
  return creation.roomId;
}

async function list(ctx: RoomsContext, query: PublicRoomsQuery = {}): Promise<PublicRooms> {
  const listed = await listPublicRooms(ctx, query);
  if (listed.kind !== 'ok') throw new Error(listed.reason);
  return listed.body;
}

const ids = (body: PublicRooms) => body.chunk.map((room) => room.room_id);
const token = (body: PublicRooms, key: 'next_batch' | 'prev_batch') => body[key] as string | undefined;

test('a listed room says all that the directory shows of it', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const roomId = await published(
    ctx,
    {
      name: 'Pub',
      topic: 'Happy hour',
      roomAliasName: 'pub',
      creationContent: { type: 'm.space' },
      initialState: [
        { type: 'm.room.avatar', content: { url: 'mxc://here.test/pub' } },
        { type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } },
        { type: 'm.room.guest_access', content: { guest_access: 'can_join' } },
      ],
    },
    1,
  );
  assert.deepEqual(await list(ctx), {
    chunk: [
      {
        room_id: roomId,
        num_joined_members: 2,
        world_readable: true,
        guest_can_join: true,
        name: 'Pub',
        topic: 'Happy hour',
        canonical_alias: '#pub:here.test',
        avatar_url: 'mxc://here.test/pub',
        join_rule: 'public',
        room_type: 'm.space',
      },
    ],
    total_room_count_estimate: 1,
  });
});

test('a room without name, topic, alias or type leaves them out', async () => {
  await using rooms = await openRooms();
  const roomId = await published(rooms.ctx, { name: '' });
  assert.deepEqual((await list(rooms.ctx)).chunk, [
    {
      room_id: roomId,
      num_joined_members: 1,
      world_readable: false,
      guest_can_join: false,
      join_rule: 'public',
    },
  ]);
});

test('the topic is the text/plain one, or left out where there is none', async () => {
  await using rooms = await openRooms();
  const html = { body: '<b>x</b>', mimetype: 'text/html' };
  const topics = [
    { topic: 'fallback', 'm.topic': { 'm.text': [html, { body: 'plain' }] } },
    { topic: 'fallback', 'm.topic': { 'm.text': [html] } },
    { topic: 'only this' },
  ];
  for (const content of topics) {
    await published(rooms.ctx, { initialState: [{ type: 'm.room.topic', content }] });
  }
  const found = (await list(rooms.ctx)).chunk.map((room) => room.topic);
  assert.deepEqual(new Set(found), new Set(['plain', undefined, 'only this']));
});

test('private rooms, and rooms taken out again, are not listed', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  await published(ctx, { visibility: 'private' });
  const roomId = await published(ctx, {});
  const room = await getRoom(ctx, roomId);
  assert.ok(room);
  await ctx.db.write('test', (tx) => roomDirectory.unpublish(tx, room.roomNid));
  assert.deepEqual(await list(ctx), { chunk: [], total_room_count_estimate: 0 });
});

test('a room that none of our users is in is not listed', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const roomId = await published(ctx, {});
  await changeMembership(ctx, { roomId, sender: ALICE, target: ALICE, membership: 'leave' });
  assert.deepEqual((await list(ctx)).chunk, []);
});

test('the largest room comes first, those of one size in the order of their ids', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const small = [await published(ctx, {}), await published(ctx, {})].sort();
  const large = await published(ctx, {}, 2);
  const middle = await published(ctx, {}, 1);
  assert.deepEqual(ids(await list(ctx)), [large, middle, ...small]);
});

test('pages forward and back give every room once, with no token beyond the ends', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  for (let index = 0; index < 7; index++) await published(ctx, {}, index % 3);
  const all = ids(await list(ctx));
  assert.equal(all.length, 7);

  const pages: RoomId[][] = [];
  let page = await list(ctx, { limit: 3 });
  assert.equal(token(page, 'prev_batch'), undefined);
  for (;;) {
    pages.push(ids(page));
    const next = token(page, 'next_batch');
    if (next === undefined) break;
    page = await list(ctx, { limit: 3, since: next });
  }
  assert.deepEqual(
    pages.map(({ length }) => length),
    [3, 3, 1],
  );
  assert.deepEqual(pages.flat(), all);

  const back = await list(ctx, { limit: 3, since: token(page, 'prev_batch') });
  assert.deepEqual(ids(back), all.slice(3, 6));
  const first = await list(ctx, { limit: 3, since: token(back, 'prev_batch') });
  assert.deepEqual(ids(first), all.slice(0, 3));
  assert.equal(token(first, 'prev_batch'), undefined);
  const again = await list(ctx, { limit: 3, since: token(first, 'next_batch') });
  assert.deepEqual(ids(again), all.slice(3, 6));
});

test('a page that ends with the last room has no next_batch', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  for (let index = 0; index < 4; index++) await published(ctx, {});
  const first = await list(ctx, { limit: 2 });
  const second = await list(ctx, { limit: 2, since: token(first, 'next_batch') });
  assert.equal(second.chunk.length, 2);
  assert.equal(token(second, 'next_batch'), undefined);
});

test('the search term is looked for in name, topic and alias, literally and in any case', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const name = await published(ctx, { name: 'The PUB 100%' });
  const topic = await published(ctx, { topic: 'a pub, really' });
  const alias = await published(ctx, { roomAliasName: 'pubs' });
  const other = await published(ctx, { name: 'Library' });
  const search = async (genericSearchTerm: string) =>
    new Set(ids(await list(ctx, { filter: { genericSearchTerm } })));
  assert.deepEqual(await search('pub'), new Set([name, topic, alias]));
  assert.deepEqual(await search('PUB'), new Set([name, topic, alias]));
  assert.deepEqual(await search('%'), new Set([name]));
  assert.deepEqual(await search('_'), new Set());
  assert.deepEqual(await search(''), new Set([name, topic, alias, other]));
});

test('room_types lists those types, null stands for rooms without one', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const plain = await published(ctx, {});
  const space = await published(ctx, { creationContent: { type: 'm.space' } });
  const byTypes = async (...roomTypes: (string | null)[]) =>
    new Set(ids(await list(ctx, { filter: { roomTypes } })));
  assert.deepEqual(await byTypes(null), new Set([plain]));
  assert.deepEqual(await byTypes('m.space'), new Set([space]));
  assert.deepEqual(await byTypes(null, 'm.space'), new Set([plain, space]));
  assert.deepEqual(await byTypes(), new Set());
});

test('a filter pages over the rooms that it leaves out', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const wanted: RoomId[] = [];
  for (let index = 0; index < 6; index++) {
    const roomId = await published(ctx, { name: index % 2 === 0 ? 'wanted' : 'other' });
    if (index % 2 === 0) wanted.push(roomId);
  }
  const filter = { genericSearchTerm: 'wanted' };
  const first = await list(ctx, { filter, limit: 2 });
  const second = await list(ctx, { filter, limit: 2, since: token(first, 'next_batch') });
  assert.deepEqual([...ids(first), ...ids(second)], wanted.sort());
  assert.equal(token(second, 'next_batch'), undefined);
  const back = await list(ctx, { filter, limit: 2, since: token(second, 'prev_batch') });
  assert.deepEqual(ids(back), ids(first));
});

test('rooms that are not federated are hidden from other servers', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const open = await published(ctx, {});
  const closed = await published(ctx, { creationContent: { 'm.federate': false } });
  assert.deepEqual(new Set(ids(await list(ctx))), new Set([open, closed]));
  assert.deepEqual(ids(await list(ctx, { federatedOnly: true })), [open]);
});

test('a token that is none of ours is refused', async () => {
  await using rooms = await openRooms();
  for (const since of [
    '',
    'x',
    'n',
    'n!!',
    `n${Buffer.from('5 nonsense').toString('base64url')}`,
    'q'.repeat(1_000),
  ]) {
    assert.equal((await listPublicRooms(rooms.ctx, { since })).kind, 'invalid', since);
  }
});

test('limits are clamped', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  await published(ctx, {});
  await published(ctx, {});
  for (const limit of [0, -5]) assert.equal((await list(ctx, { limit })).chunk.length, 1);
  assert.equal((await list(ctx, { limit: 1_000_000 })).chunk.length, 2);
});

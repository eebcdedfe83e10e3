/** Making rooms: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId, UserId } from '#keys/ids.ts';
import { type JsonObject, objectAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { createRoom, type NewRoom, type Preset } from '#rooms/create-room.ts';
import { initialEvents } from '#rooms/initial-events.ts';
import { getRoom } from '#rooms/room.ts';
import { currentState } from '#rooms/state.ts';
import { rulesOf, SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import * as aliases from '#storage/aliases.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomDirectory from '#storage/room-directory.ts';
import { openRooms } from '#test/harness/rooms.ts';

const ALICE = '@alice:here.test';
const BOB = '@bob:here.test';
const CAROL = '@carol:there.test';
const VERSIONS = SUPPORTED_VERSIONS;

async function created(ctx: RoomsContext, room: Partial<NewRoom>): Promise<RoomId> {
  const creation = await createRoom(ctx, { creator: ALICE, ...room });
  if (creation.kind !== 'created') throw new Error(`${creation.errcode}: ${creation.reason}`);
  return creation.roomId;
}

async function roomNid(ctx: RoomsContext, roomId: RoomId): Promise<number> {
  const room = await getRoom(ctx, roomId);
  assert.ok(room);
  return room.roomNid;
}

/** The content of each event of the room's state, by `type|state_key`. */
async function stateOf(ctx: RoomsContext, roomId: RoomId): Promise<Map<string, JsonObject>> {
  const events = await currentState(ctx, await roomNid(ctx, roomId));
  return new Map(events.map(({ event }) => [`${event.type}|${event.stateKey}`, event.content]));
}

async function refusal(ctx: RoomsContext, room: Partial<NewRoom>): Promise<string> {
  const creation = await createRoom(ctx, { creator: ALICE, ...room });
  assert.equal(creation.kind, 'refused');
  return creation.kind === 'refused' ? creation.errcode : '';
}

function order(room: Partial<NewRoom>, version = '12', alias?: `#${string}`): string[] {
  const rules = rulesOf(version);
  assert.ok(rules);
  const initial = initialEvents({ creator: ALICE, ...room }, { rules, serverName: 'here.test', alias });
  assert.equal(initial.kind, 'ok');
  return initial.kind === 'ok' ? initial.events.map(({ type }) => type.replace('m.room.', '')) : [];
}

test('the events come in the order of the specification', () => {
  const everything: Partial<NewRoom> = {
    preset: 'public_chat',
    name: 'A',
    topic: 'B',
    invite: [BOB, CAROL],
    initialState: [
      { type: 'm.room.encryption', content: {} },
      { type: 'm.room.avatar', state_key: '', content: {} },
    ],
  };
  assert.deepEqual(order(everything, '12', '#a:here.test'), [
    'create',
    'member',
    'power_levels',
    'canonical_alias',
    'join_rules',
    'history_visibility',
    'encryption',
    'avatar',
    'name',
    'topic',
    'member',
  ]);
});

test('initial_state takes precedence over the preset, name and topic over initial_state', () => {
  const initialState = [
    { type: 'm.room.join_rules', content: { join_rule: 'knock' } },
    { type: 'm.room.name', content: { name: 'lost' } },
    { type: 'm.room.name', state_key: 'other', content: { name: 'kept' } },
  ];
  assert.deepEqual(order({ initialState, name: 'A' }), [
    'create',
    'member',
    'power_levels',
    'history_visibility',
    'guest_access',
    'join_rules',
    'name',
    'name',
  ]);
});

const PRESETS: readonly [Preset, string, object | undefined][] = [
  ['private_chat', 'invite', { guest_access: 'can_join' }],
  ['trusted_private_chat', 'invite', { guest_access: 'can_join' }],
  // Absent is "forbidden".
  ['public_chat', 'public', undefined],
];

for (const version of VERSIONS) {
  test(`v${version}: each preset has its join rules, history visibility and guest access`, async () => {
    await using rooms = await openRooms();
    for (const [preset, joinRule, guestAccess] of PRESETS) {
      const state = await stateOf(rooms.ctx, await created(rooms.ctx, { preset, roomVersion: version }));
      assert.deepEqual(state.get('m.room.join_rules|'), { join_rule: joinRule });
      assert.deepEqual(state.get('m.room.history_visibility|'), { history_visibility: 'shared' });
      assert.deepEqual(state.get('m.room.guest_access|'), guestAccess);
      assert.equal(state.get(`m.room.member|${ALICE}`)?.membership, 'join');
    }
  });

  test(`v${version}: the create event names its version, and the creator where the version has that`, async () => {
    await using rooms = await openRooms();
    const creationContent = { creator: BOB, room_version: '1', type: 'm.space', 'm.federate': true };
    const roomId = await created(rooms.ctx, { roomVersion: version, creationContent });
    const create = (await stateOf(rooms.ctx, roomId)).get('m.room.create|');
    assert.deepEqual(create, {
      room_version: version,
      type: 'm.space',
      'm.federate': true,
      ...(Number(version) <= 10 && { creator: ALICE }),
    });
    assert.equal(roomId.includes(':'), version !== '12');
  });

  test(`v${version}: trusted_private_chat makes the invited users the creator's equals`, async () => {
    await using rooms = await openRooms();
    const preset = 'trusted_private_chat';
    const creationContent = version === '12' ? { additional_creators: [CAROL, CAROL, '@dave:d.test'] } : {};
    const roomId = await created(rooms.ctx, {
      preset,
      roomVersion: version,
      invite: [BOB, CAROL],
      creationContent,
    });
    const state = await stateOf(rooms.ctx, roomId);
    const users = objectAt(state.get('m.room.power_levels|') ?? {}, 'users');
    const creators = state.get('m.room.create|')?.additional_creators;
    if (version === '12') {
      assert.deepEqual(users, {});
      assert.deepEqual(creators, [CAROL, '@dave:d.test', BOB]);
    } else {
      assert.deepEqual(users, { [ALICE]: 100, [BOB]: 100, [CAROL]: 100 });
      assert.equal(creators, undefined);
    }
  });

  test(`v${version}: the level for tombstones, and power_level_content_override on top`, async () => {
    await using rooms = await openRooms();
    const plain = await stateOf(rooms.ctx, await created(rooms.ctx, { roomVersion: version }));
    const levels = plain.get('m.room.power_levels|') ?? {};
    assert.equal(objectAt(levels, 'events')?.['m.room.tombstone'], version === '12' ? 150 : 100);
    assert.equal(levels.state_default, 50);
    assert.deepEqual(objectAt(levels, 'users'), version === '12' ? {} : { [ALICE]: 100 });

    const powerLevelContentOverride = { invite: 77, events: { 'm.room.name': 60 } };
    const roomId = await created(rooms.ctx, { roomVersion: version, powerLevelContentOverride });
    const overridden = (await stateOf(rooms.ctx, roomId)).get('m.room.power_levels|') ?? {};
    assert.equal(overridden.invite, 77);
    assert.deepEqual(overridden.events, { 'm.room.name': 60 });
    assert.equal(overridden.kick, 50);
  });
}

test('without a preset the visibility decides', async () => {
  await using rooms = await openRooms();
  const open = await stateOf(rooms.ctx, await created(rooms.ctx, { visibility: 'public' }));
  assert.deepEqual(open.get('m.room.join_rules|'), { join_rule: 'public' });
  const closed = await stateOf(rooms.ctx, await created(rooms.ctx, {}));
  assert.deepEqual(closed.get('m.room.join_rules|'), { join_rule: 'invite' });
});

test('visibility public publishes the room, private does not', async () => {
  await using rooms = await openRooms();
  for (const visibility of ['public', 'private'] as const) {
    const nid = await roomNid(rooms.ctx, await created(rooms.ctx, { visibility }));
    assert.equal(await roomDirectory.isPublished(rooms.ctx.db, nid), visibility === 'public');
  }
});

test('name and topic are set, the topic with a text/plain form', async () => {
  await using rooms = await openRooms();
  const state = await stateOf(rooms.ctx, await created(rooms.ctx, { name: 'Pub', topic: 'Happy hour' }));
  assert.deepEqual(state.get('m.room.name|'), { name: 'Pub' });
  assert.deepEqual(state.get('m.room.topic|'), {
    topic: 'Happy hour',
    'm.topic': { 'm.text': [{ body: 'Happy hour', mimetype: 'text/plain' }] },
  });
});

test('users of this server are invited, with is_direct and their profile; those of others are named', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const profiles = new Map<UserId, { displayname: string }>([
    [ALICE, { displayname: 'Alice' }],
    [BOB, { displayname: 'Bob' }],
  ]);
  const creation = await createRoom(ctx, {
    creator: ALICE,
    invite: [BOB, CAROL, BOB, ALICE],
    isDirect: true,
    profiles,
  });
  assert.equal(creation.kind, 'created');
  if (creation.kind !== 'created') return;
  assert.deepEqual(creation.invites, [CAROL]);
  const state = await stateOf(ctx, creation.roomId);
  assert.deepEqual(state.get(`m.room.member|${BOB}`), {
    membership: 'invite',
    displayname: 'Bob',
    is_direct: true,
  });
  assert.deepEqual(state.get(`m.room.member|${ALICE}`), { membership: 'join', displayname: 'Alice' });
  assert.equal(state.has(`m.room.member|${CAROL}`), false);
  const bob = await memberships.of(ctx.db, await roomNid(ctx, creation.roomId), BOB);
  assert.equal(bob?.membership, 'invite');
});

test('the alias is made, and named as the canonical one', async () => {
  await using rooms = await openRooms();
  const roomId = await created(rooms.ctx, { roomAliasName: 'thepub' });
  const alias = '#thepub:here.test';
  assert.equal((await aliases.get(rooms.ctx.db, alias))?.roomId, roomId);
  assert.deepEqual((await stateOf(rooms.ctx, roomId)).get('m.room.canonical_alias|'), { alias });
});

test('M_ROOM_IN_USE: an alias goes to one room, however many ask at once', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const creations = await Promise.all(
    [ALICE, BOB, ALICE].map((creator) =>
      createRoom(ctx, { creator: creator as UserId, roomAliasName: 'one' }),
    ),
  );
  const made = creations.filter(({ kind }) => kind === 'created');
  assert.equal(made.length, 1);
  for (const creation of creations) {
    if (creation.kind === 'refused') assert.equal(creation.errcode, 'M_ROOM_IN_USE');
  }
  const alias = await aliases.get(ctx.db, '#one:here.test');
  assert.equal(alias?.roomId, made[0]?.kind === 'created' ? made[0].roomId : undefined);
});

test('a refused room leaves nothing behind: its alias is free again', async () => {
  await using rooms = await openRooms();
  const powerLevelContentOverride = { state_default: 1_000, users: { [ALICE]: 0 } };
  const bad = { roomVersion: '11', roomAliasName: 'again', powerLevelContentOverride };
  assert.equal(await refusal(rooms.ctx, bad), 'M_INVALID_ROOM_STATE');
  assert.deepEqual(await memberships.ofUser(rooms.ctx.db, ALICE), []);
  assert.equal(await aliases.get(rooms.ctx.db, '#again:here.test'), undefined);
  await created(rooms.ctx, { roomAliasName: 'again' });
});

test('a reservation that a crash left behind is free after a while', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const alias = '#crashed:here.test';
  const reserve = () => ctx.db.write('test', (tx) => aliases.reserve(tx, alias, BOB, ctx.clock.now()));
  assert.equal(await reserve(), true);
  assert.equal(await refusal(ctx, { roomAliasName: 'crashed' }), 'M_ROOM_IN_USE');
  assert.equal(await aliases.get(ctx.db, alias), undefined);
  ctx.clock.advance(11 * 60_000);
  await created(ctx, { roomAliasName: 'crashed' });
});

test('M_UNSUPPORTED_ROOM_VERSION: a version in which the server takes no part', async () => {
  await using rooms = await openRooms();
  for (const roomVersion of ['0', '13', 'x', '']) {
    assert.equal(await refusal(rooms.ctx, { roomVersion }), 'M_UNSUPPORTED_ROOM_VERSION');
  }
});

test('M_BAD_JSON: malformed power levels, initial state or creation content', async () => {
  await using rooms = await openRooms();
  const malformed: Partial<NewRoom>[] = [
    { powerLevelContentOverride: { ban: '50' } },
    { powerLevelContentOverride: { users: { bob: 5 } } },
    { initialState: ['x'] },
    { initialState: [{ type: 'm.room.topic' }] },
    { initialState: [{ type: 5, content: {} }] },
    { initialState: [{ type: 'm.room.topic', state_key: 5, content: {} }] },
    { initialState: [{ type: 'm.room.create', content: {} }] },
    { initialState: [{ type: 'm.room.member', state_key: CAROL, content: { membership: 'join' } }] },
    {
      initialState: Array.from({ length: 1_001 }, (_, n) => ({
        type: 'm.x',
        state_key: `${n}`,
        content: {},
      })),
    },
    { creationContent: { additional_creators: ['bob'] } },
    { creationContent: { 'm.federate': 'yes' } },
  ];
  for (const room of malformed)
    assert.equal(await refusal(rooms.ctx, room), 'M_BAD_JSON', JSON.stringify(room).slice(0, 80));
});

test('M_INVALID_ROOM_STATE: state that the authorisation rules refuse', async () => {
  await using rooms = await openRooms();
  const invalid: Partial<NewRoom>[] = [
    { powerLevelContentOverride: { users: { [ALICE]: 100 } } },
    { roomVersion: '11', powerLevelContentOverride: { users: { [BOB]: 100 } } },
    { initialState: [{ type: 'm.x', state_key: BOB, content: {} }] },
    { initialState: [{ type: 'm.x', content: { big: 'x'.repeat(70_000) } }] },
    { initialState: [{ type: 'm.x', content: { fraction: 1.5 } }] },
  ];
  for (const room of invalid) {
    assert.equal(await refusal(rooms.ctx, room), 'M_INVALID_ROOM_STATE', JSON.stringify(room).slice(0, 80));
  }
});

test('M_INVALID_PARAM: an alias name that makes no alias', async () => {
  await using rooms = await openRooms();
  for (const roomAliasName of ['', 'a:b', 'x'.repeat(250), 'a\0b']) {
    assert.equal(
      await refusal(rooms.ctx, { roomAliasName }),
      'M_INVALID_PARAM',
      JSON.stringify(roomAliasName),
    );
  }
});

test('M_FORBIDDEN: nobody of another server is invited to a room that is not federated', async () => {
  await using rooms = await openRooms();
  const creationContent = { 'm.federate': false };
  assert.equal(await refusal(rooms.ctx, { creationContent, invite: [CAROL] }), 'M_FORBIDDEN');
  await created(rooms.ctx, { creationContent, invite: [BOB] });
});

test('v12: rooms made alike in the same millisecond are different rooms', async () => {
  await using rooms = await openRooms();
  const made = await Promise.all(Array.from({ length: 8 }, () => created(rooms.ctx, { roomVersion: '12' })));
  assert.equal(new Set(made).size, 8);
});

/** https://spec.matrix.org/v1.19/client-server-api/#spaces */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Answer, type Body, register, type TestClient } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

let server: TestServer;
let alice: TestClient;
let bob: TestClient;
let now = 1_700_000_000_000;

before(async () => {
  server = await startServer({ clock: { now: () => now } });
  [alice, bob] = await Promise.all([register(server), register(server)]);
});

after(() => server[Symbol.asyncDispose]());

const SPACE = { creation_content: { type: 'm.space' } };

async function addChild(space: string, child: string, content: object = {}): Promise<void> {
  now += 1_000;
  const path = `${inRoom(space)}/state/m.space.child/${encodeURIComponent(child)}`;
  await alice.put(path, { via: ['kurir.test'], ...content });
}

function ask(user: TestClient, space: string, query = ''): Promise<Answer> {
  return user.try('GET', `/_matrix/client/v1${inRoom(space)}/hierarchy?${query}`);
}

async function idsOf(user: TestClient, space: string, query = ''): Promise<string[]> {
  const { status, body } = await ask(user, space, query);
  assert.equal(status, 200, JSON.stringify(body));
  return body.rooms.map((room: Body) => room.room_id);
}

interface Tree {
  readonly root: string;
  readonly inner: string;
  readonly deep: string;
  readonly rooms: readonly string[];
}

/** root: rooms[0], inner (deep (rooms[2], rooms[3])), rooms[1]. */
async function tree(): Promise<Tree> {
  const [root, inner, deep] = [
    await alice.createRoom({ ...SPACE, name: 'Root' }),
    await alice.createRoom(SPACE),
    await alice.createRoom(SPACE),
  ];
  const rooms: string[] = [];
  for (let count = 0; count < 4; count++) rooms.push(await alice.createRoom({ name: `Room ${count}` }));
  const [a = '', b = '', c = '', d = ''] = rooms;
  await addChild(root, a, { suggested: true });
  await addChild(root, inner);
  await addChild(root, b, { suggested: true });
  await addChild(inner, deep);
  await addChild(deep, c);
  await addChild(deep, d);
  return { root, inner, deep, rooms };
}

test('the rooms of a space, depth first, with what they say of themselves and their children', async () => {
  const { root, inner, deep, rooms } = await tree();
  const { body } = await ask(alice, root);
  const [a, b, c, d] = rooms;
  assert.deepEqual(
    body.rooms.map((room: Body) => room.room_id),
    [root, a, inner, deep, c, d, b],
  );
  assert.equal(body.next_batch, undefined);
  const [first, second] = body.rooms;
  const { children_state: children, ...entry } = first;
  assert.deepEqual(entry, {
    room_id: root,
    name: 'Root',
    room_type: 'm.space',
    room_version: '12',
    join_rule: 'public',
    num_joined_members: 1,
    world_readable: false,
    guest_can_join: false,
  });
  assert.deepEqual(
    children.map((event: Body) => event.state_key),
    [a, inner, b],
  );
  assert.deepEqual(Object.keys(children[0]).sort(), [
    'content',
    'origin_server_ts',
    'sender',
    'state_key',
    'type',
  ]);
  assert.deepEqual(second.children_state, []);
});

test('children: first by valid order, then by time, then by room id; those without via are none', async () => {
  const space = await alice.createRoom(SPACE);
  const ids: string[] = [];
  for (let count = 0; count < 8; count++) ids.push(await alice.createRoom());
  const [untimed = '', blank = '', letters = '', late = '', long = '', removed = '', wrong = '', empty = ''] =
    ids;
  await addChild(space, untimed);
  await addChild(space, long, { order: 'a'.repeat(51) });
  await addChild(space, late, { order: 'ü' });
  await addChild(space, letters, { order: 'aaaa' });
  await addChild(space, blank, { order: ' ' });
  await addChild(space, removed, { via: undefined });
  await addChild(space, wrong, { via: 'kurir.test' });
  await addChild(space, empty, { via: [] });
  await addChild(space, 'no room id');
  assert.deepEqual(await idsOf(alice, space), [space, blank, letters, untimed, long, late]);
});

test('max_depth ends the walk, and shows the links below; suggested_only follows suggested rooms only', async () => {
  const { root, inner, deep, rooms } = await tree();
  const [a, b] = rooms;
  const { body } = await ask(alice, root, 'max_depth=1');
  assert.deepEqual(
    body.rooms.map((room: Body) => room.room_id),
    [root, a, inner, b],
  );
  assert.deepEqual(
    body.rooms[2].children_state.map((event: Body) => event.state_key),
    [deep],
  );
  assert.deepEqual(await idsOf(alice, root, 'max_depth=0'), [root]);
  const suggested = await ask(alice, root, 'suggested_only=true');
  assert.deepEqual(
    suggested.body.rooms.map((room: Body) => room.room_id),
    [root, a, b],
  );
  assert.equal(suggested.body.rooms[0].children_state.length, 2);
});

test('pages: each room once, a token again gives the same page, and ends after an hour', async () => {
  const { root, inner, deep, rooms } = await tree();
  const [a, b, c, d] = rooms;
  const first = (await ask(alice, root, 'limit=4&max_depth=9')).body;
  assert.deepEqual(
    first.rooms.map((room: Body) => room.room_id),
    [root, a, inner, deep],
  );
  const more = `from=${first.next_batch}`;
  for (const query of [more, more, `${more}&max_depth=9&suggested_only=false`]) {
    assert.deepEqual(await idsOf(alice, root, query), [c, d, b]);
  }
  for (const [user, room, query] of [
    [alice, root, `${more}&max_depth=8`],
    [alice, root, `${more}&suggested_only=true`],
    [alice, root, 'from=nonsense'],
    [alice, inner, more],
    [bob, root, more],
    [alice, root, 'limit=0'],
    [alice, root, 'max_depth=-1'],
  ] as const) {
    const refused = await ask(user, room, query);
    assert.deepEqual([refused.status, refused.body.errcode], [400, 'M_INVALID_PARAM'], query);
  }
  now += 60 * 60_000 + 1;
  assert.equal((await ask(alice, root, more)).status, 400);
});

test('loops are broken, and a room in two spaces is shown once', async () => {
  const [one, two] = [await alice.createRoom(SPACE), await alice.createRoom(SPACE)];
  const shared = await alice.createRoom();
  await addChild(one, two);
  await addChild(two, one);
  await addChild(one, one);
  await addChild(one, shared);
  await addChild(two, shared);
  assert.deepEqual((await idsOf(alice, one)).sort(), [one, shared, two].sort());
});

test('row 40: a room is shown to who is in it or may come in, ask to, or read it; others do not see it', async () => {
  const space = await alice.createRoom({ ...SPACE, initial_state: [history('world_readable')] });
  const make = (options: object) => alice.createRoom({ preset: 'private_chat', ...options });
  const rule = (join_rule: string, more: object = {}) => ({
    initial_state: [{ type: 'm.room.join_rules', content: { join_rule, ...more } }],
  });
  const allow = { allow: [{ type: 'm.room_membership', room_id: space }] };
  const hidden = await make({ ...SPACE });
  const below = await alice.createRoom();
  const invited = await make({ invite: [bob.userId] });
  const knockable = await make(rule('knock'));
  const restricted = await make(rule('restricted', allow));
  const knockRestricted = await make(rule('knock_restricted', allow));
  const readable = await make({ initial_state: [history('world_readable')] });
  const banned = await alice.createRoom();
  await alice.post(`${inRoom(banned)}/ban`, { user_id: bob.userId });
  for (const room of [hidden, invited, knockable, restricted, knockRestricted, readable, banned]) {
    await addChild(space, room);
  }
  await addChild(hidden, below);
  await addChild(space, '!elsewhere:other.test');
  assert.deepEqual(await idsOf(bob, space), [space, invited, knockable, knockRestricted, readable]);
  await bob.join(space);
  assert.deepEqual(await idsOf(bob, space), [
    space,
    invited,
    knockable,
    restricted,
    knockRestricted,
    readable,
  ]);
});

test('a space that the user may not know of is refused like one that does not exist', async () => {
  const space = await alice.createRoom({ ...SPACE, preset: 'private_chat' });
  const open = await alice.createRoom(SPACE);
  await alice.post(`${inRoom(open)}/ban`, { user_id: bob.userId });
  const answers = await Promise.all([space, open, '!no:kurir.test'].map((room) => ask(bob, room)));
  for (const { status, body } of answers) assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN']);
  assert.deepEqual(answers[0]?.body, answers[2]?.body);
});

test('a summary tells what a room is, also by its alias, to those who may know of it, and by the old paths', async () => {
  const room = await alice.createRoom({
    name: 'CHEESE',
    topic: 'Tasty',
    room_alias_name: 'cheese',
    initial_state: [
      { type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
      { type: 'm.room.avatar', content: { url: 'mxc://kurir.test/a' } },
    ],
  });
  const of = (user: TestClient, id: string) =>
    user.try('GET', `/_matrix/client/v1/room_summary/${encodeURIComponent(id)}`);
  const expected = {
    room_id: room,
    name: 'CHEESE',
    topic: 'Tasty',
    canonical_alias: '#cheese:kurir.test',
    avatar_url: 'mxc://kurir.test/a',
    encryption: 'm.megolm.v1.aes-sha2',
    room_version: '12',
    join_rule: 'public',
    num_joined_members: 1,
    world_readable: false,
    guest_can_join: false,
  };
  assert.deepEqual((await of(alice, room)).body, { ...expected, membership: 'join' });
  assert.deepEqual((await of(bob, '#cheese:kurir.test')).body, { ...expected, membership: 'leave' });
  for (const path of [`summary/${room}`, `rooms/${room}/summary`, 'rooms/%23cheese:kurir.test/summary']) {
    assert.deepEqual(await alice.get(`/_matrix/client/unstable/im.nheko.summary/${path}`), {
      ...expected,
      membership: 'join',
      'im.nheko.summary.encryption': 'm.megolm.v1.aes-sha2',
      'im.nheko.summary.room_version': '12',
    });
  }
  const allow = [{ type: 'm.room_membership', room_id: room }];
  const restricted = await alice.createRoom({
    initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'restricted', allow } }],
  });
  assert.deepEqual((await of(alice, restricted)).body.allowed_room_ids, [room]);
  const hidden = await alice.createRoom({ preset: 'private_chat' });
  for (const id of [hidden, '!no:kurir.test', '#no:kurir.test', '!far:other.test', restricted]) {
    const answer = await of(bob, id);
    assert.deepEqual([answer.status, answer.body.errcode], [404, 'M_NOT_FOUND'], id);
    const old = `/_matrix/client/unstable/im.nheko.summary/rooms/${encodeURIComponent(id)}/summary`;
    assert.deepEqual((await bob.try('GET', old)).body, answer.body);
  }
  assert.equal((await of(bob, 'nonsense')).status, 400);
  await alice.post(`${inRoom(hidden)}/invite`, { user_id: bob.userId });
  assert.equal((await of(bob, hidden)).body.membership, 'invite');
});

function history(visibility: string): object {
  return { type: 'm.room.history_visibility', content: { history_visibility: visibility } };
}

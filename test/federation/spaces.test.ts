/** Spaces over several servers: https://spec.matrix.org/v1.19/server-server-api/#spaces */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Json, JsonObject } from '#keys/json.ts';
import { type Answer, type Body, register, request, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(3);
after(() => fleet[Symbol.asyncDispose]());
const [one, two, three] = [fleet.at(0), fleet.at(1), fleet.at(2)];
const alice = await register(one, 'alice');
const bob = await register(two, 'bob');
const carol = await register(three, 'carol');

const SPACE = { creation_content: { type: 'm.space' } };

async function addChild(user: TestClient, space: string, child: string, content: object = {}): Promise<void> {
  const path = `${inRoom(space)}/state/m.space.child/${encodeURIComponent(child)}`;
  await user.put(path, { via: [serverOf(user)], ...content });
}

function serverOf({ userId }: TestClient): string {
  return userId.slice(userId.indexOf(':') + 1);
}

function ask(user: TestClient, space: string, query = ''): Promise<Answer> {
  return user.try('GET', `/_matrix/client/v1${inRoom(space)}/hierarchy?${query}`);
}

async function idsOf(user: TestClient, space: string, query = ''): Promise<string[]> {
  const { status, body } = await ask(user, space, query);
  assert.equal(status, 200, JSON.stringify(body));
  return body.rooms.map((room: Body) => room.room_id);
}

const rule = (join_rule: string, more: object = {}) => ({
  preset: 'private_chat',
  initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule, ...more } }],
});

test('hierarchy: the space and its children for a server, one level, without those that it cannot come to', async () => {
  const space = await alice.createRoom(SPACE);
  const inner = await alice.createRoom(SPACE);
  const deep = await alice.createRoom();
  const open = await alice.createRoom({ name: 'Open' });
  const secret = await alice.createRoom({ preset: 'private_chat' });
  const unfederated = await alice.createRoom({ creation_content: { 'm.federate': false } });
  const denied = await alice.createRoom({
    initial_state: [{ type: 'm.room.server_acl', content: { allow: ['*'], deny: ['localhost'] } }],
  });
  const members = await alice.createRoom();
  const allow = [{ type: 'm.room_membership', room_id: members }];
  const restricted = await alice.createRoom(rule('restricted', { allow }));
  const elsewhere = [{ type: 'm.room_membership', room_id: '!of:others.test' }];
  const unclear = await alice.createRoom(rule('restricted', { allow: elsewhere }));
  for (const room of [secret, unfederated, denied, restricted, unclear]) await addChild(alice, space, room);
  await addChild(alice, space, open, { suggested: true, order: 'a' });
  await addChild(alice, space, inner, { order: 'b' });
  await addChild(alice, inner, deep);
  await addChild(alice, space, '!unknown:x.test');

  await using peer = await new RoomPeer(fleet.authority).start();
  const path = `/_matrix/federation/v1/hierarchy/${encodeURIComponent(space)}`;
  const { status, body } = await peer.request(one, { path });
  assert.equal(status, 200);
  assert.equal(body.room.room_id, space);
  assert.equal(body.room.children_state.length, 8);
  assert.deepEqual(body.room.children_state.map((event: Body) => event.state_key).slice(0, 2), [open, inner]);
  assert.equal(typeof body.room.children_state[0].origin_server_ts, 'number');
  assert.deepEqual(
    body.children.map((room: Body) => room.room_id),
    [open, inner],
  );
  assert.equal(body.children[0].name, 'Open');
  const inaccessible = [secret, unfederated, denied, restricted];
  assert.deepEqual(body.inaccessible_children.toSorted(), inaccessible.toSorted());

  const suggested = await peer.request(one, { path: `${path}?suggested_only=true` });
  assert.deepEqual([suggested.body.children.length, suggested.body.room.children_state.length], [1, 1]);
  for (const room of [secret, denied, '!no:x.test']) {
    const refused = await peer.request(one, {
      path: `/_matrix/federation/v1/hierarchy/${encodeURIComponent(room)}`,
    });
    assert.deepEqual([refused.status, refused.body.errcode], [404, 'M_NOT_FOUND']);
  }

  await bob.join(members, [one.serverName]);
  const forBob = await ask(bob, space, `via=${encodeURIComponent(one.serverName)}`);
  const shown = forBob.body.rooms.find((room: Body) => room.room_id === restricted);
  assert.deepEqual(shown?.allowed_room_ids, [members], 'its users are in the room that lets them in');
});

test('a walk goes through spaces of several servers, depth first, in the order of the children', async () => {
  const [root, inner] = [await alice.createRoom(SPACE), await bob.createRoom(SPACE)];
  const [a, b] = [await bob.createRoom({ name: 'A' }), await carol.createRoom({ name: 'B' })];
  const [c, d] = [await alice.createRoom(), await carol.createRoom()];
  await addChild(alice, root, inner, { order: '1', via: [two.serverName] });
  await addChild(alice, root, c, { order: '2' });
  await addChild(alice, root, d, { order: '3', via: [three.serverName] });
  await addChild(bob, inner, b, { order: '1', via: [three.serverName] });
  await addChild(bob, inner, a, { order: '2' });
  await addChild(bob, inner, root, { order: '3', via: [one.serverName] });
  const walk = await ask(alice, root, 'limit=2');
  assert.equal(walk.status, 200);
  const [first, second] = walk.body.rooms;
  assert.deepEqual([first.room_id, second.room_id], [root, inner]);
  assert.deepEqual(
    second.children_state.map((event: Body) => event.state_key),
    [b, a, root],
  );
  for (let again = 0; again < 2; again++) {
    assert.deepEqual(await idsOf(alice, root, `from=${walk.body.next_batch}`), [b, a, c, d]);
  }
  assert.deepEqual(await idsOf(alice, root, 'max_depth=1'), [root, inner, c, d]);
});

test('of what a server was told its users see only what they may come to themselves', async () => {
  const space = await alice.createRoom(SPACE);
  const secret = await bob.createRoom({ preset: 'private_chat', name: 'Secret' });
  const allow = [{ type: 'm.room_membership', room_id: space }];
  const restricted = await bob.createRoom(rule('restricted', { allow }));
  const knockable = await bob.createRoom(rule('knock'));
  for (const room of [secret, restricted, knockable]) {
    await addChild(alice, space, room, { via: [two.serverName] });
  }
  // Bob's server must know the space, to tell whether users of others may come in.
  await bob.join(space, [one.serverName]);
  const dave = await register(one);
  await bob.post(`${inRoom(secret)}/invite`, { user_id: alice.userId });
  assert.deepEqual(new Set(await idsOf(alice, space)), new Set([space, secret, restricted, knockable]));
  assert.deepEqual(new Set(await idsOf(dave, space)), new Set([space, knockable]));
  await dave.join(space);
  assert.deepEqual(new Set(await idsOf(dave, space)), new Set([space, restricted, knockable]));
});

test('a room is shown as soon as its server hears that the user may come in', async () => {
  const space = await alice.createRoom(SPACE);
  const allow = [{ type: 'm.room_membership', room_id: space }];
  const room = await bob.createRoom(rule('restricted', { allow }));
  await addChild(alice, space, room, { via: [two.serverName] });
  assert.deepEqual(await idsOf(alice, space), [space], 'its server does not know who is in the space');
  await bob.join(space, [one.serverName]);
  assert.deepEqual(await idsOf(alice, space), [space, room]);
});

test('a space that only other servers know is walked by way of `via`, and refused where nobody knows it', async () => {
  const space = await bob.createRoom({ ...SPACE, name: 'There' });
  const room = await bob.createRoom();
  await addChild(bob, space, room);
  const via = `via=${encodeURIComponent(two.serverName)}`;
  assert.deepEqual(await idsOf(carol, space, via), [space, room]);
  const page = await ask(carol, space, `${via}&limit=1`);
  assert.deepEqual(await idsOf(carol, space, `from=${page.body.next_batch}`), [room]);
  const hidden = await bob.createRoom({ ...SPACE, preset: 'private_chat' });
  for (const [id, query] of [
    [hidden, via],
    ['!no:such.test', via],
    [space, 'via=%%%'.replaceAll('%', '%25')],
  ] as const) {
    const refused = await ask(carol, id, query);
    assert.deepEqual([refused.status, refused.body.errcode], [403, 'M_FORBIDDEN'], query);
  }
});

test('a server is asked once for a space and its rooms, however many walk through it', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const space = '!space:peer.test';
  const rooms = Array.from({ length: 20 }, (_, n) => `!${n + 10}:peer.test`);
  peer.script = ({ url }) =>
    url.includes('/hierarchy/')
      ? {
          json: {
            room: {
              ...entry(space),
              room_type: 'm.space',
              children_state: rooms.map((id) => child(id, peer)),
            },
            children: rooms.slice(1).map((id) => entry(id)),
            inaccessible_children: rooms.slice(0, 1),
          },
        }
      : undefined;
  const via = `via=${encodeURIComponent(peer.name)}`;
  const dave = await register(one);
  for (const user of [alice, alice, dave]) {
    assert.deepEqual(await idsOf(user, space, via), [space, ...rooms.slice(1)]);
  }
  assert.equal(peer.asked('/hierarchy/').length, 1);
});

test('what a hostile server tells of a space harms no page', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const [home, last] = [await alice.createRoom(SPACE), await alice.createRoom()];
  const space = (id: string, children_state: Json): JsonObject => ({
    room: { ...entry(id), room_type: 'm.space', children_state },
    children: [null, { room_id: 5 }, { ...entry('!x:peer.test'), num_joined_members: 'many' }],
    inaccessible_children: [{}, 7, last],
  });
  const good = child('!y:peer.test', peer);
  // What it says of the room with an id, and whether the room is shown.
  const answers: [(id: string) => JsonObject | string, boolean][] = [
    [() => '[]', false],
    [() => ({}), false],
    [() => ({ room: entry('!other:peer.test') }), false],
    [(id) => ({ room: { ...entry(id), world_readable: 'yes' } }), false],
    [(id) => space(id, 'children'), true],
    [(id) => space(id, [null, 'x', { ...good, content: 5 }, { ...good, origin_server_ts: '1' }]), true],
    [
      (id) =>
        space(id, [
          { ...good, sender: 1 },
          { ...good, content: { via: [] } },
        ]),
      true,
    ],
    [
      (id) =>
        space(id, [
          { ...good, type: 'm.room.member' },
          { ...good, state_key: 'room' },
        ]),
      true,
    ],
    // The space above it, and itself again.
    [(id) => space(id, [child(home, peer), child(id, peer)]), true],
  ];
  peer.script = ({ url }) => {
    const id = /hierarchy\/([^?]+)/.exec(url)?.[1];
    if (id === undefined) return undefined;
    const [say] = answers[Number(/\d+/.exec(decodeURIComponent(id))?.[0])] ?? [];
    const answer = say?.(decodeURIComponent(id)) ?? {};
    return typeof answer === 'string' ? (response) => response.end(answer) : { json: answer };
  };
  const ids = answers.map((_, index) => `!bad${index}:peer.test`);
  for (const [index, id] of ids.entries()) {
    await addChild(alice, home, id, { via: [peer.name, 'not a name'], order: `${index}` });
  }
  await addChild(alice, home, last, { order: 'z' });
  const shown = ids.filter((_, index) => answers[index]?.[1] === true);
  assert.deepEqual(await idsOf(alice, home), [home, ...shown, last]);
});

test('servers that do not answer are passed over by the walk, and the next is asked', async () => {
  const root = await alice.createRoom(SPACE);
  const room = await bob.createRoom();
  await using peer = await new RoomPeer(fleet.authority).start();
  await peer.peer.stop();
  await addChild(alice, root, '!gone:x.test', { via: [peer.name], order: '1' });
  await addChild(alice, root, room, { via: [one.serverName, peer.name, two.serverName], order: '2' });
  assert.deepEqual(await idsOf(alice, root), [root, room]);
});

test('a summary of a room that this server is not in comes from the servers that are named', async () => {
  const room = await bob.createRoom({ name: 'There', room_alias_name: 'there' });
  const of = (user: TestClient, id: string, query = '') =>
    user.try('GET', `/_matrix/client/v1/room_summary/${encodeURIComponent(id)}?${query}`);
  const via = `via=${encodeURIComponent(three.serverName)}&via=${encodeURIComponent(two.serverName)}`;
  const { status, body } = await of(alice, room, via);
  assert.equal(status, 200, JSON.stringify(body));
  assert.deepEqual([body.name, body.membership, body.room_version], ['There', 'leave', '12']);
  assert.equal(body.children_state, undefined);
  const byAlias = await of(alice, `#there:${two.serverName}`);
  assert.equal(byAlias.body.room_id, room);
  assert.equal((await of(alice, room)).status, 404, 'no server is known that may know of it');

  const invited = await bob.createRoom({ preset: 'private_chat', name: 'Come in' });
  assert.equal((await of(carol, invited, via)).status, 404);
  await bob.post(`${inRoom(invited)}/invite`, { user_id: alice.userId });
  const asInvited = await of(alice, invited);
  assert.deepEqual([asInvited.body.name, asInvited.body.membership], ['Come in', 'invite']);
  const dave = await register(one);
  assert.equal(
    (await of(dave, invited, via)).status,
    404,
    'what the server was told is not for each of its users',
  );
});

test('a summary without an access token: of rooms that anybody may join, ask for or read', async () => {
  const open = await bob.createRoom({ name: 'Open' });
  const knockable = await bob.createRoom(rule('knock'));
  const readable = await bob.createRoom({
    preset: 'private_chat',
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } }],
  });
  const hidden = await bob.createRoom({ preset: 'private_chat' });
  const members = await bob.createRoom({ preset: 'private_chat' });
  const allow = [{ type: 'm.room_membership', room_id: members }];
  const restricted = await bob.createRoom(rule('restricted', { allow }));
  await bringIn(bob, carol, members);
  const via = encodeURIComponent(two.serverName);
  for (const server of [two, three]) {
    const of = (id: string, token?: string) =>
      request(server, 'GET', `/_matrix/client/v1/room_summary/${encodeURIComponent(id)}?via=${via}`, {
        ...(token !== undefined && { token }),
      });
    for (const room of [open, knockable, readable]) {
      const { status, body } = await of(room);
      assert.deepEqual([status, body.room_id, body.membership], [200, room, undefined]);
    }
    for (const room of [hidden, restricted, members]) assert.equal((await of(room)).status, 404);
    const wrong = await of(open, 'nonsense');
    assert.deepEqual([wrong.status, wrong.body.errcode], [401, 'M_UNKNOWN_TOKEN']);
  }
});

function entry(room_id: string): JsonObject {
  return {
    room_id,
    num_joined_members: 1,
    world_readable: false,
    guest_can_join: false,
    join_rule: 'public',
  };
}

function child(state_key: string, { name }: { readonly name: string }): JsonObject {
  return {
    ...{ type: 'm.space.child', state_key, sender: `@a:${name}`, origin_server_ts: Date.now() },
    content: { via: [name] },
  };
}

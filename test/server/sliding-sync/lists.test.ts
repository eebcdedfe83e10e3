/** MSC4186: lists, windows, subscriptions, and what is told of rooms. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { type Asked, type AskedRooms, FACES, PATHS, SlidingClient, textsIn } from './face.ts';

async function rooms(client: TestClient, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let number = 0; number < count; number++)
    ids.push(await client.createRoom({ name: `room ${number}` }));
  return ids;
}

for (const face of FACES) {
  test(`${face}: a window has the rooms that were active last, and grows`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    const ids = await rooms(alice, 5);
    const sliding = new SlidingClient(alice, face);
    const asked = (range: [number, number]): Asked => ({ lists: { all: { range, limit: 1 } } });
    const first = await sliding.next(asked([0, 1]));
    assert.deepEqual(first.lists, { all: { count: 5 } });
    assert.deepEqual(new Set(Object.keys(first.rooms)), new Set([ids[4], ids[3]]));
    assert.equal(first.rooms[ids[4] ?? ''].initial, true);
    assert.equal(first.rooms[ids[4] ?? ''].name, 'room 4');
    assert.equal(first.rooms[ids[4] ?? ''].num_live, 0);
    const second = await sliding.next(asked([0, 3]));
    assert.deepEqual(new Set(Object.keys(second.rooms)), new Set([ids[2], ids[1]]), 'only what is new');
    const third = await sliding.next(asked([0, 3]));
    assert.deepEqual(third.rooms, {});
    // Something happens in the room that was last: it comes into the window by that.
    await alice.send(ids[0] ?? '', 'hello');
    const fourth = await sliding.next(asked([0, 3]));
    assert.deepEqual(Object.keys(fourth.rooms), [ids[0]]);
    const room = fourth.rooms[ids[0] ?? ''];
    assert.equal(room.initial, true);
    assert.equal(room.num_live, 1, 'the message has just come');
    assert.deepEqual(textsIn(room), ['hello']);
    await alice.send(ids[0] ?? '', 'again');
    const fifth = await sliding.next(asked([0, 3]));
    assert.deepEqual(Object.keys(fifth.rooms), [ids[0]]);
    assert.equal(fifth.rooms[ids[0] ?? ''].initial, undefined);
    assert.deepEqual(textsIn(fifth.rooms[ids[0] ?? '']), ['again']);
  });

  test(`${face}: lists leave out what their filters say`, async () => {
    await using server = await startServer();
    const [alice, bob] = [await register(server), await register(server)];
    const encryption = {
      type: 'm.room.encryption',
      state_key: '',
      content: { algorithm: 'm.megolm.v1.aes-sha2' },
    };
    const plain = await alice.createRoom({ name: 'Plain' });
    const secret = await alice.createRoom({ name: 'Secret', initial_state: [encryption] });
    const space = await alice.createRoom({ name: 'Space', creation_content: { type: 'm.space' } });
    const invitation = await bob.createRoom({ name: 'Party', invite: [alice.userId] });
    const user = `/user/${encodeURIComponent(alice.userId)}`;
    const child = `/rooms/${encodeURIComponent(space)}/state/m.space.child/${encodeURIComponent(plain)}`;
    await alice.put(child, { via: ['kurir.test'] });
    await alice.put(`${user}/account_data/m.direct`, { [bob.userId]: [secret] });
    await alice.put(`${user}/rooms/${encodeURIComponent(plain)}/tags/m.favourite`, { order: 0.5 });
    const isInvited = face === 'stable' ? 'is_invited' : 'is_invite';
    const cases: [filters: object, rooms: string[]][] = [
      [{}, [plain, secret, space, invitation]],
      [{ is_dm: true }, [secret]],
      [{ is_dm: false }, [plain, space, invitation]],
      [{ is_encrypted: true }, [secret]],
      [{ is_encrypted: false }, [plain, space, invitation]],
      [{ [isInvited]: true }, [invitation]],
      [{ [isInvited]: false }, [plain, secret, space]],
      [{ room_types: ['m.space'] }, [space]],
      [{ room_types: [null, 'm.space'], not_room_types: ['m.space'] }, [plain, secret, invitation]],
      [{ not_room_types: [null] }, [space]],
      [{ spaces: [space] }, [plain]],
      [{ spaces: [invitation, '!unknown:kurir.test'] }, []],
      [{ tags: ['m.favourite', 'x'] }, [plain]],
      [{ not_tags: ['m.favourite'] }, [secret, space, invitation]],
      [{ tags: ['m.favourite'], not_tags: ['m.favourite'] }, []],
      [{ tags: [] }, []],
      ...(face === 'experimental' ? ([[{ room_name_like: 'SEC' }, [secret]]] as [object, string[]][]) : []),
    ];
    for (const [filters, expected] of cases) {
      const sliding = new SlidingClient(alice, face);
      const answer = await sliding.next({ lists: { some: { limit: 1, filters } } });
      const name = JSON.stringify(filters);
      assert.deepEqual(new Set(Object.keys(answer.rooms)), new Set(expected), name);
      assert.deepEqual(answer.lists.some.count, expected.length, name);
    }
  });

  test(`${face}: a room comes into a list by a change of its state, its tags, or m.direct`, async () => {
    await using server = await startServer();
    const [alice, bob] = [await register(server), await register(server)];
    const roomId = await alice.createRoom();
    const sliding = new SlidingClient(alice, face);
    const list = (filters: object): Asked => ({ lists: { some: { limit: 1, filters } } });
    const user = `/user/${encodeURIComponent(alice.userId)}`;
    const asked: Asked = {
      lists: {
        ...{ dm: { limit: 1, filters: { is_dm: true } } },
        ...{ encrypted: { limit: 1, filters: { is_encrypted: true } } },
        ...{ tagged: { limit: 1, filters: { tags: ['u.x'] } } },
      },
    };
    const countsOf = (answer: Body) => Object.values<Body>(answer.lists).map(({ count }) => count);
    assert.deepEqual(countsOf(await sliding.next(asked)), [0, 0, 0]);
    await alice.put(`${user}/account_data/m.direct`, { [bob.userId]: [roomId] });
    const direct = await sliding.next(asked);
    assert.deepEqual(countsOf(direct), [1, 0, 0]);
    assert.equal(direct.rooms[roomId].is_dm, true);
    if (face === 'stable') assert.deepEqual(direct.rooms[roomId].lists, ['dm']);
    const state = `/rooms/${encodeURIComponent(roomId)}/state/m.room.encryption`;
    await alice.put(state, { algorithm: 'm.megolm.v1.aes-sha2' });
    assert.deepEqual(countsOf(await sliding.next(asked)), [1, 1, 0]);
    await alice.put(`${user}/rooms/${encodeURIComponent(roomId)}/tags/u.x`, {});
    assert.deepEqual(countsOf(await sliding.next(asked)), [1, 1, 1]);
    await alice.put(`${user}/account_data/m.direct`, {});
    const end = await sliding.next(asked);
    assert.deepEqual(countsOf(end), [0, 1, 1]);
    assert.equal(end.rooms[roomId].is_dm, false);
    assert.deepEqual(countsOf(await sliding.next(list({ is_dm: false }))), [1]);
  });

  test(`${face}: a subscription tells a room beyond the windows; only of rooms where the user is or was`, async () => {
    await using server = await startServer();
    const [alice, bob] = [await register(server), await register(server)];
    const [old = '', top = ''] = await rooms(alice, 2);
    const [foreign = ''] = await rooms(bob, 1);
    const sliding = new SlidingClient(alice, face);
    const asked: Asked = {
      lists: { all: { range: [0, 0], limit: 1 } },
      subscriptions: { [old]: { limit: 3 }, [foreign]: { limit: 3 }, '!none:kurir.test': {}, nonsense: {} },
    };
    const first = await sliding.next(asked);
    assert.deepEqual(new Set(Object.keys(first.rooms)), new Set([old, top]));
    assert.equal(first.rooms[old].timeline.length, 3);
    assert.equal(first.rooms[top].timeline.length, 1);
    assert.equal(first.rooms[old].lists, undefined);
    await bob.send(foreign, 'not for alice');
    assert.deepEqual((await sliding.next(asked)).rooms, {});
    await alice.post(`/rooms/${encodeURIComponent(old)}/leave`);
    const left = new SlidingClient(alice, face);
    assert.deepEqual(Object.keys((await left.next({ lists: { all: { limit: 1 } } })).rooms), [top]);
    const again = await left.next({ subscriptions: { [old]: { limit: 1 } } });
    assert.deepEqual(Object.keys(again.rooms), [old], 'who was in the room may subscribe to it');
  });

  test(`${face}: a longer timeline is told at once, and is said to be one`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    const roomId = await alice.createRoom();
    for (const text of ['a', 'b', 'c', 'd']) await alice.send(roomId, text);
    const sliding = new SlidingClient(alice, face);
    const ask = async (limit: number): Promise<Body> =>
      (await sliding.next({ lists: { all: { limit } } })).rooms[roomId];
    const first = await ask(1);
    assert.deepEqual(textsIn(first), ['d']);
    assert.equal(first.limited, true);
    const longer = await ask(3);
    assert.deepEqual(textsIn(longer), ['b', 'c', 'd']);
    assert.equal(face === 'stable' ? longer.expanded_timeline : longer.unstable_expanded_timeline, true);
    assert.equal(longer.initial, undefined);
    assert.equal(longer.num_live, 0);
    assert.equal(await ask(3), undefined);
    assert.equal(await ask(2), undefined, 'a shorter one is no news');
    assert.equal(await ask(3), undefined, 'nor is that the client has it still');
    await alice.send(roomId, 'e');
    assert.deepEqual(textsIn(await ask(3)), ['e']);
  });

  test(`${face}: required state: exact keys, wildcards, own member, members where they are needed`, async () => {
    await using server = await startServer();
    const [alice, bob, carol] = [await register(server), await register(server), await register(server)];
    const roomId = await alice.createRoom({ name: 'Room' });
    for (const user of [bob, carol]) await user.join(roomId);
    await bob.send(roomId, 'hello');
    const keysOf = (room: Body): string[] =>
      room.required_state.map(({ type, state_key: key }: Body) => `${type} ${key}`).sort();
    const ask = async (rooms: AskedRooms): Promise<string[]> =>
      keysOf((await new SlidingClient(alice, face).next({ lists: { all: rooms } })).rooms[roomId]);
    const member = (client: TestClient) => `m.room.member ${client.userId}`;
    const exact = [['m.room.name', ''] as const, ['m.room.none', ''] as const];
    assert.deepEqual(await ask({ limit: 1, state: exact }), ['m.room.name ']);
    assert.deepEqual(await ask({ limit: 1, lazy: true }), [member(bob)]);
    const all = await ask({ limit: 1, state: [['*', '*']] });
    assert.ok(
      [alice, bob, carol].every((user) => all.includes(member(user))) && all.includes('m.room.create '),
    );
    const lazy = await ask({ limit: 1, state: [['*', '*']], lazy: true });
    assert.deepEqual(
      lazy.filter((key) => key.startsWith('m.room.member')),
      [member(bob)],
    );
    assert.deepEqual(await ask({ limit: 1, state: [['m.room.member', '*']] }), [
      ...[member(alice), member(bob), member(carol)].sort(),
    ]);
    assert.deepEqual(await ask({ limit: 1, state: [['*', carol.userId]] }), [member(carol)]);
    if (face === 'experimental')
      assert.deepEqual(await ask({ limit: 1, state: [['m.room.member', '$ME']] }), [member(alice)]);
    // More of it is told at once, and without what is there already.
    const sliding = new SlidingClient(alice, face);
    await sliding.next({ lists: { all: { limit: 1, state: exact } } });
    const wider = await sliding.next({
      lists: { all: { limit: 1, state: [...exact, ['m.room.create', ''] as const] } },
    });
    assert.deepEqual(keysOf(wider.rooms[roomId]), ['m.room.create ']);
  });

  test(`row 68: ${face}: invitations have their stripped state; refusing one, leaving, and being sent away are told`, async () => {
    await using server = await startServer();
    const [alice, bob] = [await register(server), await register(server)];
    const [one = '', two = '', three = ''] = await rooms(bob, 3);
    const invite = (roomId: string) =>
      bob.post(`/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: alice.userId });
    for (const roomId of [one, two, three]) await invite(roomId);
    const own = [['m.room.member', alice.userId] as const];
    const sliding = new SlidingClient(alice, face);
    const asked: Asked = { lists: { all: { limit: 5, state: own } } };
    const invited = await sliding.next(asked);
    const stripped: Body[] =
      face === 'stable' ? invited.rooms[one].stripped_state : invited.rooms[one].invite_state;
    assert.ok(stripped.some(({ type, content }) => type === 'm.room.name' && content.name === 'room 0'));
    assert.equal(invited.rooms[one].timeline, undefined);
    assert.equal(invited.rooms[one].joined_count, undefined);
    await alice.join(one);
    await alice.join(two);
    await alice.post(`/rooms/${encodeURIComponent(three)}/leave`);
    const joined = await sliding.next(asked);
    assert.equal(joined.rooms[one].initial, true);
    assert.equal(joined.lists.all.count, 2);
    const membershipOf = (room: Body) =>
      face === 'stable' ? room.membership : room.required_state.at(-1).content.membership;
    assert.equal(membershipOf(joined.rooms[three]), 'leave');
    await alice.post(`/rooms/${encodeURIComponent(one)}/leave`);
    await bob.post(`/rooms/${encodeURIComponent(two)}/kick`, { user_id: alice.userId });
    const left = await sliding.next(asked);
    assert.deepEqual(
      [one, two].map((roomId) => membershipOf(left.rooms[roomId])),
      ['leave', 'leave'],
    );
    await bob.send(one, 'alice does not see that');
    await bob.send(two, 'nor that');
    assert.deepEqual((await sliding.next(asked)).rooms, {});
    // A client that begins is told where the user was sent away, not where they left by themselves.
    const fresh = await new SlidingClient(alice, face).next(asked);
    assert.deepEqual(Object.keys(fresh.rooms), [two]);
    assert.ok(!textsIn(fresh.rooms[two]).includes('nor that'));
  });

  test(`${face}: invitations by those whom the user ignores are in no list`, async () => {
    await using server = await startServer();
    const [alice, bob] = [await register(server), await register(server)];
    const ignored = { ignored_users: { [bob.userId]: {} } };
    await bob.createRoom({ invite: [alice.userId] });
    const sliding = new SlidingClient(alice, face);
    const asked: Asked = { lists: { all: { limit: 1 } } };
    assert.equal((await sliding.next(asked)).lists.all.count, 1);
    await alice.put(`/user/${encodeURIComponent(alice.userId)}/account_data/m.ignored_user_list`, ignored);
    assert.equal((await sliding.next(asked)).lists.all.count, 0);
  });

  test(`${face}: names, pictures, heroes and counts`, async () => {
    await using server = await startServer();
    const [alice, bob] = [await register(server), await register(server)];
    const roomId = await alice.createRoom();
    await bob.join(roomId);
    const sliding = new SlidingClient(alice, face);
    const ask = async (): Promise<Body> =>
      (await sliding.next({ lists: { all: { limit: 1 } } })).rooms[roomId];
    const first = await ask();
    assert.deepEqual([first.joined_count, first.invited_count, first.name], [2, 0, undefined]);
    const profile = await alice.get(`/profile/${encodeURIComponent(bob.userId)}`);
    assert.deepEqual(first.heroes, [{ user_id: bob.userId, ...profile }]);
    assert.equal(typeof first.bump_stamp, 'number');
    const state = `/rooms/${encodeURIComponent(roomId)}/state`;
    await alice.put(`${state}/m.room.name`, { name: 'Named' });
    const named = await ask();
    assert.deepEqual([named.name, named.heroes, named.joined_count], ['Named', undefined, undefined]);
    assert.equal(named.bump_stamp, first.bump_stamp, 'a name is no activity');
    await alice.put(`${state}/m.room.avatar`, { url: 'mxc://kurir.test/x' });
    assert.equal((await ask()).avatar, 'mxc://kurir.test/x');
    await alice.put(`${state}/m.room.avatar`, {});
    assert.equal((await ask()).avatar, null);
    await alice.put(`${state}/m.room.name`, {});
    const unnamed = await ask();
    assert.equal(unnamed.name, face === 'stable' ? null : undefined);
    assert.equal(unnamed.heroes.length, 1);
    await alice.send(roomId, 'hello');
    const sent = await ask();
    assert.ok(sent.bump_stamp > first.bump_stamp);
    assert.equal(sent.notification_count, face === 'stable' ? undefined : 0);
    await bob.send(roomId, 'hello');
    assert.equal((await ask()).notification_count, face === 'stable' ? undefined : 1);
  });
}

test('stable: what is excluded is not told, and rooms that match several lists are told by all of them', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const exclude = [{ type: 'm.room.create', state_key: '' }, { type: 'm.room.member' }];
  const list = { timeline_limit: 1, required_state: { include: [{}], exclude } };
  const ask = async (lists: object): Promise<Body> => {
    const { body } = await alice.try('POST', PATHS.stable, { lists });
    return body.rooms[roomId];
  };
  const typesOf = (room: Body): Set<string> => new Set(room.required_state.map(({ type }: Body) => type));
  const types = typesOf(await ask({ all: list }));
  assert.ok(types.has('m.room.join_rules') && !types.has('m.room.create') && !types.has('m.room.member'));
  const other = {
    timeline_limit: 3,
    required_state: { include: [{ type: 'm.room.create' }] },
    filters: { is_dm: false },
  };
  const both = await ask({ all: list, more: other });
  assert.deepEqual(both.lists, ['all', 'more']);
  assert.equal(both.timeline.length, 3);
  assert.ok(typesOf(both).has('m.room.create') && typesOf(both).has('m.room.join_rules'));
});

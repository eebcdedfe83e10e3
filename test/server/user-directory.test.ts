/** https://spec.matrix.org/v1.19/client-server-api/#user-directory */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { inRoom, untilMember } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startServer } from '#test/harness/server.ts';

function find(client: TestClient, term: string, more: object = {}): Promise<Body> {
  return client.post('/user_directory/search', { search_term: term, ...more });
}

async function ids(client: TestClient, term: string, more: object = {}): Promise<string[]> {
  return (await find(client, term, more)).results.map(({ user_id }: Body) => user_id);
}

function setName(client: TestClient, displayname: string): Promise<Body> {
  return client.put(`/profile/${encodeURIComponent(client.userId)}/displayname`, { displayname });
}

/** Alice in a public room, who has another name in a room with Bob; Eve, who knows only the public room. */
async function threePeople() {
  const server = await startServer();
  const alice = await register(server, 'user-1-alice');
  const bob = await register(server, 'user-2-bob');
  const eve = await register(server, 'user-3-eve');
  await setName(alice, 'Alice Cooper');
  await alice.createRoom({ visibility: 'public', preset: 'public_chat' });
  const room = await bob.createRoom({ preset: 'private_chat', invite: [alice.userId] });
  await alice.join(room);
  const member = `${inRoom(room)}/state/m.room.member/${encodeURIComponent(alice.userId)}`;
  await alice.put(member, { membership: 'join', displayname: 'Freddy' });
  return { server, alice, bob, eve, room };
}

test('row 44: a user is found by their profile and their id, never by a name that they have in a room', async () => {
  const { server, alice, bob, eve } = await threePeople();
  await using _ = server;
  const expected = { limited: false, results: [{ user_id: alice.userId, display_name: 'Alice Cooper' }] };
  for (const searcher of [bob, eve]) {
    for (const term of [
      'Alice Cooper',
      'coop',
      'ALI',
      'cooper alice',
      '@user',
      alice.userId,
      '@user-1-al',
      'user 1 alice',
    ]) {
      assert.deepEqual(await find(searcher, term), expected, term);
    }
    assert.deepEqual(await find(searcher, 'Freddy'), { limited: false, results: [] });
  }
});

test('row 124: users who share no room, and are in none that is open, are not found, unless the operator wishes it', async () => {
  await using server = await startServer();
  const [alice, carol] = [await register(server, 'alice'), await register(server, 'carol')];
  await setName(carol, 'Carol Quiet');
  const room = await carol.createRoom({ preset: 'private_chat' });
  assert.deepEqual(await ids(alice, 'carol'), []);
  assert.deepEqual(await ids(alice, 'quiet'), []);
  const rules = `${inRoom(room)}/state/m.room.join_rules/`;
  await carol.put(rules, { join_rule: 'public' });
  assert.deepEqual(await ids(alice, 'quiet'), [carol.userId]);
  await carol.put(rules, { join_rule: 'invite' });
  assert.deepEqual(await ids(alice, 'quiet'), []);
  const visibility = `${inRoom(room)}/state/m.room.history_visibility/`;
  await carol.put(visibility, { history_visibility: 'world_readable' });
  assert.deepEqual(await ids(alice, 'quiet'), [carol.userId]);
  await carol.put(visibility, { history_visibility: 'shared' });
  assert.deepEqual(await ids(alice, 'quiet'), []);
  await server.restart({ userDirectory: 'everyone' });
  assert.deepEqual(await ids(alice, 'quiet'), [carol.userId]);
});

test('whoever searches is not among those found, nor is who was only invited, has left or was deactivated', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const room = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] });
  assert.deepEqual(await ids(alice, 'alice'), []);
  assert.deepEqual(await ids(alice, 'bob'), []);
  assert.deepEqual(await ids(bob, 'alice'), []);
  await bob.join(room);
  assert.deepEqual(await ids(alice, 'bob'), [bob.userId]);
  await bob.post(`${inRoom(room)}/leave`);
  assert.deepEqual(await ids(alice, 'bob'), []);
  await alice.post(`${inRoom(room)}/invite`, { user_id: bob.userId });
  await bob.join(room);
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'bob' },
    password: bob.password,
  };
  await bob.post('/account/deactivate', { auth });
  assert.deepEqual(await ids(alice, 'bob'), []);
  await server.restart({ userDirectory: 'everyone' });
  assert.deepEqual(await ids(alice, 'bob'), []);
});

test('a name is found once it is changed, and the old one no more', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  await bob.join(await alice.createRoom());
  await setName(bob, 'Zoë Ångström');
  assert.deepEqual(await ids(alice, 'zoe'), [bob.userId]);
  assert.deepEqual(await ids(alice, 'ångs'), [bob.userId]);
  assert.deepEqual(await ids(alice, 'angs'), [], 'å is no a');
  await setName(bob, 'Yves');
  assert.deepEqual(await ids(alice, 'zoe'), []);
  assert.deepEqual(await ids(alice, 'yv'), [bob.userId]);
  await setName(bob, '');
  assert.deepEqual(await ids(alice, 'yv'), []);
  assert.deepEqual((await find(alice, 'bob')).results, [{ user_id: bob.userId }]);
});

test('the nearest come first, at most as many as asked for, and it is said that there are more', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const room = await alice.createRoom();
  const names = ['Anna Berg', 'Ann', 'Annabel', undefined];
  const users: TestClient[] = [];
  for (const [index, name] of names.entries()) {
    const user = await register(server, name === undefined ? 'annx' : `person${index}`);
    if (name !== undefined) await setName(user, name);
    await user.join(room);
    users.push(user);
  }
  const [berg, ann, annabel, nameless] = users.map(({ userId }) => userId);
  assert.deepEqual(await ids(alice, 'ann'), [ann, berg, annabel, nameless]);
  assert.deepEqual(await find(alice, 'ann', { limit: 1 }), {
    ...{ limited: true, results: [{ user_id: ann, display_name: 'Ann' }] },
  });
  assert.equal((await find(alice, 'ann', { limit: 4 })).limited, false);
  assert.deepEqual(await ids(alice, 'ann berg'), [berg]);
});

test('row 164: signs are only signs, and a search without a word finds nobody', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  await bob.join(await alice.createRoom());
  for (const term of ['%', '_', '*', '" OR 1=1', '', ' ', '@', ':', '\0'])
    assert.deepEqual(await ids(alice, term), [], term);
  const cases: [unknown, string][] = [
    [{}, 'M_MISSING_PARAM'],
    [[], 'M_BAD_JSON'],
    [{ search_term: 1 }, 'M_BAD_JSON'],
    [{ search_term: 'x'.repeat(257) }, 'M_INVALID_PARAM'],
    [{ search_term: 'x '.repeat(20) }, 'M_INVALID_PARAM'],
    [{ search_term: 'x', limit: 'y' }, 'M_BAD_JSON'],
    [{ search_term: 'x', limit: -1 }, 'M_INVALID_PARAM'],
  ];
  for (const [body, errcode] of cases) {
    const answer = await alice.try('POST', '/user_directory/search', body);
    assert.deepEqual([answer.status, answer.body.errcode], [400, errcode], JSON.stringify(body));
  }
  assert.deepEqual(await ids(alice, 'bob', { limit: 1e9 }), [bob.userId]);
  const stranger = await fetch(`${server.clientUrl}/_matrix/client/v3/user_directory/search`, {
    method: 'POST',
  });
  assert.equal(stranger.status, 401);
});

test('users of other servers are found by the names that they have where the searcher is too', async () => {
  await using fleet = await startFleet(2);
  const [here, there] = [fleet.at(0), fleet.at(1)];
  const alice = await register(here, 'alice');
  const eve = await register(here, 'eve');
  const bob = await register(there, 'bob');
  await setName(bob, 'Bob Far');
  const shared = await bob.createRoom({ preset: 'private_chat', invite: [alice.userId] });
  await alice.syncUntil((answer: Body) => answer.rooms?.invite?.[shared] !== undefined);
  await alice.join(shared, [there.serverName]);
  assert.deepEqual(await find(alice, 'far'), {
    ...{ limited: false, results: [{ user_id: bob.userId, display_name: 'Bob Far' }] },
  });
  assert.deepEqual(await ids(alice, `@bob:${there.serverName}`), [bob.userId]);
  assert.deepEqual(await ids(alice, '@bob:elsewhere'), []);
  assert.deepEqual(await ids(eve, 'bob'), []);
  const member = `${inRoom(shared)}/state/m.room.member/${encodeURIComponent(bob.userId)}`;
  await bob.put(member, { membership: 'join', displayname: 'Robert' });
  await alice.syncUntil((answer: Body) =>
    JSON.stringify(answer.rooms?.join?.[shared] ?? {}).includes('Robert'),
  );
  assert.deepEqual(await ids(alice, 'far'), []);
  assert.deepEqual(await ids(alice, 'robert'), [bob.userId]);
  const open = await eve.createRoom();
  await bob.join(open, [here.serverName]);
  await untilMember(eve, open, bob.userId, 'join');
  assert.deepEqual(await ids(eve, 'far'), [bob.userId], 'by the name in the room that she is in');
  assert.deepEqual(await ids(eve, 'robert'), []);
});

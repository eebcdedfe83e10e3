/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as sharedRooms from '#storage/shared-rooms.ts';
import { register } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { startServer } from '#test/harness/server.ts';

const STABLE = '/_matrix/client/v1/mutual_rooms';
const UNSTABLE = '/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms';

test('the rooms in which both are joined are told, by both paths', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const both = await alice.createRoom();
  const left = await alice.createRoom();
  const invited = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] });
  const his = await bob.createRoom();
  for (const room of [both, left]) await bob.join(room);
  await bob.post(`${inRoom(left)}/leave`);
  assert.ok(invited && his);
  const query = `?user_id=${encodeURIComponent(bob.userId)}`;
  for (const path of [STABLE, UNSTABLE]) {
    assert.deepEqual(await alice.get(`${path}${query}`), { joined: [both], count: 1 });
  }
  const { unstable_features: features } = await alice.get('/_matrix/client/versions');
  assert.equal(features['uk.half-shot.msc2666.query_mutual_rooms'], true);
  assert.equal(features['uk.half-shot.msc2666.query_mutual_rooms.stable'], true);
});

test('a user who does not exist, and one who shares no room, are answered alike', async () => {
  await using server = await startServer();
  const [alice, carol] = [await register(server, 'alice'), await register(server, 'carol')];
  await carol.createRoom();
  for (const userId of [carol.userId, '@nobody:kurir.test', '@nobody:elsewhere.test']) {
    const answer = await alice.try('GET', `${STABLE}?user_id=${encodeURIComponent(userId)}`);
    assert.deepEqual([answer.status, answer.body], [200, { joined: [], count: 0 }]);
  }
});

test('what is no user id, no token, or the user themselves is refused', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = encodeURIComponent('@bob:kurir.test');
  const cases: [string, string][] = [
    ['', 'M_MISSING_PARAM'],
    ['?user_id=', 'M_MISSING_PARAM'],
    ['?user_id=bob', 'M_INVALID_PARAM'],
    [`?user_id=${encodeURIComponent('@b\u00F6b:kurir.test')}`, 'M_INVALID_PARAM'],
    [`?user_id=${encodeURIComponent(alice.userId)}`, 'M_INVALID_PARAM'],
    [`?user_id=${bob}&from=x`, 'M_INVALID_PARAM'],
    [`?user_id=${bob}&from=`, 'M_INVALID_PARAM'],
  ];
  for (const [query, errcode] of cases) {
    const answer = await alice.try('GET', `${STABLE}${query}`);
    assert.deepEqual([answer.status, answer.body.errcode], [400, errcode], query);
  }
  assert.equal((await fetch(`${server.clientUrl}${STABLE}?user_id=${bob}`)).status, 401);
});

test('many rooms are told page by page', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const rooms: string[] = [];
  for (let index = 0; index < 5; index++) {
    rooms.push(await alice.createRoom());
    await bob.join(rooms.at(-1) ?? '');
  }
  const pair = [alice.userId as `@${string}`, bob.userId as `@${string}`] as const;
  const seen: string[] = [];
  for (let after: number | undefined = -1; after !== undefined; ) {
    // Where a page begins depends on the page before it.
    const page: Awaited<ReturnType<typeof sharedRooms.mutual>> = await sharedRooms.mutual(
      server.ctx.db,
      pair,
      {
        ...{ after, limit: 2 },
      },
    );
    assert.equal(page.count, 5);
    seen.push(...page.rooms);
    after = page.end;
  }
  assert.deepEqual(seen, rooms);
  const query = `?user_id=${encodeURIComponent(bob.userId)}&from=m0`;
  assert.deepEqual((await alice.get(`${STABLE}${query}`)).joined, rooms);
});

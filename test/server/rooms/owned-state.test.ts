/** https://github.com/matrix-org/matrix-spec-proposals/pull/3757, as Complement's `tests/msc3757` asks. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register, type TestClient } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const TYPE = 'com.example.test';
const SUFFIX = '_state_key_suffix:!@#$123';
const OPEN = { preset: 'public_chat', power_level_content_override: { events: { [TYPE]: 0 } } };

async function outcome(client: TestClient, roomId: string, stateKey: string): Promise<string> {
  const path = `/rooms/${encodeURIComponent(roomId)}/state/${TYPE}/${encodeURIComponent(stateKey)}`;
  const { status, body } = await client.try('PUT', path, {});
  return status === 200 ? 'ok' : `${status} ${body.errcode}`;
}

const FORBIDDEN = '403 M_FORBIDDEN';
const INVALID = '400 M_BAD_JSON';

for (const version of ['org.matrix.msc3757.10', 'org.matrix.msc3757.11']) {
  test(`${version}: state keys that begin with a user id belong to that user and to those above`, async () => {
    await using server = await startServer({ unstableRoomVersions: true });
    const [creator, user, other] = [await register(server), await register(server), await register(server)];
    const roomId = await creator.createRoom({ ...OPEN, room_version: version });
    for (const each of [user, other]) await each.join(roomId);
    const tries: [string, TestClient, string, string][] = [
      ['their own suffixed', user, `${user.userId}${SUFFIX}`, 'ok'],
      ['their own', user, user.userId, 'ok'],
      ['no user id', user, 'anything', 'ok'],
      ['one below', creator, user.userId, 'ok'],
      ['one below, suffixed', creator, `${user.userId}${SUFFIX}`, 'ok'],
      ['an equal', user, other.userId, FORBIDDEN],
      ['an equal, suffixed', user, `${other.userId}${SUFFIX}`, FORBIDDEN],
      ['one above', user, `${creator.userId}_x`, FORBIDDEN],
      ['unseparated', user, `${user.userId}${SUFFIX.slice(1)}`, FORBIDDEN],
      ['misplaced', user, `@prefix_${user.userId}${SUFFIX}`, FORBIDDEN],
      ['nobody in the room', creator, '@notinroom:hs2', 'ok'],
      ['malformed', creator, '@oops', INVALID],
      ['improperly suffixed', creator, `${creator.userId}@${SUFFIX.slice(1)}`, INVALID],
      ['255 bytes after the user id', user, `${user.userId}_${'é'.repeat(127)}e`, 'ok'],
      ['256 bytes after the user id', user, `${user.userId}_${'é'.repeat(128)}`, INVALID],
      ['255 bytes without a user id', user, 'x'.repeat(255), 'ok'],
      ['256 bytes without a user id', user, 'x'.repeat(256), INVALID],
      ['more than 511 bytes', user, `${user.userId}_${'x'.repeat(512)}`, INVALID],
    ];
    for (const [what, client, stateKey, expected] of tries) {
      assert.equal(await outcome(client, roomId, stateKey), expected, what);
    }
  });
}

test('other versions keep their rule: a state key that begins with @ is the sender, exactly', async () => {
  await using server = await startServer();
  const [creator, user] = [await register(server), await register(server)];
  const roomId = await creator.createRoom({ ...OPEN, room_version: '10' });
  await user.join(roomId);
  assert.equal(await outcome(user, roomId, user.userId), 'ok');
  for (const key of [`${creator.userId}${SUFFIX}`, user.userId, `${user.userId}${SUFFIX}`, '@oops']) {
    assert.equal(await outcome(creator, roomId, key), FORBIDDEN, key);
  }
});

test('rooms of versions that are proposals are made where the operator permits them, and clients are told', async () => {
  for (const unstableRoomVersions of [false, true]) {
    await using server = await startServer({ unstableRoomVersions });
    const alice = await register(server);
    const { available } = (await alice.get('/capabilities')).capabilities['m.room_versions'];
    assert.equal(available['org.matrix.msc3757.10'], unstableRoomVersions ? 'unstable' : undefined);
    const made = await alice.try('POST', '/createRoom', { room_version: 'org.matrix.msc3757.10' });
    const roomId = await alice.createRoom();
    const path = `/rooms/${encodeURIComponent(roomId)}/upgrade`;
    const upgraded = await alice.try('POST', path, { new_version: 'org.matrix.msc3757.11' });
    for (const { status, body } of [made, upgraded]) {
      assert.equal(
        status === 200 ? 'ok' : body.errcode,
        unstableRoomVersions ? 'ok' : 'M_UNSUPPORTED_ROOM_VERSION',
      );
    }
  }
});

test('owned state goes between two servers', async () => {
  await using fleet = await startFleet(2, { unstableRoomVersions: true });
  const [alice, bob] = [await register(fleet.at(0)), await register(fleet.at(1))];
  const roomId = await alice.createRoom({ ...OPEN, room_version: 'org.matrix.msc3757.11' });
  await bob.join(roomId, [fleet.at(0).serverName]);
  const key = `${bob.userId}_device`;
  assert.equal(await outcome(bob, roomId, key), 'ok');
  const path = `/rooms/${encodeURIComponent(roomId)}/state/${TYPE}/${encodeURIComponent(key)}`;
  await until(async () => (await alice.try('GET', path)).status === 200);
});

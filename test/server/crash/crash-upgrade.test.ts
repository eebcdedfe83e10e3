/** A server that is killed while rooms are replaced: each is as it was, or replaced whole. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { run, serverEnvironment, startProcess } from '#test/harness/process.ts';

const ROUNDS = 2;
const ROOMS = 6;

interface Replaced {
  readonly roomId: string;
  readonly alias: string;
}

test('kill -9 while rooms are replaced: there is the old room as it was, or both, each naming the other', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open' };
  let made = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await using server = await startProcess(env);
    const alice = round === 0 ? await register(server, 'alice') : await login(server, 'alice', PASSWORD);
    const rooms: Replaced[] = [];
    for (let count = 0; count < ROOMS; count++) {
      const name = `room${round}-${count}`;
      const roomId = await alice.createRoom({ room_alias_name: name, room_version: '11' });
      rooms.push({ roomId, alias: `#${name}:localhost` });
    }
    const version = round % 2 === 0 ? '12' : '11';
    const upgrades = rooms.map(({ roomId }) => upgrade(alice, roomId, version));
    const first = await Promise.any(upgrades);
    await server.stop('SIGKILL');
    await Promise.allSettled(upgrades);
    assert.equal(first.status, 200);

    await using again = await startProcess(env);
    const back = await login(again, 'alice', PASSWORD);
    for (const room of rooms) made += (await assertWhole(back, room)) ? 1 : 0;
    for (const room of rooms) {
      const before = await tombstoneOf(back, room.roomId);
      const { body } = await upgrade(back, room.roomId, version);
      assert.equal(body.replacement_room, before ?? body.replacement_room, 'what was made is not made again');
      assert.ok(await assertWhole(back, room));
    }
    assert.equal(await again.stop(), 0);
  }
  assert.ok(made >= ROUNDS);
  const check = await run('server/kurir.ts', ['db', 'check'], { env });
  assert.equal(check.code, 0, check.out + check.err);
});

const PASSWORD = 'password of alice';

function upgrade(user: TestClient, roomId: string, version: string): Promise<Answer> {
  return user.try('POST', `${inRoom(roomId)}/upgrade`, { new_version: version });
}

async function tombstoneOf(user: TestClient, roomId: string): Promise<string | undefined> {
  const answer = await user.try('GET', `${inRoom(roomId)}/state/m.room.tombstone`);
  return answer.status === 200 ? answer.body.replacement_room : undefined;
}

/** Whether the room was replaced; fails where it was replaced by halves. */
async function assertWhole(user: TestClient, { roomId, alias }: Replaced): Promise<boolean> {
  const replacement = await tombstoneOf(user, roomId);
  const target = await user.get(`/directory/room/${encodeURIComponent(alias)}`);
  assert.equal(target.room_id, replacement ?? roomId);
  if (replacement === undefined) {
    const successors = await successorsOf(user, roomId);
    assert.deepEqual(successors, [], 'no room claims to replace one that is in use');
    await user.send(roomId, 'still in use');
    return false;
  }
  assert.deepEqual(await successorsOf(user, roomId), [replacement]);
  await user.send(replacement, 'in use');
  return true;
}

async function successorsOf(user: TestClient, roomId: string): Promise<string[]> {
  const { joined_rooms: joined } = await user.get('/joined_rooms');
  const found: string[] = [];
  for (const candidate of joined) {
    const create: Body = await user.get(`${inRoom(candidate)}/state/m.room.create`);
    if (create.predecessor?.room_id === roomId) found.push(candidate);
  }
  return found;
}

/** Kurir and a real Synapse: how users of one find rooms of the other, and what leads from one room to the next. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Body, TestClient } from '#test/harness/client.ts';
import { inRoom, untilMember } from '#test/harness/conversation.ts';
import { until } from '#test/harness/until.ts';
import { serverOf, talk } from './rooms-in-common.ts';
import { startNeighbours } from './synapse-neighbours.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const { pairs } = resources.use(await startNeighbours());

for (const { home, host, guest } of pairs) {
  test(`a public room of ${home} is joined by its alias`, async () => {
    const name = `open-${home.toLowerCase()}`;
    const roomId = await host.createRoom({ room_alias_name: name });
    const { room_id: joined } = await guest.join(`#${name}:${serverOf(host)}`);
    assert.equal(joined, roomId);
    await untilMember(host, roomId, guest.userId, 'join');
    await talk(host, guest, roomId);
  });

  test(`an alias of ${home} is looked up on the other side, until it is taken away`, async () => {
    const roomId = await host.createRoom();
    const alias = `#case-${home.toLowerCase()}:${serverOf(host)}`;
    const path = `/directory/room/${encodeURIComponent(alias)}`;
    assert.equal((await guest.try('GET', path)).status, 404);
    await host.put(path, { room_id: roomId });
    const found = await guest.get(path);
    assert.equal(found.room_id, roomId);
    assert.ok(found.servers.includes(serverOf(host)));
    await host.delete(path);
    assert.equal((await guest.try('GET', path)).status, 404);
  });

  for (const [from, to] of [
    ['10', '12'],
    ['11', '12'],
    ['6', '11'],
  ] as const) {
    test(`a room of ${home} is upgraded from version ${from} to ${to}: the other side is led to the new room`, async () => {
      const roomId = await host.createRoom({ room_version: from, name: 'Case 7' });
      await guest.join(roomId, [serverOf(host)]);
      await untilMember(host, roomId, guest.userId, 'join');
      const { replacement_room: next } = await host.post(`${inRoom(roomId)}/upgrade`, { new_version: to });
      await until(
        async () => (await tombstoneOf(guest, roomId))?.replacement_room === next,
        `that ${guest.userId} sees where the room goes on`,
      );
      await guest.join(next, [serverOf(host)]);
      await untilMember(host, next, guest.userId, 'join');
      const create = await guest.get(`${inRoom(next)}/state/m.room.create/`);
      assert.equal(create.room_version, to);
      assert.equal(create.predecessor.room_id, roomId);
      assert.equal((await guest.get(`${inRoom(next)}/state/m.room.name/`)).name, 'Case 7');
      await talk(host, guest, next);
    });
  }
}

async function tombstoneOf(user: TestClient, roomId: string): Promise<Body> {
  const answer = await user.try('GET', `${inRoom(roomId)}/state/m.room.tombstone/`);
  return answer.status === 200 ? answer.body : undefined;
}

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

  test(`the published rooms of ${home} are listed and searched on the other side, page by page`, async () => {
    const names = ['Roads', 'Bridges', 'Tunnels'].map((name) => `${name} of ${home}`);
    for (const name of names) await host.createRoom({ name, visibility: 'public' });
    const path = `/publicRooms?server=${encodeURIComponent(serverOf(host))}`;
    const listed = new Set<string>();
    let since: string | undefined;
    do {
      // Each page begins where the last one ended.
      const page: Body = await guest.post(path, { limit: 2, ...(since !== undefined && { since }) });
      for (const room of page.chunk) listed.add(room.name);
      since = page.next_batch;
    } while (since !== undefined);
    for (const name of names) assert.ok(listed.has(name), `${name} is not among ${[...listed].join(', ')}`);
    const { chunk } = await guest.post(path, { filter: { generic_search_term: 'bridges' } });
    assert.deepEqual(
      chunk.map((room: Body) => room.name),
      [`Bridges of ${home}`],
    );
  });

  test(`a space of ${home}: a user of the other side sees its rooms, also those that only ${home} has`, async () => {
    const space = await host.createRoom({ creation_content: { type: 'm.space' }, name: `Works of ${home}` });
    const rooms = [
      { name: 'of the host', id: await host.createRoom({ name: 'of the host' }), via: serverOf(host) },
      { name: 'of the guest', id: await guest.createRoom({ name: 'of the guest' }), via: serverOf(guest) },
    ];
    for (const { id, via } of rooms) {
      await host.put(`${inRoom(space)}/state/m.space.child/${encodeURIComponent(id)}`, { via: [via] });
    }
    await guest.join(space, [serverOf(host)]);
    const { rooms: seen } = await guest.get(`/_matrix/client/v1${inRoom(space)}/hierarchy`);
    const names: unknown[] = seen.map((room: Body) => room.name);
    assert.deepEqual(names.sort(), [`Works of ${home}`, 'of the guest', 'of the host'].sort());
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

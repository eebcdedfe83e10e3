/** MSC4186: lists, windows, subscriptions, and what is told of rooms. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { type Asked, FACES, SlidingClient, textsIn } from './face.ts';

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
}

/** Events that say that they are the first of a room which has begun already. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadEvent } from '#rooms/load.ts';
import { currentState } from '#rooms/state.ts';
import { isPlaced } from '#rooms/stored-event.ts';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom } from '#test/harness/rooms.ts';

const eve = '@eve:elsewhere.test';
const mallory = '@mallory:evil.test';
const alice = '@alice:here.test';

for (const version of SUPPORTED_VERSIONS) {
  for (const type of ['m.room.message', 'm.room.create']) {
    test(`v${version}: an event of the type ${type} without prev events does not have the state of the room begin anew`, async () => {
      await using server = await openRooms();
      const { ctx } = server;
      const built = roomOf(eve, { version, join_rule: 'public' });
      built.join(alice);
      built.join(mallory);
      // Who joined while they could stays when others cannot any more.
      built.state(eve, 'm.room.join_rules', '', { join_rule: 'invite' });
      const room = await importRoom(ctx, built);
      const ids = async () =>
        (await currentState(ctx, room.roomNid)).map(({ event }) => event.eventId).sort();
      const before = await ids();

      const isCreate = type === 'm.room.create';
      const sender = isCreate && version !== '12' ? eve : mallory;
      const first = built.fork().send(sender, {
        ...{ type, prev_events: [], ...(isCreate && { state_key: '', auth_events: [] }) },
        content: isCreate ? { room_version: version, creator: sender, again: true } : { body: 'first' },
      });
      assert.equal((await receiveFrom(ctx, room, first)).kind, 'rejected');
      assert.equal(isPlaced(await loadEvent(ctx, first.eventId)), false);
      const next = built.fork().send(mallory, {
        ...{ type: 'm.room.message', content: { body: 'next' } },
        prev_events: [built.last.eventId, first.eventId],
      });
      const stateBefore = [...built.stateMap.values()].map(({ eventId }) => eventId);
      assert.equal((await receiveFrom(ctx, room, next, { as: 'live', stateBefore })).kind, 'accepted');
      assert.deepEqual(await ids(), before);
    });
  }
}

test('an event without prev events is rejected as a part of a state too: the state before it has no create event', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [mallory] });
  const room = await importRoom(ctx, built);
  const topic = built.fork().send(eve, {
    type: 'm.room.topic',
    state_key: '',
    prev_events: [],
    content: { topic: 'from nowhere' },
  });
  assert.equal((await receiveFrom(ctx, room, topic, { as: 'outlier' })).kind, 'rejected');
  assert.equal((await loadEvent(ctx, topic.eventId))?.status, 'rejected');
});

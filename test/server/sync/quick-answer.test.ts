/** Answers that are put together from memory are those that are made by asking the database. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { DEEDS, withoutAge, worldOn } from './quick-deeds.ts';

const LAZY = { lazy_load_members: true };

test('an answer from memory is the one that is made by asking the database', async () => {
  await using server = await startServer({ presence: 'off' });
  const world = await worldOn(server);
  const { alice, roomId, otherId } = world;
  for (const state of [{}, LAZY]) {
    const quick = { room: { timeline: { limit: 20 }, state } };
    // That names the rooms whose state is wanted: the same here, but found in another way.
    const slow = { room: { timeline: { limit: 20 }, state: { ...state, rooms: [roomId, otherId] } } };
    for (const [name, deed] of Object.entries(DEEDS)) {
      const { next_batch: since } = await alice.sync({ filter: slow });
      const waiting = alice.sync({ filter: quick, since, timeout: 10_000 });
      await deed(world);
      await waiting;
      const expected = withoutAge(await alice.sync({ filter: slow, since }));
      for (let time = 0; time < 2; time++) {
        const answer = withoutAge(await alice.sync({ filter: quick, since }));
        assert.deepEqual(answer, expected, name);
      }
    }
  }
});

test('what is told from memory is no more than the filter lets through, nor of whom the user ignores', async () => {
  await using server = await startServer({ presence: 'off' });
  const [alice, bob] = [await register(server), await register(server)];
  const [roomId, otherId] = [await alice.createRoom(), await alice.createRoom()];
  for (const id of [roomId, otherId]) await bob.join(id);
  const { next_batch: since } = await alice.sync();
  await bob.send(roomId, 'here');
  await bob.send(otherId, 'there');
  for (let time = 0; time < 2; time++) {
    const filter = { room: { rooms: [otherId] } };
    assert.deepEqual(Object.keys((await alice.sync({ since, filter })).rooms.join), [otherId]);
    const none = await alice.sync({ since, filter: { room: { timeline: { not_senders: [bob.userId] } } } });
    assert.deepEqual(none.rooms?.join[roomId]?.timeline.events ?? [], []);
  }
  await alice.put(`/user/${encodeURIComponent(alice.userId)}/account_data/m.ignored_user_list`, {
    ignored_users: { [bob.userId]: {} },
  });
  const { next_batch: ignoring } = await alice.sync();
  await bob.send(roomId, 'unheard');
  const { rooms } = await alice.sync({ since: ignoring });
  assert.deepEqual(rooms?.join[roomId]?.timeline.events ?? [], []);
});

/** After a restart the server knows nothing by heart of what was before: what is stored says where there is news. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

test('after a restart who comes back is told of the rooms with news, each with what is new, and of no other', async () => {
  await using server = await startServer({ presence: 'off' });
  const [alice, bob] = [await register(server), await register(server)];
  const names = ['quiet', 'message', 'state', 'receipt'] as const;
  const rooms: Record<string, string> = {};
  for (const name of names) {
    rooms[name] = await alice.createRoom();
    await bob.join(rooms[name]);
  }
  const path = (name: string) => `/rooms/${encodeURIComponent(rooms[name] ?? '')}`;
  const old = await alice.send(rooms.receipt ?? '', 'to be read');
  const { next_batch: since } = await alice.sync();
  const said = await bob.send(rooms.message ?? '', 'news');
  await alice.put(`${path('state')}/state/m.room.topic`, { topic: 'news' });
  await bob.post(`${path('receipt')}/receipt/m.read/${encodeURIComponent(old)}`);
  const { next_batch: late } = await alice.sync({ since });
  await server.restart();
  assert.equal((await alice.sync({ since: late })).rooms, undefined);
  const lazy = { room: { state: { lazy_load_members: true } } };
  // The second time the streams know by the first one.
  for (const filter of [{}, lazy, lazy]) {
    const { join } = (await alice.sync({ since, filter })).rooms;
    assert.deepEqual(new Set(Object.keys(join)), new Set([rooms.message, rooms.state, rooms.receipt]));
    const events = (name: string): Body[] => join[rooms[name] ?? ''].timeline.events;
    assert.deepEqual(
      events('message').map(({ event_id }) => event_id),
      [said],
    );
    assert.equal(join[rooms.message ?? ''].unread_notifications.notification_count, 1);
    assert.deepEqual(
      events('state').map(({ type }) => type),
      ['m.room.topic'],
    );
    const [receipt] = join[rooms.receipt ?? ''].ephemeral.events.filter(
      ({ type }: Body) => type === 'm.receipt',
    );
    assert.ok(receipt.content[old]['m.read'][bob.userId]);
    const members = join[rooms.message ?? ''].state.events.map(({ state_key }: Body) => state_key);
    assert.deepEqual(members, filter === lazy ? [bob.userId] : []);
  }
  const again = await bob.send(rooms.quiet ?? '', 'after it');
  const { join } = (await alice.sync({ since: late })).rooms;
  assert.deepEqual(Object.keys(join), [rooms.quiet]);
  assert.equal(join[rooms.quiet ?? ''].timeline.events[0].event_id, again);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseEventFilter, passes } from '#server/sync/filter.ts';
import { type Body, register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

function passing(filter: object, type: string, more: object = {}): boolean {
  const parsed = parseEventFilter(JSON.stringify(filter));
  assert.ok(parsed);
  return passes(parsed, { type, sender: '@a:x', content: {}, ...more });
}

test('filters: `*` stands for any sequence of characters, and for nothing else', () => {
  assert.ok(passing({ types: ['m.room.*'] }, 'm.room.message'));
  assert.ok(passing({ types: ['*.message'] }, 'm.room.message'));
  assert.ok(passing({ types: ['m.*.m*e'] }, 'm.room.message'));
  assert.ok(passing({ types: ['*'] }, 'anything'));
  assert.ok(!passing({ types: ['m.room.*'] }, 'mXroomXmessage'));
  assert.ok(!passing({ types: ['m.room.?'] }, 'm.room.x'));
  assert.ok(!passing({ types: ['ab*ba'] }, 'aba'), 'both ends must fit');
  assert.ok(!passing({ types: ['a*b*b'] }, 'ab'));
});

test('filters: exclusion wins over inclusion, and an empty list lets nothing pass', () => {
  assert.ok(!passing({ types: ['m.*'], not_types: ['m.room.*'] }, 'm.room.message'));
  assert.ok(!passing({ senders: ['@a:x'], not_senders: ['@a:x'] }, 'm'));
  assert.ok(!passing({ types: [] }, 'm'));
  assert.ok(passing({ not_types: [] }, 'm'));
});

test('filters: contains_url looks at content.url', () => {
  assert.ok(passing({ contains_url: true }, 'm', { content: { url: 'mxc://x/y' } }));
  assert.ok(!passing({ contains_url: true }, 'm', { content: { body: 'x' } }));
  assert.ok(!passing({ contains_url: false }, 'm', { content: { url: 'mxc://x/y' } }));
});

test('filters: a timeline with a filter is as long as it may be, and state left out of it is still state', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom({ name: 'Room' });
  for (let number = 0; number < 30; number++) {
    await alice.send(roomId, `${number}`);
    await alice.sendEvent(roomId, 'test.noise', { number });
  }
  const filter = { room: { timeline: { limit: 25, types: ['m.room.message'] } } };
  const section = (await alice.sync({ filter })).rooms.join[roomId];
  const bodies = section.timeline.events.map((event: Body) => event.content.body);
  assert.deepEqual(
    bodies,
    Array.from({ length: 25 }, (_, index) => `${index + 5}`),
  );
  assert.equal(section.timeline.limited, true);
  assert.ok(section.state.events.some((event: Body) => event.type === 'm.room.name'));
});

test('filters: a stored one by its id, for rooms, state, ephemeral and account data', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const [wanted, unwanted] = [await alice.createRoom({ name: 'a' }), await alice.createRoom({ name: 'b' })];
  const user = encodeURIComponent(alice.userId);
  const filter = {
    account_data: { types: [] },
    room: { not_rooms: [unwanted], state: { types: ['m.room.create'] }, timeline: { types: [] } },
  };
  const { filter_id: id } = await alice.post(`/user/${user}/filter`, filter);
  const answer = await alice.sync({ filter: id });
  assert.equal(answer.account_data, undefined);
  assert.deepEqual(Object.keys(answer.rooms.join), [wanted]);
  const { state, timeline } = answer.rooms.join[wanted];
  assert.deepEqual(
    state.events.map((event: Body) => event.type),
    ['m.room.create'],
  );
  assert.deepEqual(timeline.events, []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';

test('a user of another server is invited, joins and talks', async () => {
  await using fleet = await startFleet(2, { logTo: (line) => process.env.LOG && process.stderr.write(line) });
  const alice = await register(fleet.at(0), 'alice');
  const bob = await register(fleet.at(1), 'bob');
  for (const version of ['10', '11', '12']) {
    const roomId = await alice.createRoom({ preset: 'private_chat', name: 'Plans', room_version: version });
    await alice.post(`/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: bob.userId });
    const invited = await bob.syncUntil((answer: Body) => answer.rooms?.invite?.[roomId] !== undefined);
    await bob.join(roomId);
    await alice.send(roomId, 'hello');
    const seen = await bob.syncUntil((answer: Body) => bodies(answer, roomId).includes('hello'));
    await bob.send(roomId, 'hi');
    await alice.syncUntil((answer: Body) => bodies(answer, roomId).includes('hi'));
  }
});

function bodies(answer: Body, roomId: string): string[] {
  const events = answer.rooms?.join?.[roomId]?.timeline?.events ?? [];
  return events.map((event: Body) => event.content.body);
}

/** The walk through a space: https://spec.matrix.org/v1.19/client-server-api/#querying-spaces */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId } from '#keys/ids.ts';
import { type HierarchyRoom, nextRooms, type Step, walkFrom } from '#rooms/directory/hierarchy.ts';

const ROOT: RoomId = '!root:x.test';
const IDS = Array.from({ length: 30 }, (_, n): RoomId => `!${n}:x.test`);

function roomOf(roomId: RoomId, children: readonly RoomId[] = []): HierarchyRoom {
  return {
    entry: { room_id: roomId, num_joined_members: 1, world_readable: true, guest_can_join: false },
    children: children.map((child) => ({ roomId: child, via: ['x.test'], suggested: false, event: {} })),
  };
}

test('a page whose time is over ends early, and the next one goes on with what was not found in time', async () => {
  let controller = new AbortController();
  const asked: RoomId[] = [];
  const find = async ({ roomId }: Step) => {
    asked.push(roomId);
    // A server that does not answer.
    if (roomId === IDS[10] && asked.filter((id) => id === roomId).length === 1) controller.abort();
    return controller.signal.aborted ? undefined : roomOf(roomId, roomId === ROOT ? IDS : []);
  };
  const start = walkFrom(ROOT, { maxDepth: 5, suggestedOnly: false, via: [] });
  const first = await nextRooms(start, { limit: 100, signal: controller.signal }, find);
  assert.ok(first.rest);
  controller = new AbortController();
  const second = await nextRooms(first.rest, { limit: 100, signal: controller.signal }, find);
  const shown = [...first.rooms, ...second.rooms].map((room) => room.room_id);
  assert.deepEqual(shown, [ROOT, ...IDS]);
  assert.equal(second.rest, undefined);
});

test('each page comes further, though its time be over from the beginning', async () => {
  const aborted = AbortSignal.abort();
  const find = async ({ roomId }: Step) => roomOf(roomId, roomId === ROOT ? IDS.slice(0, 3) : []);
  const shown: unknown[] = [];
  let rest: Awaited<ReturnType<typeof nextRooms>>['rest'] = walkFrom(ROOT, {
    maxDepth: 5,
    suggestedOnly: false,
    via: [],
  });
  for (let page = 0; page < 10 && rest !== undefined; page++) {
    const walked: Awaited<ReturnType<typeof nextRooms>> = await nextRooms(
      rest,
      { limit: 9, signal: aborted },
      find,
    );
    shown.push(...walked.rooms.map((room) => room.room_id));
    rest = walked.rest;
  }
  assert.deepEqual(shown, [ROOT, ...IDS.slice(0, 3)]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import { serversThatMayInvite } from '#rooms/restricted.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { importRoom, openRooms } from '#test/harness/rooms.ts';

const creator: UserId = '@creator:zebra.test';
const admin: UserId = '@admin:admin.test';
const helper: UserId = '@helper:helper.test';
const gone: UserId = '@gone:gone.test';
const guest: UserId = '@guest:guest.test';

test('servers that may let users in are those of members who may invite, the most powerful first', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  for (const [version, expected] of [
    ['10', ['admin.test', 'helper.test', 'zebra.test']],
    // v12: creators are above all levels.
    ['12', ['zebra.test', 'admin.test', 'helper.test']],
  ] as const) {
    const users = { [admin]: 100, [helper]: 60, [gone]: 100, [guest]: 10 };
    const room = roomOf(creator, { version, members: [admin, helper, gone, guest] });
    room.state(creator, 'm.room.power_levels', '', {
      invite: 50,
      users: { ...users, ...(version === '10' && { [creator]: 55 }) },
    });
    room.leave(gone);
    assert.deepEqual(await serversThatMayInvite(ctx, await importRoom(ctx, room)), expected, version);
  }
});

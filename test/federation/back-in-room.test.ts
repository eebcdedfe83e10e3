/** A server that was cut off while its users left a room, and comes back into it by another that has not heard of it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkRooms } from '#rooms/db-check.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { inRoom, membershipOf, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';

const encode = encodeURIComponent;

function say(user: TestClient, roomId: string, body: string): Promise<unknown> {
  const path = `${inRoom(roomId)}/send/m.room.message/${encode(body)}`;
  return user.put(path, { msgtype: 'm.text', body });
}

for (const [version, joinRule] of [
  ['10', 'public'],
  ['12', 'public'],
  ['12', 'invite'],
] as const) {
  test(`v${version}, ${joinRule}: back in a room across a gap, those of our users who left unheard stay out of it`, async () => {
    await using fleet = await startFleet(3, { hasNetwork: true });
    const [home, ours, other] = [fleet.at(0), fleet.at(1), fleet.at(2)];
    const admin = await register(home, 'admin');
    const alice = await register(ours, 'alice');
    const bob = await register(ours, 'bob');
    const guest = await register(ours, 'guest');
    const carol = await register(other, 'carol');
    const roomId = await admin.createRoom({ preset: 'public_chat', room_version: version });
    const via = `?via=${encode(home.serverName)}`;
    for (const user of [alice, bob, carol]) {
      await user.post(`/join/${encode(roomId)}${via}`);
      for (const viewer of [admin, alice]) await untilMember(viewer, roomId, user.userId, 'join');
    }
    await untilMember(carol, roomId, bob.userId, 'join');
    await admin.put(`${inRoom(roomId)}/state/m.room.join_rules`, { join_rule: joinRule });
    await say(admin, roomId, 'before');
    for (const user of [alice, carol]) await untilMessages(user, roomId, ['before']);
    if (joinRule === 'invite') {
      await admin.post(`${inRoom(roomId)}/invite`, { user_id: guest.userId });
      await untilMember(alice, roomId, guest.userId, 'invite');
      await untilMember(carol, roomId, guest.userId, 'invite');
    }
    fleet.network.split([[ours.serverName], [home.serverName, other.serverName]]);
    for (const user of [bob, alice]) await user.post(`${inRoom(roomId)}/leave`);
    await say(carol, roomId, 'meanwhile');
    await untilMessages(admin, roomId, ['meanwhile']);
    fleet.network.heal();
    await guest.post(`/join/${encode(roomId)}?via=${encode(other.serverName)}`);
    for (const user of [alice, bob]) {
      assert.equal(await membershipOf(guest, roomId, user.userId), 'leave', user.userId);
      assert.equal((await user.sync()).rooms?.join?.[roomId], undefined);
    }
    assert.equal(await membershipOf(guest, roomId, guest.userId), 'join');
    for (const viewer of [admin, carol]) {
      await untilMember(viewer, roomId, guest.userId, 'join');
      for (const user of [alice, bob]) await untilMember(viewer, roomId, user.userId, 'leave');
    }
    await say(guest, roomId, 'after');
    for (const viewer of [admin, carol]) await untilMessages(viewer, roomId, ['meanwhile', 'after']);
    await untilMessages(guest, roomId, ['before', 'meanwhile', 'after']);
    assert.deepEqual(await Array.fromAsync(checkRooms(ours.ctx)), []);
  });
}

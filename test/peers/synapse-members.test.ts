/** Kurir and a real Synapse: who comes into a room, and who is sent away. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom, untilInvited, untilMember } from '#test/harness/conversation.ts';
import { serverOf, talk, untilLeft } from './rooms-in-common.ts';
import { startNeighbours } from './synapse-neighbours.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const { alice, bob, pairs } = resources.use(await startNeighbours());

for (const { home, host, guest } of pairs) {
  for (const version of ['8', '10', '11', '12']) {
    test(`v${version}, a room of ${home} for the members of another room lets them in, and nobody else`, async () => {
      const club = await host.createRoom();
      const roomId = await roomWithJoinRule(host, version, {
        join_rule: 'restricted',
        allow: [{ type: 'm.room_membership', room_id: club }],
      });
      const refused = await guest.try('POST', joinPath(roomId, host), {});
      assert.equal(refused.status, 403, JSON.stringify(refused.body));
      await guest.join(club, [serverOf(host)]);
      await guest.join(roomId, [serverOf(host)]);
      await untilMember(host, roomId, guest.userId, 'join');
      await talk(host, guest, roomId);
    });
  }

  for (const version of ['7', '10', '12']) {
    test(`v${version}, a room of ${home}: a knock is shown, and answered by an invitation`, async () => {
      const roomId = await roomWithJoinRule(host, version, { join_rule: 'knock' });
      assert.equal((await guest.try('POST', joinPath(roomId, host), {})).status, 403);
      await knock(host, guest, roomId);
      await bringIn(host, guest, roomId);
      await untilMember(host, roomId, guest.userId, 'join');
      await talk(host, guest, roomId);
    });
  }

  test(`a room of ${home} that members of another room join and others knock on`, async () => {
    const club = await host.createRoom();
    const roomId = await roomWithJoinRule(host, '10', {
      join_rule: 'knock_restricted',
      allow: [{ type: 'm.room_membership', room_id: club }],
    });
    await knock(host, guest, roomId);
    await guest.join(club, [serverOf(host)]);
    await guest.join(roomId, [serverOf(host)]);
    await untilMember(host, roomId, guest.userId, 'join');
    await talk(host, guest, roomId);
  });

  test(`a room of ${home}: leave, join again, kick, ban, and an invitation declined`, async () => {
    const roomId = await host.createRoom();
    await guest.join(roomId, [serverOf(host)]);
    await untilMember(host, roomId, guest.userId, 'join');
    await guest.post(`${inRoom(roomId)}/leave`);
    await untilMember(host, roomId, guest.userId, 'leave');

    await host.send(roomId, 'while the guest is away');
    await guest.join(roomId, [serverOf(host)]);
    await untilMember(host, roomId, guest.userId, 'join');
    await talk(host, guest, roomId);

    await host.post(`${inRoom(roomId)}/kick`, { user_id: guest.userId, reason: 'a test' });
    await untilLeft(guest, roomId);
    await host.post(`${inRoom(roomId)}/ban`, { user_id: guest.userId });
    assert.equal((await guest.try('POST', joinPath(roomId, host), {})).status, 403);
    await host.post(`${inRoom(roomId)}/unban`, { user_id: guest.userId });

    await host.post(`${inRoom(roomId)}/invite`, { user_id: guest.userId });
    await untilInvited(guest, roomId);
    await guest.post(`${inRoom(roomId)}/leave`);
    await untilMember(host, roomId, guest.userId, 'leave');
  });

  test(`an invitation from ${home} is taken back`, async () => {
    const roomId = await host.createRoom({ preset: 'private_chat', invite: [guest.userId] });
    await untilInvited(guest, roomId);
    const { next_batch: since } = await guest.sync();
    await host.post(`${inRoom(roomId)}/kick`, { user_id: guest.userId });
    await guest.syncUntil((answer) => answer.rooms?.leave?.[roomId] !== undefined, { since });
    assert.equal((await guest.sync({ since })).rooms.invite?.[roomId], undefined);
  });
}

// The other way round Synapse says nothing: neither of a knock withdrawn, nor of one turned away.
test('a knock of Kurir at a room of Synapse is withdrawn', async () => {
  const roomId = await roomWithJoinRule(bob, '12', { join_rule: 'knock' });
  await knock(bob, alice, roomId);
  await alice.post(`${inRoom(roomId)}/leave`);
  await untilMember(bob, roomId, alice.userId, 'leave');
});

/** Knocks; both sides then show it. */
async function knock(host: TestClient, guest: TestClient, roomId: string): Promise<void> {
  const { next_batch: since } = await guest.sync();
  const path = `/knock/${encodeURIComponent(roomId)}?via=${encodeURIComponent(serverOf(host))}`;
  await guest.post(path, { reason: 'let me in' });
  await guest.syncUntil(({ rooms }) => rooms?.knock?.[roomId] !== undefined, { since });
  await untilMember(host, roomId, guest.userId, 'knock');
}

/** Makes a private room with a join rule. */
function roomWithJoinRule(host: TestClient, version: string, content: object): Promise<string> {
  return host.createRoom({
    preset: 'private_chat',
    room_version: version,
    initial_state: [{ type: 'm.room.join_rules', state_key: '', content }],
  });
}

function joinPath(roomId: string, host: TestClient): string {
  return `/join/${encodeURIComponent(roomId)}?via=${encodeURIComponent(serverOf(host))}`;
}

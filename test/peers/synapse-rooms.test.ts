/** Kurir and a real Synapse: rooms of each version, and what users of the two see of each other in them. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { register } from '#test/harness/client.ts';
import {
  bringIn,
  inRoom,
  messagesOf,
  untilInvited,
  untilMember,
  untilMessages,
} from '#test/harness/conversation.ts';
import { until } from '#test/harness/until.ts';
import {
  contentOf,
  editAndRedact,
  ephemeral,
  letChangeState,
  redactSeenBy,
  serverOf,
  talk,
  untilSameState,
  wholeHistory,
} from './rooms-in-common.ts';
import { startNeighbours } from './synapse-neighbours.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const { fleet, alice, bob, pairs } = resources.use(await startNeighbours({ kurirs: 2 }));
const carol = await register(fleet.at(1), 'carol');

for (const { home, host, guest } of pairs) {
  for (const version of ['10', '11', '12']) {
    test(`v${version}, a room of ${home}: invite, join, messages, edits, reactions, redactions`, async () => {
      const roomId = await host.createRoom({ preset: 'private_chat', room_version: version, name: 'Case 7' });
      await host.post(`${inRoom(roomId)}/invite`, { user_id: guest.userId });
      const stripped = await untilInvited(guest, roomId);
      assert.ok(
        stripped.some((event) => event.type === 'm.room.name' && event.content.name === 'Case 7'),
        'the invitation names the room',
      );
      await guest.join(roomId);
      await untilMember(host, roomId, guest.userId, 'join');
      await talk(host, guest, roomId);
      for (const [one, other] of [
        [host, guest],
        [guest, host],
      ] as const) {
        await editAndRedact(one, other, roomId);
      }
      await untilSameState([host, guest], roomId);
    });
  }

  for (const version of ['1', '2', '10', '11', '12']) {
    test(`v${version}, a room of ${home}: both change its state at once, and come to agree`, async () => {
      const roomId = await host.createRoom({ preset: 'trusted_private_chat', room_version: version });
      await bringIn(host, guest, roomId);
      await untilMember(host, roomId, guest.userId, 'join');
      await letChangeState(host, guest, roomId);
      for (let round = 0; round < 5; round++) {
        await Promise.all(
          [host, guest].map((user) =>
            user.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: `${round} by ${user.userId}` }),
          ),
        );
      }
      await untilSameState([host, guest], roomId);
    });
  }

  for (const version of ['1', '2', '3', '4', '5', '6', '7', '8', '9']) {
    test(`v${version}, a room of ${home}: invite, join, messages, a redaction and a state change of each`, async () => {
      const roomId = await host.createRoom({ preset: 'private_chat', room_version: version, topic: '' });
      await bringIn(host, guest, roomId);
      await untilMember(host, roomId, guest.userId, 'join');
      await letChangeState(host, guest, roomId);
      for (const [one, other] of [
        [host, guest],
        [guest, host],
      ] as const) {
        const body = `of ${one.userId}`;
        const eventId = await one.send(roomId, body);
        await untilMessages(other, roomId, [body]);
        await redactSeenBy(one, other, roomId, eventId);
        await one.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: body });
        const seesTopic = async () =>
          (await other.get(`${inRoom(roomId)}/state/m.room.topic/`)).topic === body;
        await until(seesTopic, `that ${other.userId} sees the topic ${body}`);
      }
      await untilSameState([host, guest], roomId);
    });
  }

  test(`a room of ${home}: typing and read receipts reach the other side, both ways`, async () => {
    const roomId = await host.createRoom({ preset: 'private_chat' });
    await bringIn(host, guest, roomId);
    await untilMember(host, roomId, guest.userId, 'join');
    for (const [one, other] of [
      [host, guest],
      [guest, host],
    ] as const) {
      const eventId = await one.send(roomId, 'read this');
      await untilMessages(other, roomId, ['read this']);
      const { next_batch: since } = await one.sync();
      const typing = `${inRoom(roomId)}/typing/${encodeURIComponent(other.userId)}`;
      await other.put(typing, { typing: true, timeout: 30_000 });
      await one.syncUntil(
        (answer) => ephemeral(answer, roomId, 'm.typing')?.user_ids.includes(other.userId),
        { since },
      );
      await other.put(typing, { typing: false });
      await one.syncUntil((answer) => ephemeral(answer, roomId, 'm.typing')?.user_ids.length === 0, {
        since,
      });
      await other.post(`${inRoom(roomId)}/receipt/m.read/${encodeURIComponent(eventId)}`);
      await one.syncUntil(
        (answer) =>
          ephemeral(answer, roomId, 'm.receipt')?.[eventId]?.['m.read']?.[other.userId]?.ts !== undefined,
        { since },
      );
    }
  });

  test(`a room of ${home}: who joins late reads all of its history`, async () => {
    const roomId = await host.createRoom({ name: 'Archive' });
    const old = Array.from({ length: 150 }, (_, count) => `old ${count}`);
    for (const body of old) await host.send(roomId, body);
    await guest.join(roomId, [serverOf(host)]);
    await untilMember(host, roomId, guest.userId, 'join');
    await host.send(roomId, 'new');
    await untilMessages(guest, roomId, ['new']);
    assert.deepEqual(await wholeHistory(guest, roomId), [...old, 'new']);
  });

  test(`display names of users of ${home} are seen on the other side`, async () => {
    const path = `/profile/${encodeURIComponent(host.userId)}`;
    await host.put(`${path}/displayname`, { displayname: `Host of ${home}` });
    assert.equal((await guest.get(path)).displayname, `Host of ${home}`);
  });
}

test('v5: numbers that are no integers reach Kurir with a hash and a signature that hold, and others by it', async () => {
  const roomId = await bob.createRoom({ preset: 'private_chat', room_version: '5' });
  for (const guest of [alice, carol]) {
    await bringIn(bob, guest, roomId);
    await untilMember(bob, roomId, guest.userId, 'join');
  }
  // JavaScript and Python write the last two in different ways.
  const content = { numbers: [0.5, -1.25, 1e22, 1.5e-7, 0.00001] };
  const eventId = await bob.sendEvent(roomId, 'org.example.measured', content);
  for (const reader of [alice, carol]) {
    await until(
      async () => JSON.stringify(await contentOf(reader, roomId, eventId)) === JSON.stringify(content),
      `that ${reader.userId} sees the numbers`,
    );
  }
});

test('a room of Synapse with users of two Kurirs: each reads every other', async () => {
  const roomId = await bob.createRoom({ preset: 'private_chat' });
  const members = [alice, bob, carol];
  for (const guest of [alice, carol]) {
    await bringIn(bob, guest, roomId);
    await untilMember(bob, roomId, guest.userId, 'join');
  }
  await untilMember(alice, roomId, carol.userId, 'join');
  for (const speaker of members) {
    await speaker.send(roomId, `from ${speaker.userId}`);
    for (const listener of members) await untilMessages(listener, roomId, [`from ${speaker.userId}`]);
  }
  await bob.post(`${inRoom(roomId)}/kick`, { user_id: carol.userId });
  await untilMember(alice, roomId, carol.userId, 'leave');
  await alice.send(roomId, 'not for carol');
  await untilMessages(bob, roomId, ['not for carol']);
  assert.equal((await messagesOf(carol, roomId)).includes('not for carol'), false);
  await untilSameState([alice, bob], roomId);
});

test('both write at once, again and again, and see the same in the end', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await bringIn(alice, bob, roomId);
  await untilMember(alice, roomId, bob.userId, 'join');
  const told = await Promise.all(
    [alice, bob].map(async (user) => {
      const own = Array.from({ length: 30 }, (_, count) => `${user.userId} ${count}`);
      for (const body of own) await user.send(roomId, body);
      return own;
    }),
  );
  for (const user of [alice, bob]) {
    const seen = await untilMessages(user, roomId, told.flat());
    assert.equal(seen.length, 60, 'each message once');
    for (const [index, writer] of [alice, bob].entries()) {
      assert.deepEqual(
        seen.filter((body) => body.startsWith(writer.userId)),
        told[index],
        `${user.userId} sees the messages of ${writer.userId} in order`,
      );
    }
  }
});

/** Kurir and a real Synapse, of which one is away for a while or does not reach the other. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { until } from '#test/harness/until.ts';
import {
  letChangeState,
  serverOf,
  talk,
  timelineSince,
  untilSameState,
  wholeHistory,
} from './rooms-in-common.ts';
import { startNeighbours } from './synapse-neighbours.ts';
import { registerAtSynapse } from './synapse-user.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const { fleet, kurir, synapse, alice, bob, pairs } = resources.use(
  await startNeighbours({ hasNetwork: true }),
);
/** One more on each side. */
const colleagues = {
  Kurir: await register(kurir, 'anna'),
  Synapse: await registerAtSynapse(synapse, 'bert'),
};
const away = { Kurir: kurir, Synapse: synapse };
const LONG_MS = 180_000;

test('what Synapse misses while it is stopped reaches it afterwards, once and in order', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await bringIn(alice, bob, roomId);
  await alice.send(roomId, 'before');
  await untilMessages(bob, roomId, ['before']);
  const { next_batch: since } = await bob.sync();
  await synapse.stop();
  // Two transactions. Of 100 events and more at once Synapse takes the newest, and fetches the others later.
  const missed = Array.from({ length: 90 }, (_, count) => `missed ${count}`);
  for (const body of missed) await alice.send(roomId, body);
  await alice.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: 'Meanwhile' });
  await synapse.start();
  // The sign of life of every day.
  await bob.send(roomId, 'back again');
  await untilMessages(bob, roomId, [missed.at(-1) ?? '']);
  await untilMessages(alice, roomId, ['back again']);
  const seen = await timelineSince(bob, roomId, since);
  assert.deepEqual(
    seen.filter((body) => body !== 'back again'),
    missed,
  );
  await untilSameState([alice, bob], roomId);
});

for (const restarts of [false, true]) {
  const meanwhile = restarts ? ', and Synapse, restarted, tells of the newest only,' : '';
  test(`what Kurir misses while it is stopped${meanwhile} reaches it afterwards, once and in order`, async () => {
    const roomId = await bob.createRoom({ preset: 'private_chat' });
    await bringIn(bob, alice, roomId);
    await bob.send(roomId, 'before');
    await untilMessages(alice, roomId, ['before']);
    const { next_batch: since } = await alice.sync();
    await kurir.stop();
    const missed = Array.from({ length: 120 }, (_, count) => `missed ${count}`);
    for (const body of missed) await bob.send(roomId, body);
    await bob.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: 'Meanwhile' });
    if (restarts) {
      await synapse.stop();
      await synapse.start();
    }
    await kurir.start();
    await alice.send(roomId, 'back again');
    await until(
      async () => (await wholeHistory(alice, roomId)).includes(missed.at(-1) ?? ''),
      'that Kurir has what it missed',
    );
    await until(
      async () => (await wholeHistory(bob, roomId)).includes('back again'),
      'that Synapse hears from Kurir again',
    );
    const seen = await timelineSince(alice, roomId, since);
    assert.deepEqual(
      seen.filter((body) => body !== 'back again'),
      missed,
    );
    await untilSameState([alice, bob], roomId);
    await talk(alice, bob, roomId);
  });
}

test('what each side changes while it does not reach the other is resolved alike, in versions 10, 11 and 12', async () => {
  const rooms: string[] = [];
  for (const version of ['10', '11', '12']) {
    const host = version === '11' ? bob : alice;
    const guest = host === bob ? alice : bob;
    const roomId = await host.createRoom({ preset: 'private_chat', room_version: version });
    await bringIn(host, guest, roomId);
    await untilMember(host, roomId, guest.userId, 'join');
    await letChangeState(host, guest, roomId);
    rooms.push(roomId);
  }
  const change = async (user: TestClient) => {
    for (const roomId of rooms) {
      for (const count of [1, 2, 3]) {
        await user.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: `${count} by ${user.userId}` });
        await user.send(roomId, `${count} by ${user.userId}`);
      }
      await user.put(`${inRoom(roomId)}/state/m.room.name/`, { name: `by ${user.userId}` });
      await user.put(`${inRoom(roomId)}/state/org.example.case/${user.userId.length}`, { by: user.userId });
    }
  };
  await kurir.stop();
  await change(bob);
  await synapse.stop();
  await kurir.start();
  await change(alice);
  await synapse.start();
  for (const roomId of rooms) {
    for (const user of [alice, bob]) await user.send(roomId, `back again, ${user.userId}`);
  }
  for (const roomId of rooms) {
    const told = [alice, bob].map(({ userId }) => [1, 2, 3].map((count) => `${count} by ${userId}`));
    for (const user of [alice, bob]) {
      const seen = await untilMessages(user, roomId, told.flat());
      for (const own of told)
        assert.deepEqual(
          seen.filter((body) => own.includes(body)),
          own,
        );
    }
    await untilSameState([alice, bob], roomId);
  }
});

for (const { home, host, guest } of pairs) {
  const missing = home === 'Kurir' ? 'Synapse' : 'Kurir';
  test(`${missing} is stopped while ${home} sends 500 events: it has each of them afterwards, once`, async () => {
    const roomId = await host.createRoom({ preset: 'private_chat' });
    await bringIn(host, guest, roomId);
    await untilMember(host, roomId, guest.userId, 'join');
    await away[missing].stop();
    const lanes = await Promise.all(
      Array.from({ length: 5 }, async (_, lane) => {
        const own = Array.from({ length: 100 }, (__, count) => `lane ${lane} ${count}`);
        for (const body of own) await host.send(roomId, body);
        return own;
      }),
    );
    await away[missing].start();
    await guest.send(roomId, 'back again');
    await untilMessages(host, roomId, ['back again']);
    let seen: string[] = [];
    const hasAll = async () => {
      seen = await wholeHistory(guest, roomId);
      return seen.length >= 501;
    };
    await until(hasAll, 'all 500 messages', { longestMs: LONG_MS });
    assert.deepEqual(seen.toSorted(), [...lanes.flat(), 'back again'].sort());
    for (const own of lanes) {
      assert.deepEqual(
        seen.filter((body) => own.includes(body)),
        own,
        'in the order in which they were sent',
      );
    }
    await untilSameState([host, guest], roomId);
  });

  test(`${home} bans a user of the other side, who talks on while the two do not reach each other`, async () => {
    const witness = colleagues[missing];
    const roomId = await host.createRoom();
    for (const user of [guest, witness]) {
      await user.join(roomId, [serverOf(host)]);
      await untilMember(host, roomId, user.userId, 'join');
    }
    fleet.network.split([[serverOf(host)], [serverOf(guest)]]);
    await host.post(`${inRoom(roomId)}/ban`, { user_id: guest.userId });
    const late = ['not', 'for', 'you'];
    for (const body of late) await guest.send(roomId, body);
    await witness.send(roomId, 'meanwhile');
    fleet.network.heal();
    await witness.send(roomId, 'again');
    await host.send(roomId, 'welcome back');
    await untilMember(witness, roomId, guest.userId, 'ban');
    await untilMessages(witness, roomId, ['welcome back']);
    const seen = await untilMessages(host, roomId, ['meanwhile', 'again']);
    assert.deepEqual(
      seen.filter((body) => late.includes(body)),
      [],
      'what the banned said after the ban is not shown',
    );
    assert.equal((await guest.try('PUT', `${inRoom(roomId)}/send/m.room.message/late`, {})).status, 403);
    await untilSameState([host, witness], roomId);
  });
}

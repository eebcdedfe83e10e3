/** The sliding sync of matrix-js-sdk, SlidingSync and SlidingSyncSdk, against a server. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, type MatrixClient, SyncState } from 'matrix-js-sdk';
import { SlidingSync } from 'matrix-js-sdk/lib/sliding-sync.js';
import { register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';
import { SdkUser } from './js-sdk-client.ts';

const LIST = {
  timeline_limit: 5,
  required_state: [
    ['m.room.create', ''],
    ['m.room.encryption', ''],
    ['m.room.name', ''],
    ['m.room.member', '$ME'],
    ['m.room.member', '$LAZY'],
  ],
};

interface Sliding extends Disposable {
  readonly user: SdkUser;
  readonly client: MatrixClient;
  readonly sync: SlidingSync;
}

async function startSliding(account: TestClient, encrypts = false): Promise<Sliding> {
  const client = createClient({
    baseUrl: account.server.clientUrl,
    userId: account.userId,
    deviceId: account.deviceId,
    accessToken: account.accessToken,
  });
  if (encrypts) await client.initRustCrypto({ useIndexedDB: false });
  const lists = new Map([['main', { ...LIST, ranges: [[0, 1]] }]]);
  const sync = new SlidingSync(
    account.server.clientUrl,
    lists,
    { ...LIST, timeline_limit: 20 },
    client,
    2_000,
  );
  await client.startClient({ slidingSync: sync, lazyLoadMembers: true });
  await until(() => client.getSyncState() === SyncState.Syncing, `that ${account.userId} is in sync`);
  const user = new SdkUser(client, account.userId);
  return { user, client, sync, [Symbol.dispose]: () => user[Symbol.dispose]() };
}

test('its rooms appear, its window moves, messages and receipts arrive', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server), await register(server)];
  const rooms: string[] = [];
  for (const name of ['one', 'two', 'three']) rooms.push(await alice.createRoom({ name }));
  const [one = '', , three = ''] = rooms;
  using sliding = await startSliding(alice);
  const { user, client, sync } = sliding;
  await until(() => client.getRooms().length === 2, 'the rooms of the window');
  assert.equal(user.room(three).name, 'three');
  assert.equal(client.getRoom(one), null);
  assert.equal(sync.getListData('main')?.joinedCount, 3);

  sync.setListRanges('main', [[0, 10]]);
  await until(() => client.getRoom(one) !== null, 'the room that the window has moved to');
  assert.equal(user.membership(one), 'join');

  await bob.join(one);
  await bob.send(one, 'hello');
  await user.untilSees(one, 'hello');
  await until(() => user.membership(one, bob.userId) === 'join', 'the member who has spoken');
  const { event_id: eventId } = await user.say(one, 'hello to you');
  await user.untilSees(one, 'hello to you');
  await bob.post(`/rooms/${encodeURIComponent(one)}/receipt/m.read/${encodeURIComponent(eventId)}`, {});
  await until(() => user.room(one).hasUserReadEvent(bob.userId, eventId), 'a receipt');
  assert.deepEqual(user.messages(one).slice(-2), ['hello', 'hello to you']);

  const invitation = await bob.createRoom({ name: 'party', invite: [alice.userId] });
  await until(() => client.getRoom(invitation)?.getMyMembership() === 'invite', 'an invitation');
  await client.joinRoom(invitation);
  await until(() => client.getRoom(invitation)?.getMyMembership() === 'join', 'that it is accepted');

  await server.restart();
  await bob.send(one, 'after the restart');
  await user.untilSees(one, 'after the restart');
});

test('it reads an encrypted message', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom({
    initial_state: [
      { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
    ],
  });
  await bob.join(roomId);
  using one = await startSliding(alice, true);
  using two = await startSliding(bob, true);
  for (const { client } of [one, two]) {
    await until(
      () => client.getRoom(roomId)?.hasEncryptionStateEvent() === true,
      'that the room is encrypted',
    );
  }
  const isKnown = async (): Promise<boolean> => {
    const devices = await one.client.getCrypto()?.getUserDeviceInfo([bob.userId], true);
    return devices?.get(bob.userId)?.has(bob.deviceId) === true;
  };
  await until(isKnown, 'that the device of the other is known');
  await one.client.sendTextMessage(roomId, 'for you alone');
  const read = (): boolean =>
    two.user
      .room(roomId)
      .getLiveTimeline()
      .getEvents()
      .some((event) => event.getContent().body === 'for you alone');
  await until(read, 'that the message is read');
});

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { login, register, type TestClient } from '#test/harness/client.ts';
import { inRoom, untilMember } from '#test/harness/conversation.ts';
import {
  crossSigningOf,
  devicesSeen,
  queryKeys,
  signedBy,
  untilChanged,
  uploadDeviceKeys,
} from '#test/harness/encryption.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const [here, there] = [fleet.at(0), fleet.at(1)];
const thereName = there.serverName;

const WAITING = {
  name: '',
  text: 'SELECT seq FROM edu_outbox UNION ALL SELECT seq FROM outgoing_device_lists',
};
const JOINED = {
  name: '',
  text: "SELECT room_nid FROM memberships WHERE user_id = ? AND membership = 'join'",
};
const MAKE_STALE = { name: '', text: 'UPDATE remote_device_lists SET stale = 1' };
const STALE = { name: '', text: 'SELECT user_id FROM remote_device_lists WHERE stale = 1' };

/** Alice here and bob there, in a room of alice's; bob's devices have been asked for. */
async function pair(): Promise<{ alice: TestClient; bob: TestClient; roomId: string; since: string }> {
  const alice = await register(here);
  const bob = await register(there);
  await uploadDeviceKeys(bob);
  const roomId = await alice.createRoom();
  await bob.join(roomId, [here.serverName]);
  await untilMember(alice, roomId, bob.userId, 'join');
  await until(async () => (await devicesSeen(alice, bob.userId)).length === 1, 'the device');
  await settled(alice, bob.userId);
  return { alice, bob, roomId, since: (await alice.sync()).next_batch };
}

/** Waits until all that the server there tells has arrived here; from then on the user's list is known. */
async function settled(viewer: TestClient, userId: string): Promise<void> {
  await until(async () => (await there.ctx.db.get(WAITING)) === undefined, 'that nothing waits');
  await until(async () => (await here.ctx.db.get(STALE)) === undefined, 'that nothing is stale');
  // An answer that an update overtook was told, and not kept.
  await devicesSeen(viewer, userId);
}

/** Waits until a viewer sees these devices. */
async function untilSees(viewer: TestClient, userId: string, expected: readonly string[]): Promise<void> {
  const wanted = JSON.stringify([...expected].sort());
  await until(
    async () => JSON.stringify(await devicesSeen(viewer, userId)) === wanted,
    `the devices ${wanted}`,
  );
}

test('a new device, its keys and its end are told to the servers that share a room', async () => {
  const { alice, bob, since } = await pair();
  const phone = await login(there, bob.userId, bob.password);
  const keys = await uploadDeviceKeys(phone);
  const told = await untilChanged(alice, bob.userId, since);
  await untilSees(alice, bob.userId, [bob.deviceId, phone.deviceId]);
  const { device_keys: seen } = await queryKeys(alice, [bob.userId]);
  assert.deepEqual(seen[bob.userId][phone.deviceId], keys);
  const quiet = await alice.sync({ since: told });
  await phone.post('/logout');
  await untilChanged(alice, bob.userId, quiet.next_batch);
  await untilSees(alice, bob.userId, [bob.deviceId]);
});

test('a list that is followed is answered from memory, also while its server is away', async () => {
  const { alice, bob } = await pair();
  const phone = await login(there, bob.userId, bob.password);
  await uploadDeviceKeys(phone);
  await untilSees(alice, bob.userId, [bob.deviceId, phone.deviceId]);
  await settled(alice, bob.userId);
  await there.stop();
  try {
    const { device_keys: seen, failures } = await queryKeys(alice, [bob.userId]);
    assert.deepEqual(Object.keys(seen[bob.userId]).sort(), [bob.deviceId, phone.deviceId].sort());
    assert.deepEqual(failures, {});
  } finally {
    await there.start();
  }
});

test('what changes while a server is away is told when it is back, though both were restarted', async () => {
  const { alice, bob, since } = await pair();
  await here.stop();
  const phones: TestClient[] = [];
  for (let count = 0; count < 3; count++) {
    const phone = await login(there, bob.userId, bob.password);
    await uploadDeviceKeys(phone);
    phones.push(phone);
  }
  await there.restart();
  await here.start();
  await untilChanged(alice, bob.userId, since);
  const ids = [bob, ...phones].map(({ deviceId }) => deviceId);
  await untilSees(alice, bob.userId, ids);
});

test('an update that is missed makes the whole list be asked for, and its server away nothing stale be told', async () => {
  const { alice, bob, since } = await pair();
  // The updates between are lost.
  await here.stop();
  const phone = await login(there, bob.userId, bob.password);
  await uploadDeviceKeys(phone);
  await there.ctx.db.write('test', (tx) => tx.run({ name: '', text: 'DELETE FROM edu_outbox' }));
  await here.start();
  const tablet = await login(there, bob.userId, bob.password);
  await uploadDeviceKeys(tablet);
  await untilChanged(alice, bob.userId, since);
  await untilSees(alice, bob.userId, [bob.deviceId, phone.deviceId, tablet.deviceId]);
});

test('a list that is out of date is not told while its server is away, and asked for when it is back', async () => {
  const { alice, bob } = await pair();
  const phone = await login(there, bob.userId, bob.password);
  await uploadDeviceKeys(phone);
  await untilSees(alice, bob.userId, [bob.deviceId, phone.deviceId]);
  await settled(alice, bob.userId);
  await here.ctx.db.write('test', (tx) => tx.run(MAKE_STALE));
  await there.stop();
  try {
    const { device_keys: seen, failures } = await queryKeys(alice, [bob.userId]);
    assert.equal(seen[bob.userId], undefined);
    assert.deepEqual(Object.keys(failures), [thereName]);
    await here.restart();
  } finally {
    await there.start();
  }
  await until(async () => (await here.ctx.db.get(STALE)) === undefined, 'that the list is asked for');
  assert.deepEqual(await devicesSeen(alice, bob.userId), [bob.deviceId, phone.deviceId].sort());
});

test('who leaves is told as left; what changed meanwhile is seen after the next join', async () => {
  const { alice, bob, roomId, since } = await pair();
  await bob.post(`${inRoom(roomId)}/leave`);
  const left = await alice.syncUntil(
    ({ device_lists: lists }) => lists?.left?.includes(bob.userId) === true,
    {
      since,
    },
  );
  const phone = await login(there, bob.userId, bob.password);
  await uploadDeviceKeys(phone);
  await bob.join(roomId, [here.serverName]);
  await untilMember(alice, roomId, bob.userId, 'join');
  await untilChanged(alice, bob.userId, left.next_batch);
  assert.deepEqual(await devicesSeen(alice, bob.userId), [bob.deviceId, phone.deviceId].sort());
});

test('a user who joins is told to servers that have not heard of the user', async () => {
  const alice = await register(here);
  const bob = await register(there);
  await uploadDeviceKeys(bob);
  const roomId = await alice.createRoom();
  const { next_batch: since } = await alice.sync();
  await bob.join(roomId, [here.serverName]);
  await untilChanged(alice, bob.userId, since);
  assert.deepEqual(await devicesSeen(alice, bob.userId), [bob.deviceId]);
});

test('who joins is told once, and then each of the changes by itself', async () => {
  const alice = await register(here);
  const bob = await register(there);
  await uploadDeviceKeys(bob);
  await bob.post('/keys/device_signing/upload', crossSigningOf(bob.userId).body);
  const roomId = await alice.createRoom();
  const { next_batch: since } = await alice.sync();
  await bob.join(roomId, [here.serverName]);
  let token = await untilChanged(alice, bob.userId, since);
  // All that the server there has to say of the join has arrived before this message.
  await until(async () => (await there.ctx.db.get(WAITING)) === undefined, 'that nothing waits');
  const eventId = await bob.send(roomId, 'after that');
  const answer = await alice.syncUntil(
    ({ rooms }) => JSON.stringify(rooms?.join?.[roomId] ?? {}).includes(eventId),
    { since: token },
  );
  assert.equal(answer.device_lists, undefined);
  assert.deepEqual((await alice.get(`/keys/changes?from=${token}&to=${answer.next_batch}`)).changed, []);
  assert.deepEqual(await devicesSeen(alice, bob.userId), [bob.deviceId]);
  token = answer.next_batch;
  const phone = await login(there, bob.userId, bob.password);
  await uploadDeviceKeys(phone);
  await untilChanged(alice, bob.userId, token);
  await untilSees(alice, bob.userId, [bob.deviceId, phone.deviceId]);
});

test('a change of somebody in a room that we came into is told, though nobody has asked for the devices yet', async () => {
  const alice = await register(here);
  const bob = await register(there);
  const roomId = await bob.createRoom();
  await alice.join(roomId, [there.serverName]);
  const { next_batch: since } = await alice.syncUntil(({ rooms }) => rooms?.join?.[roomId] !== undefined);
  await uploadDeviceKeys(bob);
  await untilChanged(alice, bob.userId, since);
  assert.deepEqual(await devicesSeen(alice, bob.userId), [bob.deviceId]);
});

test('a change of somebody who has just got another name, or come into a room of others, is told, though nobody has asked for the devices yet', async () => {
  const alice = await register(here);
  const carol = await register(here);
  const bob = await register(there);
  const dave = await register(there);
  const roomId = await bob.createRoom();
  await dave.join(roomId);
  await alice.join(roomId, [there.serverName]);
  await bob.put(`/profile/${encodeURIComponent(bob.userId)}/displayname`, { displayname: 'Bob' });
  const ofOthers = await carol.createRoom();
  await dave.join(ofOthers, [here.serverName]);
  const { next_batch: since } = await alice.syncUntil(({ rooms }) =>
    JSON.stringify(rooms?.join?.[roomId] ?? {}).includes('"displayname":"Bob"'),
  );
  await untilMember(carol, ofOthers, dave.userId, 'join');
  await uploadDeviceKeys(bob);
  const told = await untilChanged(alice, bob.userId, since);
  await uploadDeviceKeys(dave);
  await untilChanged(alice, dave.userId, told);
});

test('cross-signing keys and signatures on devices are told to other servers, user-signing keys are not', async () => {
  const { alice, bob, since } = await pair();
  const keys = crossSigningOf(bob.userId);
  await bob.post('/keys/device_signing/upload', keys.body);
  const told = await untilChanged(alice, bob.userId, since);
  await until(
    async () => (await queryKeys(alice, [bob.userId])).master_keys[bob.userId] !== undefined,
    'the key',
  );
  const seen = await queryKeys(alice, [bob.userId]);
  assert.deepEqual(seen.master_keys, { [bob.userId]: keys.body.master_key });
  assert.deepEqual(seen.self_signing_keys, { [bob.userId]: keys.body.self_signing_key });
  assert.equal(seen.user_signing_keys, undefined);

  const device = (await queryKeys(bob, [bob.userId])).device_keys[bob.userId][bob.deviceId];
  const signedDevice = signedBy(device, keys.selfSigning);
  const upload = { [bob.userId]: { [bob.deviceId]: signedDevice } };
  assert.deepEqual(await bob.post('/keys/signatures/upload', upload), { failures: {} });
  await untilChanged(alice, bob.userId, told);
  await until(async () => {
    const { device_keys: devices } = await queryKeys(alice, [bob.userId]);
    const signatures = devices[bob.userId][bob.deviceId].signatures[bob.userId];
    return signatures[keys.selfSigning.keyId] !== undefined;
  }, 'the signature');
});

test('a signature on the master key of a user of another server is seen by its maker alone', async () => {
  const { alice, bob } = await pair();
  const carol = await register(here);
  const [hers, his] = [crossSigningOf(alice.userId), crossSigningOf(bob.userId)];
  await alice.post('/keys/device_signing/upload', hers.body);
  await bob.post('/keys/device_signing/upload', his.body);
  const masterOf = async (viewer: TestClient) =>
    (await queryKeys(viewer, [bob.userId])).master_keys[bob.userId];
  await until(async () => (await masterOf(alice)) !== undefined, 'the master key');
  const target = signedBy(his.body.master_key, hers.userSigning);
  const upload = { [bob.userId]: { [his.master.pair.publicKey]: target } };
  const { next_batch: since } = await alice.sync();
  assert.deepEqual(await alice.post('/keys/signatures/upload', upload), { failures: {} });
  assert.deepEqual(await masterOf(alice), target);
  assert.deepEqual(
    (await alice.sync({ since })).device_lists.changed,
    [bob.userId],
    'her other devices are told',
  );
  assert.deepEqual(await masterOf(carol), his.body.master_key);
  assert.deepEqual(await masterOf(bob), his.body.master_key);
});

/** The contents of the EDUs of a type that the peer was sent, in order. */
function edusAt(peer: RoomPeer, type: string): JsonObject[] {
  const bodies = peer.peer.requests
    .filter(({ url }) => url.includes('/send/'))
    .map(({ body }) => JSON.parse(body));
  const edus: { edu_type: string; content: JsonObject }[] = bodies.flatMap(({ edus: sent }) => sent);
  return edus.filter(({ edu_type }) => edu_type === type).map(({ content }) => content);
}

test('updates go on from one another, and from what the whole list says', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  peer.makeRoom();
  const alice = await register(here);
  const keys = await uploadDeviceKeys(alice);
  await alice.join(peer.room.roomId, [peer.name]);
  const updates = () =>
    edusAt(peer, 'm.device_list_update').filter(({ user_id }) => user_id === alice.userId);
  await until(() => updates().length === 1, 'the update of the join');
  const list = async () => {
    const path = `/_matrix/federation/v1/user/devices/${encodeURIComponent(alice.userId)}`;
    return (await peer.request(here, { path })).body;
  };
  const [first] = updates();
  assert.deepEqual([first?.device_id, first?.keys], [alice.deviceId, keys]);
  assert.equal((await list()).stream_id, first?.stream_id, 'nothing has changed since');

  const phone = await login(here, alice.userId, alice.password);
  await until(() => updates().length === 2, 'the update of the new device');
  await phone.post('/logout');
  await until(() => updates().length === 3, 'the update of its end');
  const [, second, third] = updates();
  assert.deepEqual([second?.device_id, second?.prev_id], [phone.deviceId, [first?.stream_id ?? 0]]);
  assert.deepEqual(third, {
    user_id: alice.userId,
    device_id: phone.deviceId,
    stream_id: third?.stream_id ?? 0,
    prev_id: [second?.stream_id ?? 0],
    deleted: true,
  });
  assert.equal((await list()).stream_id, third?.stream_id);

  // Another name is no news.
  await alice.put(`/profile/${encodeURIComponent(alice.userId)}/displayname`, { displayname: 'Alice' });
  await alice.send(peer.room.roomId, 'after that');
  await until(() => peer.peer.requests.some(({ body }) => body.includes('after that')), 'the message');
  assert.equal(updates().length, 3);
});

test('another name is no change of devices, and the list stays followed', async () => {
  const { alice, bob, roomId } = await pair();
  const { next_batch: since } = await alice.sync();
  const path = (user: TestClient) => `/profile/${encodeURIComponent(user.userId)}/displayname`;
  await alice.put(path(alice), { displayname: 'Alice' });
  await bob.put(path(bob), { displayname: 'Bob' });
  const answer = await alice.syncUntil(
    ({ rooms }) => JSON.stringify(rooms?.join?.[roomId] ?? {}).includes('"displayname":"Bob"'),
    { since },
  );
  assert.equal(answer.device_lists, undefined);
  await there.stop();
  try {
    assert.deepEqual(await devicesSeen(alice, bob.userId), [bob.deviceId]);
  } finally {
    await there.start();
  }
});

test('a list is forgotten once its user shares no room any more', async () => {
  const { bob, roomId } = await pair();
  const known = { name: '', text: 'SELECT user_id FROM remote_device_lists WHERE user_id = ?' };
  assert.notEqual(await here.ctx.db.get(known, bob.userId), undefined);
  await bob.post(`${inRoom(roomId)}/leave`);
  await until(async () => {
    const row = await here.ctx.db.get(JOINED, bob.userId);
    return row === undefined;
  }, 'that the leave has arrived');
  await here.restart();
  await until(async () => (await here.ctx.db.get(known, bob.userId)) === undefined, 'that it is forgotten');
});

/** What other servers say of devices: true, false and malformed. The peer answers as the test likes. */

import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { type Body, register } from '#test/harness/client.ts';
import { untilMember } from '#test/harness/conversation.ts';
import { crossSigningOf, deviceKeysOf, devicesSeen, queryKeys } from '#test/harness/encryption.ts';
import type { PeerAnswer } from '#test/harness/peer.ts';
import type { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';
import { startWitness } from './witness.ts';

const witness = await startWitness();
after(() => witness[Symbol.asyncDispose]());
afterEach(() => witness.check());
const { alice, server } = witness;

/** What the peer says of mallory's devices, and how often it was asked. */
class Mallory {
  readonly peer: RoomPeer;
  readonly userId: string;
  readonly devices = new Map<string, JsonObject>();
  streamId = 1;

  constructor(peer: RoomPeer, localpart = 'mallory') {
    this.peer = peer;
    this.userId = peer.user(localpart);
    this.add('FIRST');
    this.answerLists();
  }

  add(deviceId: string): JsonObject {
    const keys = deviceKeysOf({ userId: this.userId, deviceId });
    this.devices.set(deviceId, keys);
    return keys;
  }

  answerLists(list: () => PeerAnswer = () => this.list()): void {
    this.peer.script = ({ url }) => {
      if (url.includes('/user/devices/')) return list();
      if (!url.endsWith('/user/keys/query')) return undefined;
      return { json: { device_keys: { [this.userId]: Object.fromEntries(this.devices) } } };
    };
  }

  list(): PeerAnswer {
    const devices = [...this.devices].map(([device_id, keys]) => ({ device_id, keys }));
    return { json: { user_id: this.userId, stream_id: this.streamId, devices } };
  }

  /** How often the whole list was asked for, and its keys. */
  get asked(): { lists: number; queries: number } {
    return {
      lists: this.peer.asked('/user/devices/').length,
      queries: this.peer.asked('/user/keys/query').length,
    };
  }

  /** An update that goes on from the one before. */
  update(deviceId: string, parts: JsonObject = {}): JsonObject {
    const prev_id = [this.streamId];
    this.streamId += 1;
    const keys = this.devices.get(deviceId);
    const content = { user_id: this.userId, device_id: deviceId, stream_id: this.streamId, prev_id };
    return { edu_type: 'm.device_list_update', content: { ...content, ...(keys && { keys }), ...parts } };
  }

  async send(...edus: readonly JsonObject[]): Promise<void> {
    const { status } = await this.peer.send(server, [], { edus });
    assert.equal(status, 200);
  }
}

/** A peer in whose room alice is, and whose list has been asked for such that its updates are followed. */
async function followed(): Promise<Mallory> {
  const mallory = new Mallory(await witness.peerWithGuest());
  assert.deepEqual(await devicesSeen(alice, mallory.userId), ['FIRST']);
  // Of what `/user/keys/query` gave nobody knows which update comes next.
  await mallory.send(mallory.update('FIRST'));
  await until(() => mallory.asked.lists === 1, 'that the list is asked for');
  await until(async () => (await server.ctx.db.get(STALE)) === undefined, 'that it is taken');
  return mallory;
}

const STALE = { name: '', text: 'SELECT user_id FROM remote_device_lists WHERE stale = 1' };

test('updates one after the other are taken as they are; one that is missed makes the list be asked for once', async () => {
  const mallory = await followed();
  await using _ = mallory.peer;
  const { next_batch: since } = await alice.sync();
  mallory.add('SECOND');
  await mallory.send(mallory.update('SECOND'));
  assert.deepEqual((await alice.sync({ since })).device_lists.changed, [mallory.userId]);
  assert.deepEqual(await devicesSeen(alice, mallory.userId), ['FIRST', 'SECOND']);
  mallory.devices.delete('FIRST');
  await mallory.send(mallory.update('FIRST', { deleted: true }));
  assert.deepEqual(await devicesSeen(alice, mallory.userId), ['SECOND']);
  assert.deepEqual(mallory.asked, { lists: 1, queries: 1 }, 'nothing more was asked for');

  mallory.add('THIRD');
  mallory.update('THIRD');
  mallory.add('FOURTH');
  const last = mallory.update('FOURTH');
  await mallory.send(last);
  await until(() => mallory.asked.lists === 2, 'that the list is asked for');
  assert.deepEqual(await devicesSeen(alice, mallory.userId), ['FOURTH', 'SECOND', 'THIRD']);
  const quiet = (await alice.sync()).next_batch;
  await mallory.send(last);
  assert.equal((await alice.sync({ since: quiet })).device_lists, undefined, 'what is known is no news');
  assert.deepEqual(mallory.asked, { lists: 2, queries: 1 });
});

test('a list that is asked for while an update comes in is asked for again', async () => {
  const mallory = await followed();
  await using _ = mallory.peer;
  const release = Promise.withResolvers<void>();
  const old = mallory.list();
  let isFirst = true;
  const { script } = mallory.peer;
  mallory.peer.script = async (request) => {
    if (!isFirst || !request.url.includes('/user/devices/')) return script(request);
    isFirst = false;
    await release.promise;
    return old;
  };
  mallory.add('SECOND');
  mallory.update('SECOND');
  await mallory.send(mallory.update('SECOND'));
  await until(() => mallory.asked.lists === 2, 'that the list is asked for');
  mallory.add('THIRD');
  await mallory.send(mallory.update('THIRD'));
  release.resolve();
  await until(() => mallory.asked.lists === 3, 'that it is asked for again');
  assert.deepEqual(await devicesSeen(alice, mallory.userId), ['FIRST', 'SECOND', 'THIRD']);
});

test('what was known of a user who left and came back is asked for again, though no update says so', async () => {
  const peer = await witness.peerWithGuest();
  await using _ = peer;
  const nick = new Mallory(peer, 'nick');
  const userId = peer.user('nick');
  const untilIs = (membership: string) => untilMember(alice, peer.room.roomId, userId, membership);
  await peer.send(server, [peer.room.join(userId)]);
  await untilIs('join');
  assert.deepEqual(await devicesSeen(alice, userId), ['FIRST']);
  assert.deepEqual(await devicesSeen(alice, userId), ['FIRST']);
  assert.equal(nick.asked.queries, 1);
  await peer.send(server, [peer.room.leave(userId)]);
  await untilIs('leave');
  nick.add('SECOND');
  await peer.send(server, [peer.room.join(userId)]);
  await untilIs('join');
  assert.deepEqual(await devicesSeen(alice, userId), ['FIRST', 'SECOND']);
  assert.deepEqual(await devicesSeen(alice, userId), ['FIRST', 'SECOND']);
  assert.equal(nick.asked.queries, 2);
});

test('a server that has no lists of devices is not asked for them again and again', async () => {
  const mallory = new Mallory(await witness.peerWithGuest());
  await using _ = mallory.peer;
  mallory.answerLists(() => ({ status: 501, json: { errcode: 'M_UNRECOGNIZED', error: 'not implemented' } }));
  await devicesSeen(alice, mallory.userId);
  mallory.add('SECOND');
  await mallory.send(mallory.update('SECOND'));
  await until(async () => (await server.ctx.db.get(STALE)) === undefined, 'that it is settled');
  assert.deepEqual(await devicesSeen(alice, mallory.userId), ['FIRST', 'SECOND']);
  assert.deepEqual(mallory.asked, { lists: 1, queries: 2 });

  mallory.peer.script = ({ url }) =>
    url.includes('/user/') ? { json: { device_keys: 'a string' } } : undefined;
  await mallory.send(mallory.update('SECOND'));
  await until(async () => (await server.ctx.db.get(STALE)) === undefined, 'that it is settled');
  const { lists } = mallory.asked;
  const answer = await queryKeys(alice, [mallory.userId]);
  assert.deepEqual(Object.keys(answer.failures), [mallory.peer.name]);
  assert.deepEqual(mallory.asked.lists, lists, 'a client asks for keys, not for the list');
});

test('row 17: what a server says of the users of others, or of those who share no room, changes nothing', async () => {
  const mallory = await followed();
  await using _ = mallory.peer;
  await using other = await witness.peer();
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const keys = crossSigningOf(mallory.userId).body;
  const { next_batch: since } = await alice.sync();
  const contents = (userId: string): JsonObject[] => [
    {
      edu_type: 'm.device_list_update',
      content: { user_id: userId, device_id: 'X', stream_id: 99, prev_id: [] },
    },
    { edu_type: 'm.signing_key_update', content: { user_id: userId, master_key: keys.master_key } },
    {
      edu_type: 'm.direct_to_device',
      content: {
        sender: userId,
        type: 't',
        message_id: 'm',
        messages: { [alice.userId]: { '*': { a: 1 } } },
      },
    },
  ];
  const edus = [...contents(mallory.userId), ...contents(bob.userId), ...contents(alice.userId)];
  assert.equal((await other.send(server, [], { edus })).status, 200);
  const strangers = contents(other.user('stranger')).slice(0, 2);
  assert.equal((await other.send(server, [], { edus: strangers })).status, 200);
  const answer = await alice.sync({ since });
  assert.deepEqual([answer.device_lists, answer.to_device], [undefined, undefined]);
  assert.deepEqual(await devicesSeen(alice, mallory.userId), ['FIRST']);
  assert.deepEqual((await queryKeys(alice, [mallory.userId])).master_keys, {});
});

test('malformed and giant EDUs do no harm to those beside them', async () => {
  const mallory = await followed();
  await using _ = mallory.peer;
  const { userId } = mallory;
  const giant = { ...deviceKeysOf({ userId, deviceId: 'GIANT' }), padding: 'x'.repeat(40_000) };
  const update = (content: JsonObject) => ({ edu_type: 'm.device_list_update', content });
  const bad: JsonObject[] = [
    update({}),
    update({ user_id: userId }),
    update({ user_id: userId, device_id: 1, stream_id: 5 }),
    update({ user_id: userId, device_id: 'a\0b', stream_id: 5 }),
    update({ user_id: userId, device_id: 'x'.repeat(300), stream_id: 5 }),
    update({ user_id: userId, device_id: 'X', stream_id: '5' }),
    update({ user_id: userId, device_id: 'X', stream_id: 5, prev_id: 'all' }),
    { edu_type: 'm.signing_key_update', content: { user_id: userId, master_key: 'x', self_signing_key: [] } },
    { edu_type: 'm.direct_to_device', content: { sender: userId, type: 1, message_id: 'm', messages: {} } },
    { edu_type: 'm.direct_to_device', content: { sender: userId, type: 't', messages: [] } },
    { edu_type: 'm.direct_to_device', content: 'x' },
    { edu_type: 7, content: {} },
  ];
  mallory.add('SECOND');
  const prev_id = [mallory.streamId];
  const malformed = mallory.update('GIANT', { keys: giant, prev_id });
  const good = mallory.update('SECOND');
  await mallory.send(...bad, malformed, good);
  await until(async () => (await server.ctx.db.get(STALE)) === undefined, 'that it is settled');
  assert.deepEqual(await devicesSeen(alice, userId), ['FIRST', 'SECOND']);
});

test('a user with thousands of devices is taken as far as there is room', async () => {
  const mallory = await followed();
  await using _ = mallory.peer;
  const keys = deviceKeysOf({ userId: mallory.userId, deviceId: 'D' });
  for (let count = 0; count < 1_500; count++) {
    mallory.devices.set(`D${count}`, { ...keys, device_id: `D${count}`, keys: {}, signatures: {} });
  }
  mallory.update('D1');
  await mallory.send(mallory.update('D2'));
  await until(async () => (await server.ctx.db.get(STALE)) === undefined, 'that it is settled');
  assert.equal((await devicesSeen(alice, mallory.userId)).length, 1_000);
  mallory.devices.set('MORE', { ...keys, device_id: 'MORE', keys: {}, signatures: {} });
  await mallory.send(mallory.update('MORE'));
  await until(async () => (await server.ctx.db.get(STALE)) === undefined, 'that it is settled');
  assert.equal((await devicesSeen(alice, mallory.userId)).length, 1_000);
});

test('row 121: each message of a server once, for devices that there are, and none that is too large', async () => {
  const mallory = await followed();
  await using _ = mallory.peer;
  const carol = await register(server);
  const messageOf = (message_id: string, messages: JsonObject): JsonObject => ({
    edu_type: 'm.direct_to_device',
    content: { sender: mallory.userId, type: 'test', message_id, messages },
  });
  const edus = [
    messageOf('one', { [carol.userId]: { '*': { n: 1 } } }),
    messageOf('one', { [carol.userId]: { '*': { n: 'again' } } }),
    messageOf('two', { [carol.userId]: { [carol.deviceId]: { n: 2 }, NONE: { n: 'nobody' } } }),
    messageOf('three', {
      [carol.userId]: { [carol.deviceId]: { n: 'x'.repeat(70_000) } },
      [`@nobody:${server.serverName}`]: { '*': { n: 'nobody' } },
      '@elsewhere:elsewhere.test': { '*': { n: 'elsewhere' } },
      [mallory.userId]: { '*': { n: 'self' } },
    }),
    messageOf('four', { [carol.userId]: { [carol.deviceId]: { n: 4 } } }),
  ];
  await mallory.send(...edus);
  await server.restart();
  await mallory.send(...edus);
  const { to_device: inbox } = await carol.sync();
  const numbers = inbox.events.map((event: Body) => event.content.n);
  assert.deepEqual(numbers, [1, 2, 4]);
  assert.deepEqual(inbox.events[0], { sender: mallory.userId, type: 'test', content: { n: 1 } });
  const rows = await server.ctx.db.all({ name: '', text: 'SELECT user_id FROM to_device' });
  assert.deepEqual(rows.length, 3, 'nothing is stored for others');
});

/** The extensions of sliding sync. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { type Asked, FACES, SlidingClient } from './face.ts';

const enabled = { enabled: true };
const LISTS: Asked = { lists: { all: { limit: 5 } } };

function tell(from: TestClient, to: TestClient, number: number): Promise<Body> {
  const messages = { [to.userId]: { [to.deviceId]: { number } } };
  return from.put(`/sendToDevice/test.message/n${number}`, { messages });
}

for (const face of FACES) {
  test(`${face}: messages to the device stay until it comes back with their token`, async () => {
    await using server = await startServer();
    const [alice, bob] = [await register(server), await register(server)];
    for (const number of [1, 2, 3]) await tell(bob, alice, number);
    const sliding = new SlidingClient(alice, face, 'encryption');
    const ask = (since?: string): Promise<Body> =>
      sliding.next({ extensions: { to_device: { ...enabled, limit: 2, ...(since && { since }) } } });
    const numbersOf = (answer: Body) =>
      answer.extensions.to_device.events.map((event: Body) => event.content.number);
    const first = await ask();
    assert.deepEqual(numbersOf(first), [1, 2]);
    assert.deepEqual(numbersOf(await ask()), [1, 2], 'not acknowledged');
    // Another connection that has no such extension takes nothing away.
    await new SlidingClient(alice, face, 'rooms').next(LISTS);
    const second = await ask(first.extensions.to_device.next_batch);
    assert.deepEqual(numbersOf(second), [3]);
    assert.deepEqual(numbersOf(await ask(second.extensions.to_device.next_batch)), []);
    sliding.pos = undefined;
    assert.deepEqual(numbersOf(await ask()), [], 'they are deleted');
  });

  test(`${face}: a request for the device alone waits for a message to it`, async () => {
    await using server = await startServer();
    const [alice, bob] = [await register(server), await register(server)];
    const sliding = new SlidingClient(alice, face, 'encryption');
    const { extensions } = await sliding.next({ extensions: { to_device: enabled, e2ee: enabled } });
    assert.equal(extensions.e2ee.device_lists, undefined);
    assert.deepEqual(extensions.e2ee.device_one_time_keys_count, { signed_curve25519: 0 });
    assert.deepEqual(extensions.e2ee.device_unused_fallback_key_types, []);
    const since = extensions.to_device.next_batch;
    const waiting = sliding.next({
      extensions: { to_device: { ...enabled, since }, e2ee: enabled },
      timeout: 20_000,
    });
    await tell(bob, alice, 1);
    assert.equal((await waiting).extensions.to_device.events.length, 1);
  });

  test(`${face}: changes of devices of those who share a room are told`, async () => {
    await using server = await startServer();
    const [alice, bob] = [await register(server), await register(server)];
    const roomId = await alice.createRoom();
    const sliding = new SlidingClient(alice, face);
    await sliding.next({ extensions: { e2ee: enabled } });
    await bob.join(roomId);
    const joined = await sliding.next({ extensions: { e2ee: enabled } });
    assert.deepEqual(joined.extensions.e2ee.device_lists.changed, [bob.userId]);
    await bob.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
    const left = await sliding.next({ extensions: { e2ee: enabled } });
    assert.deepEqual(left.extensions.e2ee.device_lists.left, [bob.userId]);
  });

  test(`${face}: account data of the account, and of the rooms that are looked at`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    const roomId = await alice.createRoom();
    const user = `/user/${encodeURIComponent(alice.userId)}`;
    const ofRoom = `${user}/rooms/${encodeURIComponent(roomId)}/account_data/test.room`;
    await alice.put(`${user}/account_data/test.all`, { a: 1 });
    await alice.put(ofRoom, { b: 1 });
    const sliding = new SlidingClient(alice, face);
    const asked = { ...LISTS, extensions: { account_data: enabled } };
    const first = await sliding.next(asked);
    const types = first.extensions.account_data.global.map(({ type }: Body) => type);
    assert.ok(types.includes('m.push_rules') && types.includes('test.all'));
    assert.deepEqual(first.extensions.account_data.rooms, {
      [roomId]: [{ type: 'test.room', content: { b: 1 } }],
    });
    assert.equal((await sliding.next(asked)).extensions.account_data, undefined);
    await alice.put(ofRoom, { b: 2 });
    const second = await sliding.next(asked);
    assert.deepEqual(second.extensions.account_data, {
      rooms: { [roomId]: [{ type: 'test.room', content: { b: 2 } }] },
    });
    // Of rooms that the extension is not for nothing is told, and nothing of it is lost.
    await alice.put(ofRoom, { b: 3 });
    const none = await sliding.next({ ...LISTS, extensions: { account_data: { ...enabled, lists: [] } } });
    assert.equal(none.extensions.account_data, undefined);
    const third = await sliding.next(asked);
    assert.deepEqual(third.extensions.account_data.rooms[roomId], [{ type: 'test.room', content: { b: 3 } }]);
  });

  test(`${face}: receipts for the events that are told, and one's own; then what is new`, async () => {
    await using server = await startServer();
    const [alice, bob] = [await register(server), await register(server)];
    const roomId = await alice.createRoom();
    await bob.join(roomId);
    const old = await alice.send(roomId, 'old');
    const receipt = (client: TestClient, eventId: string) =>
      client.post(`/rooms/${encodeURIComponent(roomId)}/receipt/m.read/${encodeURIComponent(eventId)}`, {});
    await receipt(alice, old);
    await receipt(bob, old);
    const last = await alice.send(roomId, 'last');
    const sliding = new SlidingClient(alice, face);
    const asked = (limit: number) => ({ lists: { all: { limit } }, extensions: { receipts: enabled } });
    const first = await sliding.next(asked(1));
    const readersOf = (answer: Body, eventId: string) =>
      Object.keys(answer.extensions.receipts?.rooms[roomId]?.content[eventId]?.['m.read'] ?? {});
    assert.deepEqual(readersOf(first, old), [alice.userId]);
    assert.deepEqual(readersOf(await sliding.next(asked(5)), old).sort(), [alice.userId, bob.userId]);
    await receipt(bob, last);
    const next = await sliding.next({ ...asked(5), timeout: 20_000 });
    assert.deepEqual(readersOf(next, last), [bob.userId]);
    assert.equal(next.extensions.receipts.rooms[roomId].type, 'm.receipt');
  });

  test(`${face}: who types in the rooms that are looked at`, async () => {
    await using server = await startServer();
    const [alice, bob] = [await register(server), await register(server)];
    const roomId = await alice.createRoom();
    await bob.join(roomId);
    const sliding = new SlidingClient(alice, face);
    const asked = { ...LISTS, extensions: { typing: enabled }, timeout: 20_000 };
    assert.equal((await sliding.next(asked)).extensions.typing, undefined);
    const path = `/rooms/${encodeURIComponent(roomId)}/typing/${encodeURIComponent(bob.userId)}`;
    const usersOf = (answer: Body) => answer.extensions.typing.rooms[roomId].content.user_ids;
    await bob.put(path, { typing: true, timeout: 30_000 });
    assert.deepEqual(usersOf(await sliding.next(asked)), [bob.userId]);
    await bob.put(path, { typing: false });
    const stopped = await sliding.next(asked);
    assert.deepEqual(usersOf(stopped), []);
    assert.deepEqual(stopped.rooms, {});
  });
}

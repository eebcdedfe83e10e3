/** What our own faults do to events that were answered for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadEvent } from '#rooms/load.ts';
import { isPlaced } from '#rooms/stored-event.ts';
import { sql } from '#storage/sql.ts';
import * as stagedEvents from '#storage/staged-events.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { messagesOf, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { TestRoom } from '#test/harness/room-builder.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

/** A new room of the peer, with the user in it. */
async function joinRoom(user: TestClient, peer: RoomPeer, number: number): Promise<TestRoom> {
  const room = peer.makeRoom({ create: { number } });
  await user.join(room.roomId, [peer.name]);
  return room;
}

test('an event that the server fails to write is given up alone: those received together with it are there', async () => {
  await using fleet = await startFleet(1);
  const server = fleet.at(0);
  const alice = await register(server, 'alice');
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  await alice.join(room.roomId, [peer.name]);
  const mallory = peer.user('mallory');
  const bad = room.fork().message(mallory, 'cannot be written');
  const good = Array.from({ length: 10 }, (_, index) => room.message(mallory, `${index}`));
  const refuse = sql<[]>(
    'test.refuse',
    `CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.event_id = '${bad.eventId}'
     BEGIN SELECT RAISE(ABORT, 'it cannot be written'); END`,
  );
  await server.ctx.db.write('test', (tx) => tx.run(refuse));
  // What is given up here does not come back by another way.
  peer.script = ({ url }) =>
    /missing_events|state|event/.test(url) ? { status: 403, json: { errcode: 'M_FORBIDDEN' } } : undefined;
  const sent = [...good.slice(0, 5), bad, ...good.slice(5)];
  assert.equal((await peer.send(server, sent)).status, 200);
  const bodies = good.map(({ content }) => String(content.body));
  await untilMessages(alice, room.roomId, bodies);
  assert.deepEqual(await messagesOf(alice, room.roomId), bodies);
  assert.equal(await loadEvent(server.ctx, bad.eventId), undefined);
  // And what comes later comes together again.
  await peer.send(server, [room.message(mallory, 'after it')]);
  await untilMessages(alice, room.roomId, ['after it']);
});

test('what simply goes on with its room has its place when the transaction is answered, and is staged nowhere', async () => {
  await using fleet = await startFleet(1);
  const server = fleet.at(0);
  const alice = await register(server, 'alice');
  await using peer = await new RoomPeer(fleet.authority).start();
  const rooms = [await joinRoom(alice, peer, 1), await joinRoom(alice, peer, 2)];
  const refuse = sql<[]>(
    'test.refuseStaging',
    `CREATE TRIGGER refuse_staging BEFORE INSERT ON staged_events
     BEGIN SELECT RAISE(ABORT, 'nothing is to be staged'); END`,
  );
  await server.ctx.db.write('test', (tx) => tx.run(refuse));
  const mallory = peer.user('mallory');
  const sent = [0, 1, 2].flatMap((number) => rooms.map((room) => room.message(mallory, `${number}`)));
  assert.equal((await peer.send(server, sent)).status, 200);
  for (const { eventId } of sent) assert.equal(isPlaced(await loadEvent(server.ctx, eventId)), true);
});

test('a transaction is answered while its room is at work on something else, and received after that', async () => {
  await using fleet = await startFleet(1);
  const server = fleet.at(0);
  const alice = await register(server, 'alice');
  await using peer = await new RoomPeer(fleet.authority).start();
  const [busy, free] = [await joinRoom(alice, peer, 1), await joinRoom(alice, peer, 2)];
  const mallory = peer.user('mallory');
  const [first, second] = [busy.message(mallory, 'waits'), free.message(mallory, 'does not')];
  const { promise: work, resolve: end } = Promise.withResolvers<void>();
  const atWork = server.ctx.roomLocks.run(busy.roomId, () => work);
  try {
    assert.equal((await peer.send(server, [first, second])).status, 200);
    assert.equal(isPlaced(await loadEvent(server.ctx, first.eventId)), false);
    assert.equal(isPlaced(await loadEvent(server.ctx, second.eventId)), true);
    const staged = await stagedEvents.next(server.ctx.db, busy.roomId, 10);
    assert.deepEqual(
      staged.map(({ eventId }) => eventId),
      [first.eventId],
    );
  } finally {
    end();
    await atWork;
  }
  await untilMessages(alice, busy.roomId, ['waits']);
});

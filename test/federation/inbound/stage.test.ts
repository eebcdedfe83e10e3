/** What our own faults do to events that were answered for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadEvent } from '#rooms/load.ts';
import { sql } from '#storage/sql.ts';
import { register } from '#test/harness/client.ts';
import { messagesOf, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

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

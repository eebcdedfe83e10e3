/** F27: transactions that come several times, in any order, across restarts, under the id of another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Event } from '#rooms/event.ts';
import { register } from '#test/harness/client.ts';
import { messagesOf, untilMessages } from '#test/harness/conversation.ts';
import { diceOf, shuffled } from '#test/harness/dice.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { casesOf, seed } from '#test/harness/rounds.ts';

const ROUNDS = casesOf({ usual: 3, inLongRun: 20 });
const TRANSACTIONS = 12;

test('F27: whatever comes how often, in which order and across which restart, is there once, and has one answer', async (t) => {
  t.diagnostic(`seed ${seed}, ${ROUNDS} rounds`);
  await using fleet = await startFleet(1);
  const server = fleet.at(0);
  const alice = await register(server, 'alice');
  const dice = diceOf(seed);
  for (let round = 0; round < ROUNDS; round++) {
    await using peer = await new RoomPeer(fleet.authority).start();
    const { room } = { room: peer.makeRoom() };
    await alice.join(room.roomId, [peer.name]);
    const transactions = Array.from({ length: TRANSACTIONS }, (_, number) => ({
      txnId: `round${round}-${number}`,
      events: Array.from({ length: 1 + dice(8) }, (_, index) =>
        room.message(peer.user('mallory'), `${number}.${index}`),
      ),
    }));
    const all = transactions.flatMap(({ events }) => events);
    const often = transactions.flatMap((each) => Array.from({ length: 1 + dice(5) }, () => each));
    const deliveries = shuffled(often, dice);
    const restartAt = dice(deliveries.length);
    const answers = new Map<string, string>();
    for (const [index, { txnId, events }] of deliveries.entries()) {
      if (index === restartAt) await server.restart();
      // One after the other, as a server does; now and then with another body, or under another id.
      const other = answers.has(txnId) && dice(4) === 0 ? shuffled(all, dice).slice(0, 3) : events;
      const id = dice(6) === 0 ? `again${round}-${index}` : txnId;
      const { status, body } = await peer.send(server, other, { txnId: id });
      assert.equal(status, 200);
      const answer = JSON.stringify(body);
      assert.equal(answer, answers.get(id) ?? answer, 'the same transaction has the same answer');
      answers.set(id, answer);
      if (other === events || id !== txnId) assertTaken(body.pdus, other);
    }
    const bodies = all.map(({ content }) => String(content.body));
    await untilMessages(alice, room.roomId, bodies);
    assert.deepEqual((await messagesOf(alice, room.roomId)).toSorted(), bodies.toSorted(), 'each once');
  }
});

/** Each event has a result, and none of them an error. */
function assertTaken(results: object, events: readonly Event[]): void {
  for (const { eventId } of events)
    assert.deepEqual(Object.entries(results).find(([id]) => id === eventId)?.[1], {});
}

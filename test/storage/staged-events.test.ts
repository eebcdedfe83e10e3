import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId } from '#keys/ids.ts';
import type { Tx } from '#storage/database.ts';
import * as inboundTransactions from '#storage/inbound-transactions.ts';
import * as stagedEvents from '#storage/staged-events.ts';
import { drivers } from '#test/harness/databases.ts';

const HOUR_MS = 60 * 60 * 1_000;

function staged(roomId: `!${string}`, eventId: EventId): stagedEvents.StagedEvent {
  return { roomId, eventId, origin: 'there.test', json: `{"of":"${eventId}"}` };
}

for (const { name, open } of drivers) {
  test(`${name}: events wait in the order in which they came, each once, room by room`, async () => {
    await using database = await open();
    const { db } = database;
    const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
    await write((tx) =>
      stagedEvents.insert(tx, [staged('!a:x', '$1'), staged('!b:x', '$2'), staged('!a:x', '$3')]),
    );
    const again = await write((tx) => stagedEvents.insert(tx, [staged('!a:x', '$1'), staged('!a:x', '$0')]));
    assert.deepEqual(again, [staged('!a:x', '$1')]);
    const ids = async (limit: number) =>
      (await stagedEvents.next(db, '!a:x', limit)).map(({ eventId }) => eventId);
    assert.deepEqual(await ids(10), ['$1', '$3', '$0']);
    assert.deepEqual(await ids(2), ['$1', '$3']);
    const [first] = await stagedEvents.next(db, '!a:x', 1);
    assert.deepEqual(first, { ...staged('!a:x', '$1'), seq: first?.seq });
    assert.deepEqual(await stagedEvents.rooms(db, '', 10), [
      { roomId: '!a:x', events: 3 },
      { roomId: '!b:x', events: 1 },
    ]);
    assert.deepEqual(await stagedEvents.rooms(db, '!a:x', 10), [{ roomId: '!b:x', events: 1 }]);
    await write((tx) => stagedEvents.remove(tx, [first?.seq ?? 0]));
    assert.deepEqual(await ids(10), ['$3', '$0']);
  });

  test(`${name}: a transaction is answered as the first time, for an hour`, async () => {
    await using database = await open();
    const { db } = database;
    const remember = (txnId: string, answer: string, now: number) =>
      db.write('test', (tx) =>
        inboundTransactions.remember(tx, { origin: 'there.test', txnId, answer }, now),
      );
    await remember('t\0', 'first', 1_000);
    await remember('t\0', 'second', 2_000);
    assert.equal(await inboundTransactions.answerOf(db, 'there.test', 't\0'), 'first');
    assert.equal(await inboundTransactions.answerOf(db, 'other.test', 't\0'), undefined);
    await remember('later', 'x', 1_001 + HOUR_MS);
    assert.equal(await inboundTransactions.answerOf(db, 'there.test', 't\0'), undefined);
    assert.equal(await inboundTransactions.answerOf(db, 'there.test', 'later'), 'x');
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, RoomId, ServerName } from '#keys/ids.ts';
import type { Tx } from '#storage/database.ts';
import * as postponedEvents from '#storage/postponed-events.ts';
import * as stagedEvents from '#storage/staged-events.ts';
import { drivers, type TestDatabase } from '#test/harness/databases.ts';

const MOST = { inRoom: 4, ofOrigin: 2 };

function staged(
  roomId: RoomId,
  eventId: EventId,
  origin: ServerName = 'there.test',
): stagedEvents.StagedEvent {
  return { roomId, eventId, origin, json: `{"of":"${eventId}"}` };
}

/** Stages events and postpones each until the time given; answers which are given up. */
async function postponeAll(
  { db }: TestDatabase,
  events: readonly stagedEvents.StagedEvent[],
  turnTs: number,
): Promise<(EventId | undefined)[]> {
  const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
  await write((tx) => stagedEvents.insert(tx, events));
  const givenUp: (EventId | undefined)[] = [];
  for (const { roomId } of events) {
    const [row] = await stagedEvents.next(db, roomId, 1);
    assert.ok(row);
    givenUp.push(await write((tx) => postponedEvents.postpone(tx, row, { turns: 1, turnTs }, MOST)));
  }
  return givenUp;
}

for (const { name, open } of drivers) {
  test(`${name}: a postponed event is in no line, and due when its turn has come or it is called`, async () => {
    await using database = await open();
    const { db } = database;
    const due = async (roomId: RoomId, now: number) =>
      (await postponedEvents.due(db, roomId, { now, limit: 10 })).map(({ eventId }) => eventId);
    const dueRooms = (now: number, after = '') => postponedEvents.dueRooms(db, { now, after, limit: 10 });
    await postponeAll(database, [staged('!a:x', '$1'), staged('!b:x', '$2', 'other.test')], 100);
    await db.write('test', (tx) => stagedEvents.insert(tx, [staged('!a:x', '$3')]));
    assert.deepEqual(
      (await stagedEvents.next(db, '!a:x', 10)).map(({ eventId }) => eventId),
      ['$3'],
    );
    assert.deepEqual(await stagedEvents.rooms(db, '', 10), [{ roomId: '!a:x', events: 1 }]);
    assert.deepEqual([await due('!a:x', 99), await due('!a:x', 100)], [[], ['$1']]);
    assert.deepEqual([await dueRooms(99), await dueRooms(100)], [[], ['!a:x', '!b:x']]);
    assert.deepEqual(await dueRooms(100, '!a:x'), ['!b:x']);
    assert.deepEqual(
      [await postponedEvents.nextTurn(db, 0), await postponedEvents.nextTurn(db, 100)],
      [100, undefined],
    );
    // By its server.
    assert.equal(await postponedEvents.hasOf(db, 'third.test'), false);
    assert.equal(await postponedEvents.hasOf(db, 'other.test'), true);
    await db.write('test', (tx) => postponedEvents.call(tx, 'other.test'));
    assert.deepEqual([await dueRooms(0), await due('!b:x', 0)], [['!b:x'], ['$2']]);
    // By being handed over again: those in the line keep their place.
    const copies = [staged('!a:x', '$3'), staged('!a:x', '$1', 'other.test')];
    assert.deepEqual(await db.write('test', (tx) => stagedEvents.insert(tx, copies)), copies);
    assert.equal(await db.write('test', (tx) => postponedEvents.callEvents(tx, ['$3', '$1'])), 1);
    const [called] = await postponedEvents.due(db, '!a:x', { now: 0, limit: 10 });
    const { seq = 0 } = called ?? {};
    assert.deepEqual(called, { ...staged('!a:x', '$1'), seq, turns: 1, turnTs: 100, isCalled: true });
    await db.write('test', (tx) => postponedEvents.answered(tx, [seq]));
    assert.deepEqual(await due('!a:x', 0), []);
    await db.write('test', (tx) => postponedEvents.postponeAgain(tx, seq, { turns: 2, turnTs: 500 }));
    assert.deepEqual([await due('!a:x', 499), await due('!a:x', 500)], [[], ['$1']]);
  });

  test(`${name}: an event that was in no line is postponed once, and a better copy takes its place`, async () => {
    await using database = await open();
    const { db } = database;
    const [first, second, third] = [staged('!a:x', '$1'), staged('!a:x', '$2'), staged('!a:x', '$3')];
    const insert = (event: stagedEvents.StagedEvent) =>
      db.write('test', (tx) => postponedEvents.insert(tx, event, { turns: 1, turnTs: 100 }, MOST));
    const due = async () =>
      (await postponedEvents.due(db, '!a:x', { now: 100, limit: 10 })).map(({ json }) => json);
    await db.write('test', (tx) => stagedEvents.insert(tx, [third]));
    assert.deepEqual([await insert(first), await insert({ ...first, json: '{}' })], [undefined, undefined]);
    // What is in the line stays there.
    assert.equal(await insert(third), undefined);
    assert.deepEqual(await due(), [first.json]);
    const better = { ...first, json: '{"better":1}' };
    await db.write('test', async (tx) => {
      await postponedEvents.setJson(tx, better);
      await postponedEvents.setJson(tx, { ...third, json: '{"better":3}' });
      await postponedEvents.setJson(tx, { ...first, roomId: '!b:x', json: '{"better":2}' });
    });
    assert.deepEqual(await due(), [better.json]);
    assert.deepEqual(
      (await stagedEvents.next(db, '!a:x', 10)).map(({ json }) => json),
      [third.json],
    );
    assert.equal(await insert(second), undefined);
    assert.equal(await insert(staged('!a:x', '$4')), '$1');
    // A room that is full of others' events takes none.
    for (const [origin, eventId] of [
      ['a.test', '$5'],
      ['b.test', '$6'],
    ] as const)
      await insert(staged('!a:x', eventId, origin));
    assert.equal(await insert(staged('!a:x', '$7', 'c.test')), '$7');
  });

  test(`${name}: of a server no more than so many events are postponed in a room, and no more in all; the oldest of the server makes room`, async () => {
    await using database = await open();
    const of = (origin: ServerName, ...ids: EventId[]) =>
      ids.map((eventId) => staged('!a:x', eventId, origin));
    assert.deepEqual(await postponeAll(database, of('a.test', '$a1', '$a2', '$a3'), 1), [
      undefined,
      undefined,
      '$a1',
    ]);
    assert.deepEqual(await postponeAll(database, of('b.test', '$b1'), 1), [undefined]);
    assert.deepEqual(await postponeAll(database, of('c.test', '$c1'), 1), [undefined]);
    // The room is full: whoever has none there gets none.
    assert.deepEqual(await postponeAll(database, of('d.test', '$d1'), 1), ['$d1']);
    assert.deepEqual(await postponeAll(database, of('c.test', '$c2'), 1), ['$c1']);
    const left = await postponedEvents.due(database.db, '!a:x', { now: 1, limit: 10 });
    assert.deepEqual(
      left.map(({ eventId }) => eventId),
      ['$a2', '$a3', '$b1', '$c2'],
    );
    // Other rooms have bounds of their own.
    assert.deepEqual(await postponeAll(database, [staged('!b:x', '$e1', 'a.test')], 1), [undefined]);
  });
}

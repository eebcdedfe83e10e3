import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cursors } from '#storage/cursors.ts';
import { sql } from '#storage/sql.ts';
import { Streams } from '#storage/streams.ts';
import { drivers, temporarySqlite } from '#test/harness/databases.ts';

const insert = sql<[position: number]>('test.insert', 'INSERT INTO log (position) VALUES (?)');
const between = sql<[since: number, upto: number], { position: number }>(
  'test.between',
  'SELECT position FROM log WHERE position > ? AND position <= ? ORDER BY position',
);
const createLog = { name: '', text: 'CREATE TABLE log (position {int} NOT NULL PRIMARY KEY) {strict}' };
const reserved = { name: '', text: "SELECT upto FROM stream_reserve WHERE id = 'live'" };

const never = new AbortController().signal;
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** What `promise` has come to by the end of some turns of the loop. */
async function now<T>(promise: Promise<T>): Promise<T | 'waiting'> {
  for (let turns = 0; turns < 3; turns += 1) await turn();
  return Promise.race([promise, Promise.resolve('waiting' as const)]);
}

test('positions start at 1, and one is published when its write is committed', async () => {
  await using opened = await temporarySqlite();
  await using streams = await Streams.open(opened.db);
  assert.equal(streams.upto(), 0);
  const position = await opened.db.write('test', async (tx) => {
    const allocated = streams.allocate(tx, ['room:!a']);
    assert.equal(streams.upto(), 0);
    assert.equal(streams.lastPositionOf('room:!a'), undefined);
    return allocated;
  });
  assert.equal(position, 1);
  assert.equal(streams.upto(), 1);
  assert.equal(streams.lastPositionOf('room:!a'), 1);
  assert.equal(streams.announce(['user:@a:b']), 2);
  assert.equal(streams.upto(), 2);
});

test('a position whose write is undone is skipped, and its hint is not announced', async () => {
  await using opened = await temporarySqlite();
  await using streams = await Streams.open(opened.db);
  const failing = opened.db.write('test', async (tx) => {
    streams.allocate(tx, ['room:!a']);
    throw new Error('boom');
  });
  const next = opened.db.write('test', async (tx) => streams.allocate(tx, ['room:!b']));
  await assert.rejects(failing, /boom/);
  assert.equal(await next, 2);
  assert.equal(streams.upto(), 2);
  assert.equal(streams.lastPositionOf('room:!a'), undefined);
  assert.equal(streams.lastPositionOf('room:!b'), 2);
});

test('an announcement waits for the open writes below it', async () => {
  await using opened = await temporarySqlite();
  await using streams = await Streams.open(opened.db);
  await opened.db.write('test', async (tx) => {
    streams.allocate(tx, ['events']);
    assert.equal(streams.announce(['typing']), 2);
    assert.equal(streams.upto(), 0);
    assert.equal(streams.lastPositionOf('typing'), undefined);
    // A waiter that woke now could not read what woke it.
    assert.equal(await Promise.race([streams.wait(0, ['typing'], never), 'waiting']), 'waiting');
  });
  assert.equal(streams.upto(), 2);
  assert.equal(streams.lastPositionOf('typing'), 2);
});

test('a wait ends for its own keys only, at once if it missed something', async () => {
  await using opened = await temporarySqlite();
  await using streams = await Streams.open(opened.db);
  const waiting = streams.wait(streams.upto(), ['room:!a', 'user:@a:b'], never);
  streams.announce(['room:!b']);
  assert.equal(await now(waiting), 'waiting');
  const position = streams.announce(['room:!x', 'user:@a:b']);
  assert.equal(await waiting, 'woken');
  assert.equal(await streams.wait(position - 1, ['user:@a:b'], never), 'woken');
  assert.equal(await now(streams.wait(position, ['user:@a:b'], never)), 'waiting');
});

test('a wait ends when its signal aborts, and when the streams end', async () => {
  await using opened = await temporarySqlite();
  const streams = await Streams.open(opened.db);
  const controller = new AbortController();
  const aborted = streams.wait(0, ['a'], controller.signal);
  const ended = streams.wait(0, ['a'], never);
  controller.abort();
  assert.equal(await aborted, 'aborted');
  assert.equal(await streams.wait(0, ['a'], controller.signal), 'aborted');
  assert.equal(await now(ended), 'waiting');
  await streams[Symbol.asyncDispose]();
  assert.equal(await ended, 'aborted');
  assert.throws(() => streams.announce(['a']), /closed/);
});

test('a listener is called once for a turn, with the last position, until it unsubscribes', async () => {
  await using opened = await temporarySqlite();
  await using streams = await Streams.open(opened.db);
  const calls: number[] = [];
  const unsubscribe = streams.subscribe('events', (position) => calls.push(position));
  await Promise.all(
    Array.from({ length: 10 }, () => opened.db.write('test', async (tx) => streams.allocate(tx, ['events']))),
  );
  streams.announce(['typing']);
  await turn();
  await turn();
  assert.deepEqual(calls, [11]);
  unsubscribe();
  streams.announce(['events']);
  await turn();
  await turn();
  assert.deepEqual(calls, [11]);
});

test('positions go on above every earlier one after a restart, announced ones included', async () => {
  await using opened = await temporarySqlite();
  let highest = 0;
  let deepest = 0;
  for (let start = 1; start <= 3; start += 1) {
    // Not disposed: a killed process does not say goodbye.
    const streams = await Streams.open(opened.db);
    assert.ok(streams.upto() >= highest);
    for (let count = 0; count < 50; count += 1) {
      const position = streams.announce(['typing']);
      assert.ok(position > highest);
      highest = position;
    }
    const history = await opened.db.write('test', async (tx) => [
      streams.allocateHistory(tx),
      streams.allocateHistory(tx),
    ]);
    assert.ok((history[0] ?? 0) < deepest && (history[1] ?? 0) < (history[0] ?? 0));
    deepest = history[1] ?? 0;
  }
});

test('history starts at -1 and goes down', async () => {
  await using opened = await temporarySqlite();
  await using streams = await Streams.open(opened.db);
  const taken = await opened.db.write('test', async (tx) => [
    streams.allocateHistory(tx),
    streams.allocateHistory(tx),
  ]);
  assert.deepEqual(taken, [-1, -2]);
  assert.equal(streams.upto(), 0);
});

test('nothing above the bound on disk is published, however many positions one write takes or gives up', async () => {
  await using opened = await temporarySqlite();
  const { db } = opened;
  await using streams = await Streams.open(db);
  const bound = async () => {
    const row: { upto: number } | undefined = await db.get<[], { upto: number }>(reserved);
    return row?.upto ?? 0;
  };
  const take = (count: number, then: () => void) =>
    db.write('test', async (tx) => {
      for (let taken = 0; taken < count; taken += 1) streams.allocate(tx, ['room:!a']);
      then();
    });
  await take(25_000, () => undefined);
  assert.equal(streams.upto(), 25_000);
  assert.ok((await bound()) >= 25_000);
  // The reservation that follows in the background.
  while ((await bound()) < 35_000) await turn();
  const abandoned = take(40_000, () => {
    throw new Error('boom');
  });
  await assert.rejects(abandoned, /boom/);
  assert.ok(streams.upto() <= (await bound()));
  const position = streams.announce(['typing']);
  assert.equal(position, 65_001);
  assert.equal(await streams.wait(25_000, ['typing'], never), 'woken');
  assert.equal(streams.upto(), position);
  assert.ok((await bound()) >= position);
});

for (const driver of drivers) {
  test(`on ${driver.name}: a follower that reads up to upto() sees every committed row, once and in order`, async () => {
    await using opened = await driver.open();
    const { db } = opened;
    await db.write('test', (tx) => tx.run(createLog));
    await using streams = await Streams.open(db);
    const committed: number[] = [];
    const write = async (index: number) => {
      await db.write('test', async (tx) => {
        const position = streams.allocate(tx, ['log']);
        // Writes of different lengths, so that they commit in another order than they began.
        for (let reads = 0; reads < (index * 7) % 5; reads += 1) await tx.get(between, 0, 0);
        await tx.run(insert, position);
        if (index % 6 === 0) throw new Error('boom');
        tx.afterCommit(() => committed.push(position));
      });
    };
    const writes = Promise.allSettled(Array.from({ length: 120 }, (_, index) => write(index)));
    const seen: number[] = [];
    let since = 0;
    while (seen.length < 100) {
      const upto = streams.upto();
      const rows = await db.all(between, since, upto);
      seen.push(...rows.map((row) => row.position));
      since = upto;
      if (rows.length === 0) await streams.wait(upto, ['log'], never);
    }
    await writes;
    assert.deepEqual(
      seen,
      committed.toSorted((a, b) => a - b),
    );
  });

  test(`on ${driver.name}: a cursor is 0 before its first position, and moves with its write`, async () => {
    await using opened = await driver.open();
    const { db } = opened;
    assert.equal(await cursors.get(db, 'push'), 0);
    await db.write('test', (tx) => cursors.set(tx, 'push', 7));
    await db.write('test', (tx) => cursors.set(tx, 'push', 12));
    const failing = db.write('test', async (tx) => {
      await cursors.set(tx, 'push', 99);
      throw new Error('boom');
    });
    await assert.rejects(failing, /boom/);
    assert.equal(await cursors.get(db, 'push'), 12);
    assert.equal(await cursors.get(db, 'other'), 0);
  });
}

test('what happened since a position is known by its keys, the latest first, as long as it is not too long ago', async () => {
  await using opened = await temporarySqlite();
  await using streams = await Streams.open(opened.db);
  const since = streams.upto();
  streams.announce(['room:!a', 'user:@a:b']);
  const between = streams.upto();
  streams.announce(['room:!b']);
  assert.deepEqual([...(streams.keysSince(since, 10) ?? [])], ['room:!b', 'room:!a', 'user:@a:b']);
  assert.deepEqual([...(streams.keysSince(between, 10) ?? [])], ['room:!b']);
  assert.deepEqual(streams.keysSince(streams.upto(), 0), new Set());
  assert.equal(streams.keysSince(since, 1), undefined, 'more than is to be looked at');
  assert.ok(streams.remembers(since));
  for (let thousand = 0; thousand < 40; thousand++) {
    const last = Array.from({ length: 1_000 }, (_, number) => streams.announce([`room:!${number % 7}`])).at(
      -1,
    );
    // Published once the next block of positions is on disk.
    while (streams.upto() < (last ?? 0)) await turn();
  }
  assert.ok(!streams.remembers(since));
  assert.equal(streams.keysSince(since, 100_000), undefined);
  assert.equal(streams.keysSince(streams.upto() - 3, 100_000)?.size, 3);
});

test('what was before the start is known where it is recalled, as long as nothing newer was forgotten', async () => {
  await using opened = await temporarySqlite();
  await using streams = await Streams.open(opened.db);
  for (let count = 0; count < 10; count++) streams.announce(['room:!a']);
  await using later = await Streams.open(opened.db);
  const start = later.upto();
  assert.equal(later.mayConcern('room:!a', 0), true);
  assert.equal(later.knows('room:!a'), false);
  later.recall('room:!a', 7, start);
  assert.equal(later.knows('room:!a'), true);
  assert.equal(later.mayConcern('room:!a', 6), true);
  assert.equal(later.mayConcern('room:!a', 7), false);
  const position = later.announce(['room:!a']);
  assert.equal(later.mayConcern('room:!a', position - 1), true);
  later.recall('room:!a', 7, start);
  assert.equal(later.lastPositionOf('room:!a'), position, 'what is known goes before');
  assert.equal(later.mayConcern('room:!a', position - 1), true);
});

test('who follows keys is woken by each of them, also after they have changed, and after the release', async () => {
  await using opened = await temporarySqlite();
  await using streams = await Streams.open(opened.db);
  const follower = streams.follow(['room:!a', 'room:!b']);
  const first = streams.wait(streams.upto(), follower, never);
  const second = streams.wait(streams.upto(), follower, never);
  streams.announce(['room:!c']);
  assert.equal(await now(first), 'waiting');
  streams.refollow(follower, ['room:!b', 'room:!c']);
  streams.announce(['room:!a']);
  assert.equal(await now(first), 'waiting', 'not followed any more');
  streams.announce(['room:!c']);
  assert.deepEqual(await Promise.all([first, second]), ['woken', 'woken']);
  const third = streams.wait(streams.upto(), follower, never);
  streams.release(follower);
  streams.announce(['room:!b']);
  assert.equal(await third, 'woken');
  const late = streams.wait(streams.upto(), follower, never);
  streams.announce(['room:!b']);
  assert.equal(await late, 'woken', 'an answer that was made before the release may still wait');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '#federation/backoff.ts';
import * as destinations from '#storage/destinations.ts';
import { migrate } from '#storage/migrate.ts';
import { openSqlite } from '#storage/sqlite.ts';
import { temporaryFolder, temporarySqlite } from '#test/harness/databases.ts';

const HOUR = 3_600_000;

test('the wait doubles from two seconds to an hour', async () => {
  await using at = await temporarySqlite();
  let now = 1_000_000;
  const backoff = new Backoff({ db: at.db, clock: { now: () => now }, random: () => 1 });
  const waits: number[] = [];
  for (let count = 0; count < 14; count += 1) {
    await backoff.failed('a.test');
    const wait = await backoff.remainingMs('a.test');
    waits.push(wait / 1000);
    now += wait;
  }
  assert.deepEqual(waits, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600]);
  assert.equal(await backoff.failingSince('a.test'), 1_000_000);
  assert.equal(await backoff.remainingMs('b.test'), 0);
});

test('a server that has been away for a week is tried once a day, until it shows a sign of life', async () => {
  await using at = await temporarySqlite();
  let now = 1_000_000;
  const backoff = new Backoff({ db: at.db, clock: { now: () => now }, random: () => 1 });
  const waits: number[] = [];
  for (let count = 0; count < 190; count += 1) {
    await backoff.failed('a.test');
    const wait = await backoff.remainingMs('a.test');
    waits.push(wait / HOUR);
    now += wait;
  }
  const firstDay = waits.findIndex((wait) => wait > 1);
  const week = waits.slice(0, firstDay).reduce((sum, wait) => sum + wait, 0);
  assert.ok(week >= 7 * 24 && week < 7 * 24 + 1, `${week} hours`);
  assert.ok(
    waits.slice(firstDay).every((wait) => wait === 24),
    String(waits.slice(firstDay)),
  );
  await backoff.succeeded('a.test');
  await backoff.failed('a.test');
  assert.equal(await backoff.remainingMs('a.test'), 2_000);
});

test('failures of requests that ran side by side count once', async () => {
  await using at = await temporarySqlite();
  const backoff = new Backoff({ db: at.db, clock: { now: () => 5 }, random: () => 1 });
  await Promise.all([1, 2, 3].map(() => backoff.failed('a.test')));
  assert.equal(await backoff.remainingMs('a.test'), 2_000);
});

test('a sign of life ends the wait, and says that there was one', async () => {
  await using at = await temporarySqlite();
  const backoff = new Backoff({ db: at.db, clock: { now: () => 5 } });
  assert.equal(await backoff.succeeded('a.test'), false);
  await backoff.failed('a.test');
  assert.equal(await backoff.succeeded('a.test'), true);
  assert.equal(await backoff.remainingMs('a.test'), 0);
  assert.equal(await backoff.failingSince('a.test'), undefined);
});

test('a server that asks to be left alone is, for an hour at most', async () => {
  await using at = await temporarySqlite();
  const backoff = new Backoff({ db: at.db, clock: { now: () => 5 }, random: () => 1 });
  await backoff.failed('a.test', 60_000);
  assert.equal(await backoff.remainingMs('a.test'), 60_000);
  await backoff.failed('a.test', 120_000);
  assert.equal(await backoff.remainingMs('a.test'), 120_000);
  await backoff.failed('b.test', 1e15);
  assert.equal(await backoff.remainingMs('b.test'), HOUR);
});

test('no wait is longer than an hour, should the clock go back', async () => {
  await using at = await temporarySqlite();
  let now = 1e12;
  const backoff = new Backoff({ db: at.db, clock: { now: () => now } });
  await backoff.failed('a.test');
  now = 0;
  assert.equal(await backoff.remainingMs('a.test'), HOUR);
});

test('the back-off of a server that events are sent to survives a restart', async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/kurir.db`;
  let db = await openSqlite({ path });
  await migrate(db);
  await db.write('test', (tx) => destinations.add(tx, 'a.test', 0));
  const clock = { now: () => 1_000 };
  await new Backoff({ db, clock, random: () => 1 }).failed('a.test');
  await db.close();
  db = await openSqlite({ path });
  const reopened = new Backoff({ db, clock, random: () => 1 });
  assert.equal(await reopened.remainingMs('a.test'), 2_000);
  await reopened.succeeded('a.test');
  await db.close();
  db = await openSqlite({ path });
  assert.equal(await new Backoff({ db, clock }).remainingMs('a.test'), 0);
  await db.close();
});

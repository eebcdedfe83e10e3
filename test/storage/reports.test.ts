import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as reports from '#storage/reports.ts';
import { drivers } from '#test/harness/databases.ts';

for (const { name, open } of drivers) {
  test(`${name}: reports are kept up to a number, listed while they are open, and resolved once`, async () => {
    await using database = await open();
    const { db } = database;
    const reporter = '@alice:here.test';
    const subjects: reports.ReportSubject[] = [
      { kind: 'event', roomId: '!room:here.test', eventId: '$event' },
      { kind: 'room', roomId: '!room:here.test' },
      { kind: 'user', userId: '@bob:here.test' },
    ];
    const insert = (subject: reports.ReportSubject) =>
      db.write('test', (tx) => reports.insert(tx, { reporter, subject, reason: 'r', createdTs: 5 }, 3));
    const ids: number[] = [];
    for (const subject of subjects) ids.push((await insert(subject)) ?? 0);
    assert.equal(await insert({ kind: 'user', userId: '@carol:here.test' }), undefined);
    const list = async (all: boolean, after = 0) =>
      (await reports.page(db, { after, limit: 10, all })).map(({ reportId }) => reportId);
    assert.deepEqual(await list(false), ids);
    const resolve = () =>
      db.write('test', (tx) => reports.resolve(tx, ids[0] ?? 0, { resolvedTs: 9, note: 'n' }));
    assert.deepEqual([await resolve(), await resolve()], [true, false]);
    assert.deepEqual(await list(false), ids.slice(1));
    assert.deepEqual(await list(true, ids[0]), ids.slice(1));
    assert.deepEqual(await reports.of(db, ids[0] ?? 0), {
      ...{
        reportId: ids[0],
        reporter,
        subject: subjects[0],
        reason: 'r',
        createdTs: 5,
        resolvedTs: 9,
        note: 'n',
      },
    });
    assert.equal(await reports.of(db, 99), undefined);
    assert.equal(await insert({ kind: 'user', userId: '@carol:here.test' }), (ids.at(-1) ?? 0) + 1);
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as circles from '#storage/circles.ts';
import type { Tx } from '#storage/database.ts';
import * as learnedServers from '#storage/learned-servers.ts';
import * as partners from '#storage/partners.ts';
import { drivers } from '#test/harness/databases.ts';

for (const { name, open } of drivers) {
  test(`${name}: partners are written, replaced, listed by name and removed once`, async () => {
    await using database = await open();
    const { db } = database;
    const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
    const first: partners.PartnerRow = {
      name: 'b.test',
      direction: 'inbound',
      profile: 'rocketchat',
      keys: new Map([['ed25519:a', 'AAAA']]),
      ca: 'PEM',
      note: 'a word',
    };
    const second = { ...first, name: '*.a.test', profile: undefined, ca: undefined, keys: new Map() };
    for (const each of [first, second]) await write((tx) => partners.set(tx, each));
    assert.deepEqual(await partners.all(db, 10), [second, first]);
    assert.deepEqual(await partners.all(db, 1), [second]);
    const changed = { ...first, direction: 'both', note: '' };
    await write((tx) => partners.set(tx, changed));
    assert.equal(await write((tx) => partners.remove(tx, '*.a.test')), true);
    assert.equal(await write((tx) => partners.remove(tx, '*.a.test')), false);
    assert.deepEqual(await partners.all(db, 10), [changed]);
  });

  test(`${name}: what is learned of a server replaces what was, and the newest comes first`, async () => {
    await using database = await open();
    const { db } = database;
    const row = (server: string, learnedTs: number): learnedServers.LearnedRow => ({
      server,
      profile: undefined,
      software: undefined,
      versions: undefined,
      refused: [],
      askedTs: 0,
      learnedTs,
    });
    const full = {
      ...row('a.test', 3),
      profile: 'rocketchat',
      software: 'x',
      versions: ['10'],
      refused: ['12'],
    };
    await db.write('test', async (tx) => {
      for (const each of [row('a.test', 1), row('b.test', 2), full]) await learnedServers.set(tx, each);
    });
    assert.deepEqual(await learnedServers.newest(db, 10), [full, row('b.test', 2)]);
    assert.deepEqual(await learnedServers.newest(db, 1), [full]);
    await db.write('test', (tx) => learnedServers.remove(tx, 'a.test'));
    assert.deepEqual(await learnedServers.newest(db, 10), [row('b.test', 2)]);
  });

  test(`${name}: a room is bound to one circle at a time`, async () => {
    await using database = await open();
    const { db } = database;
    const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
    await write((tx) => circles.set(tx, { name: 'north', servers: ['a.test'] }));
    await write((tx) => circles.set(tx, { name: 'north', servers: ['a.test', 'b.test'] }));
    assert.deepEqual(await circles.of(db, 'north'), { name: 'north', servers: ['a.test', 'b.test'] });
    assert.equal(await circles.of(db, 'south'), undefined);
    assert.equal((await circles.all(db, 10)).length, 1);
    for (const circle of ['north', 'south']) await write((tx) => circles.bind(tx, '!b:a.test', circle));
    await write((tx) => circles.bind(tx, '!a:a.test', 'north'));
    const bound = await circles.rooms(db, '', 10);
    assert.deepEqual(bound, [
      { roomId: '!a:a.test', circle: 'north' },
      { roomId: '!b:a.test', circle: 'south' },
    ]);
    assert.deepEqual(await circles.rooms(db, '!a:a.test', 10), bound.slice(1));
    assert.equal(await write((tx) => circles.unbind(tx, '!a:a.test')), true);
    assert.equal(await write((tx) => circles.unbind(tx, '!a:a.test')), false);
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId, UserId } from '#keys/ids.ts';
import * as aliases from '#storage/aliases.ts';
import type { Tx } from '#storage/database.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomDirectory from '#storage/room-directory.ts';
import * as rooms from '#storage/rooms.ts';
import { drivers } from '#test/harness/databases.ts';

const ALIAS = '#pub:here.test';
const ROOM = '!room:here.test';
const ALICE = '@alice:here.test';
const BOB = '@bob:here.test';

const OURS = { serverName: 'here.test', network: '' };

for (const { name, open } of drivers) {
  test(`${name}: an alias is made once, read, listed by its room, and removed once`, async () => {
    await using database = await open();
    const { db } = database;
    const row = { alias: ALIAS, roomId: ROOM, creator: ALICE, createdTs: 5 } as const;
    const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
    assert.equal(await write((tx) => aliases.insert(tx, row)), true);
    assert.equal(await write((tx) => aliases.insert(tx, { ...row, roomId: '!other:here.test' })), false);
    assert.deepEqual(await aliases.get(db, ALIAS), row);
    await write((tx) => aliases.insert(tx, { ...row, alias: '#bar:here.test' }));
    const listed = (await aliases.ofRoom(db, ROOM)).map(({ alias }) => alias);
    assert.deepEqual(listed, ['#bar:here.test', ALIAS]);
    assert.equal(await write((tx) => aliases.remove(tx, ALIAS)), true);
    assert.equal(await write((tx) => aliases.remove(tx, ALIAS)), false);
    assert.equal(await aliases.get(db, ALIAS), undefined);
  });

  test(`${name}: a reserved alias is taken but leads nowhere, until it is assigned`, async () => {
    await using database = await open();
    const { db } = database;
    const write = <T>(body: (tx: Tx) => Promise<T>) => db.write('test', body);
    assert.equal(await write((tx) => aliases.reserve(tx, ALIAS, ALICE, 1_000)), true);
    assert.equal(await write((tx) => aliases.reserve(tx, ALIAS, BOB, 1_001)), false);
    const row = { alias: ALIAS, roomId: ROOM, creator: BOB, createdTs: 5 } as const;
    assert.equal(await write((tx) => aliases.insert(tx, row)), false);
    assert.equal(await aliases.get(db, ALIAS), undefined);
    assert.equal(await write((tx) => aliases.remove(tx, ALIAS)), false);
    assert.equal(await write((tx) => aliases.assign(tx, ALIAS, BOB, ROOM)), false);
    assert.equal(await write((tx) => aliases.assign(tx, ALIAS, ALICE, ROOM)), true);
    assert.equal((await aliases.get(db, ALIAS))?.roomId, ROOM);
    await write((tx) => aliases.release(tx, ALIAS, ALICE));
    assert.equal((await aliases.get(db, ALIAS))?.roomId, ROOM);
    const later = 24 * 60 * 60_000;
    assert.equal(await write((tx) => aliases.reserve(tx, ALIAS, BOB, later)), false);
  });

  test(`${name}: the directory goes by size, then by room id, in both directions`, async () => {
    await using database = await open();
    const { db } = database;
    const publish = (roomId: RoomId, members: number, server = 'here.test') =>
      db.write('test', async (tx) => {
        const roomNid = await rooms.insert(tx, roomId, '12');
        await roomDirectory.publish(tx, roomNid, 1);
        await roomDirectory.publish(tx, roomNid, 2);
        for (let index = 0; index < members; index++) {
          const userId: UserId = `@user${index}:${server}`;
          const shown = { displayName: null, avatarUrl: null };
          await memberships.set(tx, {
            ...{ roomNid, userId, membership: 'join', eventNid: 1, position: 1, serverName: server },
            ...shown,
          });
        }
        return roomNid;
      });
    await publish('!b:here.test', 1);
    await publish('!a:here.test', 1);
    const large = await publish('!c:here.test', 3);
    await publish('!elsewhere:there.test', 9, 'there.test');
    const idsOf = (page: roomDirectory.PublishedRoom[]) => page.map(({ roomId }) => roomId);

    assert.equal(await roomDirectory.count(db, OURS), 3);
    const all = await roomDirectory.first(db, OURS, 10);
    assert.deepEqual(idsOf(all), ['!c:here.test', '!a:here.test', '!b:here.test']);
    const middle = { joinedMembers: 1, roomId: '!a:here.test' } as const;
    assert.deepEqual(idsOf(await roomDirectory.after(db, OURS, middle, 10)), ['!b:here.test']);
    assert.deepEqual(idsOf(await roomDirectory.before(db, OURS, middle, 10)), ['!c:here.test']);

    await db.write('test', (tx) => roomDirectory.unpublish(tx, large));
    assert.equal(await roomDirectory.isPublished(db, large), false);
    assert.equal(await roomDirectory.count(db, OURS), 2);

    const inNetwork = { network: 'bridge|net', roomNid: large, isPublished: true };
    const network = { serverName: 'here.test', network: 'bridge|net' };
    const everywhere = { serverName: 'here.test', network: '*' };
    for (let times = 0; times < 2; times++) {
      await db.write('test', (tx) => roomDirectory.setInNetwork(tx, inNetwork));
    }
    assert.deepEqual(idsOf(await roomDirectory.first(db, network, 10)), ['!c:here.test']);
    assert.deepEqual(idsOf(await roomDirectory.first(db, everywhere, 10)), idsOf(all));
    assert.equal(await roomDirectory.count(db, OURS), 2);
    await db.write('test', (tx) => roomDirectory.setInNetwork(tx, { ...inNetwork, isPublished: false }));
    assert.equal(await roomDirectory.count(db, network), 0);
  });
}

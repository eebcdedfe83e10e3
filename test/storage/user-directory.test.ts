/** Who is found by the beginnings of which words, on both databases. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverNameOf, type UserId } from '#keys/ids.ts';
import * as arrivals from '#storage/arrivals.ts';
import type { Database } from '#storage/database.ts';
import * as directoryWords from '#storage/directory-words.ts';
import * as events from '#storage/events.ts';
import * as memberships from '#storage/memberships.ts';
import * as openRooms from '#storage/open-rooms.ts';
import * as profiles from '#storage/profiles.ts';
import * as userDirectory from '#storage/user-directory.ts';
import * as users from '#storage/users.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE = '@alice:here.test';
const BOB = '@bob:here.test';
const FAR = '@far.away:there.test';

async function account(db: Database, userId: UserId, name?: string): Promise<void> {
  await db.write('test', async (tx) => {
    await users.create(tx, { userId, passwordHash: undefined, isAdmin: false, now: 1 });
    if (name !== undefined) await profiles.set(tx, userId, 'displayname', name);
  });
}

async function join(db: Database, roomNid: number, userId: UserId, displayName: string | null = null) {
  await db.write('test', async (tx) => {
    const serverName = serverNameOf(userId);
    assert.ok(serverName);
    const row = { roomNid, userId, eventNid: 1, position: roomNid, serverName, displayName, avatarUrl: null };
    await memberships.set(tx, { ...row, membership: 'join' });
    if (serverName !== 'here.test') await directoryWords.refreshRemote(tx, [userId]);
  });
}

/** A member of rooms of whom the directory has not heard; the name has the room's number at its end. */
async function joinWordless(db: Database, roomNids: readonly number[], userId: UserId, displayName?: string) {
  const row = { userId, membership: 'join', eventNid: 1, serverName: 'there.test', avatarUrl: null } as const;
  await db.write('test', async (tx) => {
    for (const roomNid of roomNids) {
      const name = roomNids.length > 1 ? `${displayName} ${roomNid}` : (displayName ?? null);
      await memberships.set(tx, { ...row, roomNid, position: roomNid, displayName: name });
    }
  });
}

function searcher(userId: UserId, findsAllAccounts = false): userDirectory.Searcher {
  return { userId, serverName: 'here.test', findsAllAccounts };
}

for (const { name, open } of drivers) {
  test(`${name}: who shares a room is found by the beginning of each word, and others where a room is open`, async () => {
    await using opened = await open();
    const { db } = opened;
    await account(db, ALICE);
    await account(db, BOB, 'Bob Ångström');
    const find = (...words: string[]) => userDirectory.find(db, searcher(ALICE), words, 10);
    assert.deepEqual(await find('bob'), []);
    assert.deepEqual(await userDirectory.find(db, searcher(ALICE, true), ['bob'], 10), [BOB]);
    await join(db, 1, BOB);
    await join(db, 2, BOB);
    await db.write('test', (tx) => openRooms.set(tx, 2, 'join_rule', true));
    assert.deepEqual(await find('bob', 'ång'), [BOB]);
    await db.write('test', (tx) => openRooms.set(tx, 2, 'join_rule', false));
    assert.deepEqual(await find('bob'), []);
    await join(db, 1, ALICE);
    assert.deepEqual(await find('b'), [BOB]);
    assert.deepEqual(await find('bob', 'xyz'), []);
    assert.deepEqual(await find('alice'), [], 'nobody finds themselves');
    assert.deepEqual(await find(), []);
  });

  test(`${name}: an account that is no more has no words, and one whose name changes has those of the new one`, async () => {
    await using opened = await open();
    const { db } = opened;
    await account(db, BOB, 'Old Name');
    const find = (word: string) => userDirectory.find(db, searcher(ALICE, true), [word], 10);
    await db.write('test', (tx) => profiles.set(tx, BOB, 'displayname', 'New Name'));
    assert.deepEqual([await find('old'), await find('new')], [[], [BOB]]);
    assert.deepEqual(await userDirectory.accountsAmong(db, [BOB, ALICE]), [
      { userId: BOB, displayName: 'New Name', avatarUrl: undefined },
    ]);
    await db.write('test', (tx) => users.deactivate(tx, BOB, 5));
    assert.deepEqual(await find('new'), []);
    assert.deepEqual(await userDirectory.accountsAmong(db, [BOB]), []);
  });

  test(`${name}: a user of another server is told by the names of the rooms that the searcher knows`, async () => {
    await using opened = await open();
    const { db } = opened;
    await join(db, 1, ALICE);
    await join(db, 1, FAR, 'Public Name');
    await join(db, 2, FAR, 'Private Name');
    const named = await userDirectory.namesInRooms(db, searcher(ALICE), [FAR]);
    assert.deepEqual(
      named.map(({ displayName }) => displayName),
      ['Public Name'],
    );
    assert.deepEqual(await userDirectory.find(db, searcher(ALICE), ['away'], 10), [FAR]);
    await join(db, 1, '@new:there.test');
    await joinWordless(db, [1], '@wordless:there.test');
    const page = (after: string, limit: number) =>
      directoryWords.membersPage(db, { roomNid: 1, ourServer: 'here.test' }, { after, limit });
    const wordless = [['@wordless:there.test', ['wordless']]];
    assert.deepEqual(await page('', 10), { wordless, next: undefined });
    assert.deepEqual(await page('', 3), { wordless: [], next: '@new:there.test' });
    assert.deepEqual(await page('@new:there.test', 3), { wordless, next: undefined });
  });

  test(`${name}: who has no words yet gets those of their names in all rooms, once, whatever the id is made of`, async () => {
    await using opened = await open();
    const { db } = opened;
    const strange: UserId = `@"\\'å {}:there.test`;
    await joinWordless(db, [1, 2], strange, 'Name of Room');
    await joinWordless(db, [1], '@b.b:there.test', 'Béatrice B');
    await joinWordless(db, [1], '@___:there.test');
    const page = () =>
      directoryWords.membersPage(db, { roomNid: 1, ourServer: 'here.test' }, { after: '', limit: 10 });
    const { wordless } = await page();
    assert.deepEqual(wordless, [
      [strange, ['å', 'name', 'of', 'room', '1', '2']],
      ['@___:there.test', []],
      ['@b.b:there.test', ['b', 'beatrice']],
    ]);
    for (const _ of ['once', 'again']) await db.write('test', (tx) => directoryWords.add(tx, wordless));
    assert.deepEqual((await page()).wordless, [['@___:there.test', []]]);
    await join(db, 1, ALICE);
    const find = (...words: string[]) => userDirectory.find(db, searcher(ALICE), words, 10);
    assert.deepEqual(await find('room', '2', 'å'), [strange]);
    assert.deepEqual(await find('bea'), ['@b.b:there.test']);
  });

  test(`${name}: a page of members ends where their words are enough for one write`, async () => {
    await using opened = await open();
    const { db } = opened;
    const words = Array.from({ length: 60 }, (_, number) => `w${number}`).join(' ');
    const userIds = Array.from({ length: 110 }, (_, number): UserId => `@u${1_000 + number}:there.test`);
    for (const userId of userIds) await joinWordless(db, [1], userId, words);
    const pageAfter = (after: string) =>
      directoryWords.membersPage(db, { roomNid: 1, ourServer: 'here.test' }, { after, limit: 200 });
    const first = await pageAfter('');
    assert.deepEqual(
      first.wordless.map(([userId, { length }]) => [userId, length]),
      userIds.slice(0, 100).map((userId) => [userId, 40]),
    );
    assert.equal(first.next, userIds[99]);
    const second = await pageAfter('@u1099:there.test');
    assert.deepEqual([second.wordless.length, second.next], [10, undefined]);
  });

  test(`${name}: arrivals are in the order in which they came, history among what is live`, async () => {
    await using opened = await open();
    const { db } = opened;
    const store = (position: number) =>
      db.write('test', (tx) =>
        events.insert(tx, {
          ...{ eventId: `$${position}`, roomNid: 1, position, depth: 1, type: 'x', stateKey: undefined },
          ...{ sender: ALICE, originServerTs: 1, receivedTs: 1, status: 'accepted', reason: undefined },
          ...{ stateBefore: 1, stateAfter: 1, redactedBy: undefined, txn: undefined, json: '{}' },
        }),
      );
    const first = await store(5);
    const old = await store(-1);
    await db.write('test', (tx) => arrivals.addHistory(tx, { arrived: 7, nid: old }));
    const last = await store(9);
    const nids = async (after: number, upto: number, limit = 10) =>
      (await arrivals.page(db, { after, upto, limit })).map(({ nid }) => nid);
    assert.deepEqual(await nids(arrivals.BEFORE_ALL, 9), [first, old, last]);
    assert.deepEqual(await nids(5, 8), [old]);
    assert.deepEqual(await nids(arrivals.BEFORE_ALL, 9, 2), [first, old]);
  });
}

/** What is found, on both databases; the words come from `keys/words.ts`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { phrasesOf, wordsOf } from '#keys/words.ts';
import type { Database } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import * as search from '#storage/search.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE = '@alice:here.test';
const BOB = '@bob:here.test';

interface Said {
  readonly text: string;
  readonly position: number;
  readonly roomNid?: number;
  readonly sender?: `@${string}`;
  readonly type?: string;
}

/** Stores an event and its words, and answers its numeric id. */
function say(db: Database, { text, position, roomNid = 1, sender = ALICE, type = 'm.room.message' }: Said) {
  return db.write('test', async (tx) => {
    const nid = await events.insert(tx, {
      ...{ eventId: `$${position}`, roomNid, position, depth: 1, type, stateKey: undefined, sender },
      ...{ originServerTs: 1, receivedTs: 1, status: 'accepted', reason: undefined, txn: undefined },
      ...{ stateBefore: 1, stateAfter: 1, redactedBy: undefined, json: '{}' },
    });
    await search.add(tx, [{ position, roomNid, words: wordsOf(text).join(' ') }]);
    return nid;
  });
}

function queryOf(term: string, more: Partial<search.SearchQuery> = {}): search.SearchQuery {
  return {
    ...{ phrases: phrasesOf(term), roomNids: [1, 2], types: ['m.room.message'], senders: undefined },
    ...{ notSenders: [], before: Number.MAX_SAFE_INTEGER, limit: 10 },
    ...more,
  };
}

async function positions(db: Database, term: string, more: Partial<search.SearchQuery> = {}) {
  const newest = (await search.newest(db, queryOf(term, more))).map(({ position }) => position);
  const best = (await search.best(db, queryOf(term, more))).map(({ position }) => position);
  assert.deepEqual(new Set(best), new Set(newest), 'both orders find the same');
  return newest;
}

for (const { name, open } of drivers) {
  test(`${name}: all words must be there, the words of a phrase one after the other`, async () => {
    await using opened = await open();
    const { db } = opened;
    await say(db, { text: 'The quick brown fox', position: 5 });
    await say(db, { text: 'a brown quick dog', position: 7, roomNid: 2 });
    await say(db, { text: 'history of the fox', position: -3 });
    assert.deepEqual(await positions(db, 'quick brown'), [7, 5]);
    assert.deepEqual(await positions(db, '"quick brown"'), [5]);
    assert.deepEqual(await positions(db, 'fox'), [5, -3]);
    assert.deepEqual(await positions(db, 'qui'), []);
    assert.deepEqual(await positions(db, 'fox dog'), []);
  });

  test(`${name}: only of the rooms, types and senders that are asked for, before a position`, async () => {
    await using opened = await open();
    const { db } = opened;
    await say(db, { text: 'word', position: 1 });
    await say(db, { text: 'word', position: 2, roomNid: 2 });
    await say(db, { text: 'word', position: 3, roomNid: 3 });
    await say(db, { text: 'word', position: 4, sender: BOB });
    await say(db, { text: 'word', position: 5, type: 'm.room.name' });
    assert.deepEqual(await positions(db, 'word'), [4, 2, 1]);
    assert.deepEqual(await positions(db, 'word', { roomNids: [3] }), [3]);
    assert.deepEqual(await positions(db, 'word', { senders: [BOB] }), [4]);
    assert.deepEqual(await positions(db, 'word', { notSenders: [BOB] }), [2, 1]);
    assert.deepEqual(await positions(db, 'word', { types: ['m.room.name'] }), [5]);
    assert.deepEqual(await positions(db, 'word', { before: 4 }), [2, 1]);
    assert.deepEqual((await search.newest(db, queryOf('word', { limit: 1 }))).length, 1);
    const many = Array.from({ length: 500 }, (_, nid) => nid + 1);
    assert.deepEqual(await positions(db, 'word', { roomNids: many }), [4, 3, 2, 1]);
  });

  test(`${name}: letters that are kept apart are kept apart in the index`, async () => {
    await using opened = await open();
    const { db } = opened;
    await say(db, { text: 'får', position: 1 });
    await say(db, { text: 'far', position: 2 });
    await say(db, { text: 'Réunion 日本語 किताब', position: 3 });
    assert.deepEqual(await positions(db, 'får'), [1]);
    assert.deepEqual(await positions(db, 'FAR'), [2]);
    for (const term of ['reunion', '日本', 'किताब']) assert.deepEqual(await positions(db, term), [3], term);
  });

  test(`${name}: what is removed, cleared, redacted or gone is not found`, async () => {
    await using opened = await open();
    const { db } = opened;
    const first = await say(db, { text: 'word', position: 1 });
    const second = await say(db, { text: 'word', position: 2 });
    assert.equal(await search.isEmpty(db), false);
    await db.write('test', (tx) => search.remove(tx, [first]));
    assert.deepEqual(await positions(db, 'word'), [2]);
    await db.write('test', async (tx) => {
      await events.redact(tx, second, { json: '{}', by: '$redaction' });
      await search.remove(tx, [second]);
      // The follower has read them before.
      await search.add(tx, [
        { position: 2, roomNid: 1, words: 'word' },
        { position: 99, roomNid: 1, words: 'word' },
      ]);
    });
    assert.deepEqual(await positions(db, 'word'), []);
    await say(db, { text: 'word', position: 3 });
    await db.write('test', (tx) => search.clear(tx));
    assert.equal(await search.isEmpty(db), true);
  });

  test(`${name}: the better an event matches, the higher its rank`, async () => {
    await using opened = await open();
    const { db } = opened;
    await say(db, { text: 'apple apple apple', position: 1 });
    await say(db, { text: `apple ${'and other fruits '.repeat(10)}`, position: 2 });
    const [first, second] = await search.best(db, queryOf('apple'));
    assert.deepEqual([first?.position, second?.position], [1, 2]);
    assert.ok((first?.rank ?? 0) > (second?.rank ?? 0));
  });
}

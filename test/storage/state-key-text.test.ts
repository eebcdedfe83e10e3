import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stateKeyOf, stateKeyText } from '#storage/state-key-text.ts';
import { findNids, nidsOf } from '#storage/state-keys.ts';
import { openRooms } from '#test/harness/rooms.ts';

/** Where the type ends is not to be seen from the two written one after the other. */
const PAIRS = [
  ['a', 'b\0c'],
  ['a\0b', 'c'],
  ['', '\0x'],
  ['\0', 'x'],
  ['\0', '\0'],
  ['', ''],
  ['["a\\u0000b","c"]', ''],
].map(([type = '', stateKey = '']) => ({ type, stateKey }));

test('a type and a state key with NUL in them are read back, and no other pair has their key', () => {
  const keys = PAIRS.map(({ type, stateKey }) => stateKeyText(type, stateKey));
  assert.equal(new Set(keys).size, PAIRS.length);
  assert.deepEqual(keys.map(stateKeyOf), PAIRS);
});

test('a type and a state key with NUL in them have a numeric id of their own, in the database and in memory', async () => {
  await using server = await openRooms();
  const { db } = server.ctx;
  const nids = await db.write('test.nids', (tx) => nidsOf(tx, PAIRS));
  assert.equal(new Set(nids).size, PAIRS.length);
  assert.deepEqual(await findNids(db, PAIRS), nids);
  for (const [index, pair] of PAIRS.entries()) assert.deepEqual(await findNids(db, [pair]), [nids[index]]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Database } from '#storage/database.ts';
import { sql } from '#storage/sql.ts';
import { apply, difference, free, get, getMany, load, type StateGroup } from '#storage/state-groups.ts';
import { findNids, keysOf, nidsOf } from '#storage/state-keys.ts';
import { pack, type TrieNode, unpack } from '#storage/state-trie.ts';
import { drivers, temporarySqlite } from '#test/harness/databases.ts';
import { fc } from '#test/harness/rounds.ts';

const SIZES = sql<[], { nodes: number; bytes: number }>(
  'test.stateNodes.sizes',
  'SELECT count(*) AS nodes, sum(length(bytes)) AS bytes FROM state_nodes',
);
const PAGES = sql<[], { page_count: number }>('test.pageCount', 'PRAGMA page_count');
const PAGE_SIZE = sql<[], { page_size: number }>('test.pageSize', 'PRAGMA page_size');

/** What a row costs beside its bytes, more than either database needs: its id, its header, its slot in a page. */
const ROW_OVERHEAD = 32;

async function fileBytes(db: Database): Promise<number> {
  const pages = await db.get(PAGES);
  const size = await db.get(PAGE_SIZE);
  assert.ok(pages && size);
  return pages.page_count * size.page_size;
}

test('50,000 members who join one by one cost under 2 KB of state storage each', async () => {
  await using opened = await temporarySqlite();
  const { db } = opened;
  const joins = 50_000;
  const before = await fileBytes(db);
  let group: StateGroup = 0;
  for (let joined = 0; joined < joins; ) {
    group = await db.write('test.joins', async (tx) => {
      const members = Array.from({ length: 5_000 }, (_, index) => {
        const number = joined + index;
        const stateKey = `@member${number}.of.some.length:server${number % 500}.example.org`;
        return { type: 'm.room.member', stateKey };
      });
      let next = group;
      for (const key of await nidsOf(tx, members)) {
        // Every join is an event of its own; a busy server has other events in between.
        next = await apply(tx, next, new Map([[key, 10_000_000 + joined * 7]]));
        joined++;
      }
      return next;
    });
  }
  const sizes = await db.get(SIZES);
  assert.ok(sizes);
  const packed = (sizes.bytes + sizes.nodes * ROW_OVERHEAD) / joins;
  const onDisk = ((await fileBytes(db)) - before) / joins;
  console.log(
    `state storage per join: ${packed.toFixed(0)} bytes in nodes, ${onDisk.toFixed(0)} in the file`,
  );
  assert.ok(packed < 2_048, `${packed} bytes of nodes`);
  assert.ok(onDisk < 2_048, `${onDisk} bytes of file`);
  assert.equal((await load(db, group)).size, joins);
});

function sorted(state: ReadonlyMap<number, number>): [number, number][] {
  return [...state].sort(([a], [b]) => a - b);
}

function differenceOf(a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>) {
  return [...new Set([...a.keys(), ...b.keys()])]
    .sort((x, y) => x - y)
    .map((key) => ({ key, a: a.get(key), b: b.get(key) }))
    .filter((found) => found.a !== found.b);
}

test('nodes survive packing, and damaged bytes are refused', () => {
  const id = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 2 ** 53 - 1 }));
  const leaf = fc
    .uniqueArray(fc.tuple(id, id), { selector: ([key]) => key, maxLength: 40 })
    .map((pairs) => pairs.sort(([a], [b]) => a - b))
    .map((pairs): TrieNode => ({ keys: pairs.map(([key]) => key), values: pairs.map(([, value]) => value) }));
  const branch = fc.array(id, { minLength: 16, maxLength: 16 }).map((children): TrieNode => ({ children }));
  fc.assert(fc.property(fc.oneof(leaf, branch), (node) => assert.deepEqual(unpack(pack(node)), node)));
  const bytes = pack({ keys: [1, 2], values: [300, 400] });
  assert.throws(() => unpack(bytes.subarray(0, bytes.length - 1)), /cut short/);
  assert.throws(() => unpack(Uint8Array.from([...bytes, 0])), /left over/);
  assert.throws(() => pack({ keys: [1], values: [-1] }), RangeError);
});

for (const { name: driver, open } of drivers) {
  test(`${driver}: a state reads back as what was applied, whole and by key`, async () => {
    await using opened = await open();
    const { db } = opened;
    const changes = fc.array(
      fc.dictionary(
        fc.oneof(fc.nat(400), fc.integer({ min: 1, max: 2 ** 45 })).map(String),
        fc.option(fc.integer({ min: 1, max: 2 ** 45 }), { nil: undefined }),
        { maxKeys: 80 },
      ),
      { minLength: 1, maxLength: 8 },
    );
    await fc.assert(
      fc.asyncProperty(changes, async (steps) => {
        const expected = new Map<number, number>();
        const states: { group: StateGroup; expected: Map<number, number> }[] = [
          { group: 0, expected: new Map() },
        ];
        for (const step of steps) {
          const change = new Map(Object.entries(step).map(([key, value]) => [Number(key), value] as const));
          for (const [key, value] of change) {
            if (value === undefined) expected.delete(key);
            else expected.set(key, value);
          }
          const base = states.at(-1)?.group ?? 0;
          const group = await db.write('test.apply', (tx) => apply(tx, base, change));
          states.push({ group, expected: new Map(expected) });
        }
        const wanted = [...expected.keys()].slice(0, 9);
        const many = await getMany(db, new Set(states.map((state) => state.group)), wanted);
        for (const state of states) {
          const found = [...state.expected].filter(([key]) => wanted.includes(key));
          assert.deepEqual(sorted(many.get(state.group) ?? new Map()), sorted(new Map(found)));
        }
        for (const state of states) {
          assert.deepEqual(sorted(await load(db, state.group)), sorted(state.expected));
          const keys = [...expected.keys(), 17, 2 ** 44];
          const found = await get(db, state.group, keys);
          for (const key of keys) assert.equal(found.get(key), state.expected.get(key));
          for (const other of states) {
            const found = await difference(db, state.group, other.group);
            assert.deepEqual(found, differenceOf(state.expected, other.expected));
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  test(`${driver}: a change that changes nothing answers the same state group and writes nothing`, async () => {
    await using opened = await open();
    const { db } = opened;
    const state = new Map(Array.from({ length: 100 }, (_, index) => [index + 1, index + 1000] as const));
    const group = await db.write('test.apply', (tx) => apply(tx, 0, state));
    const before = await db.get(SIZES);
    const same = new Map<number, number | undefined>([
      [5, 1004],
      [5000, undefined],
    ]);
    assert.equal(await db.write('test.apply', (tx) => apply(tx, group, same)), group);
    assert.equal(await db.write('test.apply', (tx) => apply(tx, group, new Map())), group);
    assert.deepEqual(await db.get(SIZES), before);
  });

  test(`${driver}: a state whose last key goes is the empty state, 0`, async () => {
    await using opened = await open();
    const { db } = opened;
    const state = new Map(Array.from({ length: 300 }, (_, index) => [index + 1, index + 1000] as const));
    const group = await db.write('test.apply', (tx) => apply(tx, 0, state));
    const none = new Map([...state.keys()].map((key) => [key, undefined] as const));
    assert.equal(await db.write('test.apply', (tx) => apply(tx, group, none)), 0);
  });

  test(`${driver}: states written by a transaction that is undone leave nothing in the cache`, async () => {
    await using opened = await open();
    const { db } = opened;
    let undone: StateGroup = 0;
    await assert.rejects(
      db.write('test.undone', async (tx) => {
        undone = await apply(tx, 0, new Map([[1, 100]]));
        assert.deepEqual(sorted(await load(tx, undone)), [[1, 100]]);
        throw new Error('undone');
      }),
      /undone/,
    );
    const kept = await db.write('test.kept', (tx) => apply(tx, 0, new Map([[1, 200]])));
    // SQLite gives the id again, which is what would make a stale entry dangerous.
    if (driver === 'sqlite') assert.equal(kept, undone);
    assert.deepEqual(sorted(await load(db, kept)), [[1, 200]]);
  });

  test(`${driver}: two states of 20,000 members that differ in one are compared by reading only the paths to it`, async () => {
    await using opened = await open();
    const { db } = opened;
    const state = new Map(
      Array.from({ length: 20_000 }, (_, index) => [index + 1, index + 100_000] as const),
    );
    const a = await db.write('test.apply', (tx) => apply(tx, 0, state));
    const b = await db.write('test.apply', (tx) => apply(tx, a, new Map([[777, 999_999]])));
    let rows = 0;
    const counting = {
      get: db.get.bind(db),
      all: async (...args: Parameters<Database['all']>) => {
        const found = await db.all(...args);
        rows += found.length;
        return found;
      },
    };
    const found = await difference(counting as unknown as Database, a, b);
    assert.deepEqual(found, [{ key: 777, a: 100_776, b: 999_999 }]);
    assert.ok(rows <= 10, `${rows} nodes were read`);
  });

  test(`${driver}: a state key has one numeric id, whatever its characters`, async () => {
    await using opened = await open();
    const { db } = opened;
    const keys = ['', 'a', 'a\0', 'a\\0', 'a\\\\0', '\\', 'A', 'ä', '\u{1F600}', '__proto__'].map(
      (stateKey) => ({
        type: 'org.example\0odd',
        stateKey,
      }),
    );
    assert.deepEqual(
      await findNids(db, keys),
      keys.map(() => undefined),
    );
    const nids = await db.write('test.keys', (tx) => nidsOf(tx, keys));
    assert.equal(new Set(nids).size, keys.length);
    assert.deepEqual(await db.write('test.keys', (tx) => nidsOf(tx, keys)), nids);
    assert.deepEqual(await findNids(db, keys), nids);
    assert.deepEqual(await findNids(db, keys), nids);
    const found = await keysOf(db, nids);
    assert.deepEqual(
      nids.map((nid) => found.get(nid)),
      keys,
    );
    assert.equal((await keysOf(db, [987654])).size, 0);
  });

  test(`${driver}: a state key made in a transaction that is undone does not stay in the cache`, async () => {
    await using opened = await open();
    const { db } = opened;
    const key = { type: 'm.room.name', stateKey: '' };
    await assert.rejects(
      db.write('test.undone', async (tx) => {
        await nidsOf(tx, [key]);
        await findNids(tx, [key]);
        throw new Error('undone');
      }),
      /undone/,
    );
    assert.deepEqual(await findNids(db, [key]), [undefined]);
  });
}

test('states of one room are freed a few nodes at a time; those of another stay, and no id comes twice', async () => {
  for (const driver of drivers) {
    await using opened = await driver.open();
    const { db } = opened;
    const build = (from: StateGroup, keys: number[], value: number) =>
      db.write('test', (tx) => apply(tx, from, new Map(keys.map((key) => [key, value]))));
    const keys = Array.from({ length: 600 }, (_, index) => index + 1);
    const doomed: StateGroup[] = [await build(0, keys, 5)];
    for (let count = 0; count < 20; count++)
      doomed.push(await build(doomed.at(-1) ?? 0, [count * 7 + 1], 6 + count));
    const kept = await build(0, keys, 7);
    const before = (await db.get(SIZES))?.nodes ?? 0;
    let [deleted, runs] = [0, 0];
    for (let done = false; !done; runs++) {
      const freed = await db.write('test', (tx) => free(tx, doomed, 7));
      assert.ok(freed.deleted <= 7);
      deleted += freed.deleted;
      done = freed.done;
    }
    assert.ok(runs > 5);
    assert.equal((await db.get(SIZES))?.nodes, before - deleted);
    assert.equal((await load(db, kept)).size, 600);
    const nodesOfKept = before - deleted;
    assert.ok(await db.write('test', (tx) => free(tx, [kept], 10_000)).then(({ done }) => done));
    // The newest node of all stays: its id would be given again.
    assert.equal((await db.get(SIZES))?.nodes, 1, `of ${nodesOfKept}`);
    assert.ok((await build(0, [1], 1)) > kept);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, UserId } from '#keys/ids.ts';
import { contentFindings } from '#storage/check.ts';
import type { Database, Tx } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import * as summaries from '#storage/relation-summaries.ts';
import * as relations from '#storage/relations.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE = '@alice:here.test';
const BOB = '@bob:here.test';
const ROOM = 7;
const END = Number.MAX_SAFE_INTEGER;
const NOBODY: ReadonlySet<string> = new Set();

interface Child {
  readonly to: EventId;
  readonly relType: string;
  readonly sender?: UserId;
  readonly type?: string;
  readonly ts?: number;
  readonly canReplace?: boolean;
  readonly eventId?: EventId;
  readonly roomNid?: number;
}

/** Events at positions from 1 on, as they are stored. */
function writerOf(db: Database) {
  let position = 0;
  const insert = (tx: Tx, eventId: EventId, { sender, type, ts, roomNid }: Omit<Child, 'to' | 'relType'>) =>
    events.insert(tx, {
      ...{ eventId, roomNid: roomNid ?? ROOM, position, depth: position, type: type ?? 'm.room.message' },
      ...{
        stateKey: undefined,
        sender: sender ?? ALICE,
        originServerTs: ts ?? position,
        receivedTs: position,
      },
      ...{ status: 'accepted', reason: undefined, stateBefore: 1, stateAfter: 1, redactedBy: undefined },
      ...{ txn: undefined, json: '{}' },
    });
  return {
    event: (eventId: EventId, fields: Omit<Child, 'to' | 'relType'> = {}) =>
      db.write('test', (tx) => {
        position += 1;
        return insert(tx, eventId, fields);
      }),
    child: (child: Child) =>
      db.write('test', async (tx) => {
        position += 1;
        const { to, relType, sender = ALICE, type = 'm.room.message', ts = position, roomNid = ROOM } = child;
        const nid = await insert(tx, child.eventId ?? `$child${position}`, child);
        const canReplace = child.canReplace ?? true;
        const from = { nid, roomNid, position, type, sender, originServerTs: ts };
        await relations.insert(tx, { ...from, parentId: to, relType, canReplace });
        return nid;
      }),
    remove: (...nids: number[]) => db.write('test', (tx) => relations.remove(tx, nids)),
  };
}

async function summaryOf(
  db: Database,
  eventId: EventId,
  reader: Partial<summaries.SummaryReader> = {},
): Promise<summaries.Summary | undefined> {
  const all = { userId: ALICE, ignored: NOBODY, upto: END, ...reader } as const;
  return (await summaries.summaries(db, ROOM, [eventId, '$other'], all)).get(eventId);
}

for (const { name, open } of drivers) {
  test(`${name}: of edits the most recent one counts by its time, then by its id; of the same sender and type`, async () => {
    await using opened = await open();
    const { db } = opened;
    const { event, child } = writerOf(db);
    await event('$root');
    const edit = { to: '$root', relType: 'm.replace' } as const;
    await child({ ...edit, ts: 50 });
    const latest = await child({ ...edit, ts: 90, eventId: '$z' });
    await child({ ...edit, ts: 90, eventId: '$a' });
    await child({ ...edit, ts: 99, sender: BOB });
    await child({ ...edit, ts: 99, type: 'm.other' });
    await child({ ...edit, ts: 99, canReplace: false });
    await child({ ...edit, ts: 99, relType: 'm.thread' });
    assert.equal((await summaryOf(db, '$root'))?.editNid, latest);
    assert.equal((await summaryOf(db, '$root', { upto: 2 }))?.editNid, latest - 1);
  });

  test(`${name}: a thread is counted, with its last event, for each reader`, async () => {
    await using opened = await open();
    const { db } = opened;
    const { event, child, remove } = writerOf(db);
    await event('$root');
    const inThread = { to: '$root', relType: 'm.thread' } as const;
    const first = await child(inThread);
    const second = await child({ ...inThread, sender: BOB });
    const third = await child(inThread);
    await child({ to: '$root', relType: 'm.annotation' });
    const thread = async (reader = {}) => (await summaryOf(db, '$root', reader))?.thread;
    assert.deepEqual(await thread(), { events: 3, latestNid: third, isOwn: true });
    assert.deepEqual(await thread({ userId: '@c:x' }), { events: 3, latestNid: third, isOwn: false });
    const ignored = new Set([ALICE, '@other:x']);
    assert.deepEqual(await thread({ ignored, userId: BOB }), { events: 1, latestNid: second, isOwn: true });
    assert.deepEqual(await thread({ upto: 3, ignored: new Set([BOB]) }), {
      events: 1,
      latestNid: first,
      isOwn: true,
    });
    assert.equal(await thread({ upto: 1 }), undefined);
    await remove(third, first, 12_345);
    assert.deepEqual(await thread(), { events: 1, latestNid: second, isOwn: false });
    assert.deepEqual(await summaries.threads(db, ROOM, END, 9), [{ rootId: '$root', latest: 3 }]);
    const broken = async () =>
      (await contentFindings(db)).map(({ rule }) => rule).filter((rule) => /thread|relates/.test(rule));
    assert.deepEqual(await broken(), []);
    const set = (text: string) => db.write('test', (tx) => tx.run({ name: '', text }));
    await set('UPDATE relation_parents SET thread_events = 2');
    await set("UPDATE relations SET position = 99 WHERE rel_type = 'm.annotation'");
    assert.equal((await broken()).length, 2, 'and kurir db check finds what is wrong');
    await set('UPDATE relation_parents SET thread_events = 1');
    await remove(second);
    assert.equal(await thread(), undefined);
    assert.deepEqual(await summaries.threads(db, ROOM, END, 9), []);
    assert.deepEqual(
      [...(await relations.parentsAmong(db, ROOM, ['$root']))],
      ['$root'],
      'the annotation is left',
    );
  });

  test(`${name}: without children an event is no parent; one with the same id in another room is another`, async () => {
    await using opened = await open();
    const { db } = opened;
    const { event, child, remove } = writerOf(db);
    await event('$root');
    const nid = await child({ to: '$root', relType: 'm.thread', roomNid: 8 });
    const parents = (roomNid: number) => relations.parentsAmong(db, roomNid, ['$root', '$none']);
    assert.deepEqual([(await parents(ROOM)).size, (await parents(8)).size], [0, 1]);
    assert.equal(await summaryOf(db, '$root'), undefined);
    await remove(nid);
    assert.equal((await parents(8)).size, 0);
  });

  test(`${name}: threads by their last event, whatever the order in which the events come`, async () => {
    await using opened = await open();
    const { db } = opened;
    const { child } = writerOf(db);
    for (const to of ['$a', '$b', '$c', '$a'] as const) await child({ to, relType: 'm.thread' });
    await db.write('test', (tx) =>
      relations.insert(tx, {
        ...{ nid: 999, roomNid: ROOM, parentId: '$b', relType: 'm.thread', type: 'm', sender: ALICE },
        ...{ position: -5, originServerTs: 1, canReplace: false },
      }),
    );
    const roots = async (upto: number, limit: number) =>
      (await summaries.threads(db, ROOM, upto, limit)).map(({ rootId, latest }) => [rootId, latest]);
    assert.deepEqual(await roots(END, 9), [
      ['$a', 4],
      ['$c', 3],
      ['$b', 2],
    ]);
    assert.deepEqual(await roots(3, 1), [['$c', 3]]);
  });

  test(`${name}: the newest references of each event, oldest first`, async () => {
    await using opened = await open();
    const { db } = opened;
    const { event, child } = writerOf(db);
    await event('$a');
    await event('$b');
    const nids: Record<string, number[]> = { $a: [], $b: [] };
    for (const to of ['$a', '$b', '$a', '$a', '$b'] as const) {
      nids[to]?.push(await child({ to, relType: 'm.reference' }));
      await child({ to, relType: 'm.annotation' });
    }
    const [a, b] = [(await summaryOf(db, '$a'))?.parentNid ?? 0, (await summaryOf(db, '$b'))?.parentNid ?? 0];
    const reader = { userId: ALICE, ignored: NOBODY, upto: END } as const;
    const found = async (most: number, mostOfAll: number) =>
      Object.fromEntries(await summaries.references(db, [a, b], reader, { most, mostOfAll }));
    assert.deepEqual(await found(2, 99), { [a]: nids.$a?.slice(1), [b]: nids.$b });
    assert.deepEqual(await found(9, 4), { [a]: nids.$a, [b]: nids.$b?.slice(0, 1) });
    const early = await summaries.references(db, [a], { ...reader, upto: 3 }, { most: 9, mostOfAll: 9 });
    assert.deepEqual(early.get(a), nids.$a?.slice(0, 1));
  });

  test(`${name}: children by position in both directions, and three generations of them, also where they go in a circle`, async () => {
    await using opened = await open();
    const { db } = opened;
    const { child } = writerOf(db);
    const first = await child({ to: '$root', relType: 'm.thread', eventId: '$one' });
    const second = await child({ to: '$one', relType: 'm.reference', eventId: '$two' });
    const third = await child({ to: '$two', relType: 'm.reference', eventId: '$root' });
    await child({ to: '$elsewhere', relType: 'm.reference' });
    const of = { roomNid: ROOM, parentId: '$root', relType: undefined } as const;
    const range = { after: Number.MIN_SAFE_INTEGER, upto: END, direction: 'f', limit: 9 } as const;
    assert.deepEqual(await relations.children(db, of, range), [first]);
    assert.deepEqual(await relations.descendants(db, of, 3, range), [first, second, third]);
    assert.deepEqual(await relations.descendants(db, of, 9, range), [first, second, third]);
    assert.deepEqual(await relations.descendants(db, of, 2, { ...range, direction: 'b' }), [second, first]);
    const references = { ...of, relType: 'm.reference' };
    const part = { ...range, after: 2, limit: 1 };
    assert.deepEqual(await relations.descendants(db, references, 3, part), [third]);
    assert.deepEqual(await relations.children(db, references, range), []);
  });
}

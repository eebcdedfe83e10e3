import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId, UserId } from '#keys/ids.ts';
import * as pushRules from '#storage/push-rules.ts';
import * as pushers from '#storage/pushers.ts';
import { Streams } from '#storage/streams.ts';
import * as threepids from '#storage/threepids.ts';
import * as checkpoints from '#storage/unread-checkpoints.ts';
import * as waitingPushes from '#storage/waiting-pushes.ts';
import * as webPushKeys from '#storage/web-push-keys.ts';
import { drivers } from '#test/harness/databases.ts';

const ALICE = '@alice:here.test';
const BOB = '@bob:here.test';

for (const { name, open } of drivers) {
  test(`${name}: rules are kept for each user, and carried from room to room`, async () => {
    await using opened = await open();
    const { db } = opened;
    await using streams = await Streams.open(db);
    const [from, to, last]: RoomId[] = ['!from:here.test', '!to:here.test', '!last:here.test'];
    assert.ok(from && to && last);
    const rule = { rule_id: from, enabled: true, actions: ['x\0'] };
    const condition = { kind: 'event_match', key: 'room_id', pattern: from };
    const own: pushRules.OwnRules = {
      defaults: [{ kind: 'override', rule_id: '.m.rule.master', enabled: true }],
      rules: {
        ...pushRules.NO_RULES.rules,
        room: [rule],
        override: [{ ...rule, conditions: [condition] }],
        underride: [{ ...rule, conditions: [] }],
      },
    };
    assert.deepEqual(await pushRules.get(db, ALICE), { own: pushRules.NO_RULES, position: 0 });
    const position = await db.write('test', (tx) => pushRules.set(tx, streams, ALICE, own));
    assert.deepEqual(await pushRules.get(db, ALICE), { own, position });
    await db.write('test', async (tx) => {
      await pushRules.carryToRoom(tx, streams, ALICE, { from, to });
      await pushRules.carryToRoom(tx, streams, ALICE, { from, to });
      await pushRules.carryToRoom(tx, streams, BOB, { from, to });
    });
    const carried = await pushRules.get(db, ALICE);
    assert.ok(carried.position > position);
    assert.deepEqual(carried.own.rules.room, [{ ...rule, rule_id: to }, rule]);
    assert.deepEqual(carried.own.rules.override, [
      { ...rule, rule_id: to, conditions: [{ ...condition, pattern: to }] },
      { ...rule, conditions: [condition] },
    ]);
    // A rule that has only its name from the room says nothing of it.
    assert.deepEqual(carried.own.rules.underride, own.rules.underride);
    assert.equal((await pushRules.get(db, BOB)).position, 0);
    await db.write('test', (tx) => pushRules.clear(tx, ALICE));
    assert.equal((await pushRules.get(db, ALICE)).position, 0);
  });

  test(`${name}: what waits for a user is kept until all of it is told`, async () => {
    await using opened = await open();
    const { db } = opened;
    const push = (userId: UserId, position: number) => ({
      ...{ userId, position, nid: position + 100 },
      actions: ['notify', { set_tweak: 'sound', value: 'x' }],
    });
    const waiting = [push(ALICE, 1), push(BOB, 1), push(ALICE, 2), push(ALICE, 3)];
    await db.write('test', (tx) => waitingPushes.add(tx, waiting));
    await db.write('test', (tx) => waitingPushes.add(tx, [push(ALICE, 3)]));
    assert.deepEqual(await waitingPushes.newest(db, ALICE, 2), [push(ALICE, 2), push(ALICE, 3)]);
    assert.deepEqual(await waitingPushes.users(db), [ALICE, BOB]);
    await db.write('test', (tx) => waitingPushes.removeUpto(tx, ALICE, 2));
    assert.deepEqual(await waitingPushes.newest(db, ALICE, 9), [push(ALICE, 3)]);
    assert.deepEqual(await waitingPushes.newest(db, BOB, 9), [push(BOB, 1)]);
  });

  test(`${name}: pushers are kept by app, key and user`, async () => {
    await using opened = await open();
    const { db } = opened;
    const pusher: pushers.Pusher = {
      ...{ userId: ALICE, appId: 'app', pushkey: 'k\0\\', deviceId: 'D', kind: 'http', lang: 'en' },
      ...{ appDisplayName: 'A', deviceDisplayName: 'D', profileTag: undefined, data: { url: 'x' } },
      ...{ createdTs: 5, delivered: 7, enabled: true, activated: true, ack: undefined },
    };
    await db.write('test', async (tx) => {
      await pushers.set(tx, pusher);
      await pushers.set(tx, { ...pusher, userId: BOB, deviceId: 'E' });
      // What was delivered stays so.
      await pushers.set(tx, { ...pusher, lang: 'de', delivered: 99 });
    });
    assert.deepEqual(await pushers.ofUser(db, ALICE), [{ ...pusher, lang: 'de' }]);
    assert.deepEqual(await pushers.users(db), [ALICE, BOB]);
    await db.write('test', (tx) => pushers.setDelivered(tx, pusher, 12));
    assert.equal((await pushers.ofUser(db, ALICE))[0]?.delivered, 12);
    await db.write('test', (tx) => pushers.setDelivered(tx, pusher, pusher.delivered));
    await db.write('test', (tx) => pushers.removeOfOthers(tx, pusher));
    assert.deepEqual(await pushers.ofUser(db, BOB), []);
    await db.write('test', (tx) => pushers.removeOfDevice(tx, ALICE, 'E'));
    assert.equal((await pushers.ofUser(db, ALICE)).length, 1);
    await db.write('test', (tx) => pushers.removeOfDevice(tx, ALICE, 'D'));
    assert.deepEqual(await pushers.ofUser(db, ALICE), []);
    await db.write('test', async (tx) => {
      await pushers.set(tx, pusher);
      await pushers.remove(tx, pusher);
    });
    assert.deepEqual(await pushers.ofUser(db, ALICE), []);
    await db.write('test', (tx) => pushers.set(tx, pusher));
    const others = [
      { ...pusher, createdTs: pusher.createdTs - 1 },
      { ...pusher, data: { url: 'y' } },
    ];
    for (const other of others)
      assert.equal(await db.write('test', (tx) => pushers.removeRejected(tx, other)), false);
    assert.equal(await db.write('test', (tx) => pushers.removeRejected(tx, pusher)), true);
    assert.deepEqual(await pushers.ofUser(db, ALICE), []);
  });

  test(`${name}: a pusher is switched off and on, and activated by what it was sent`, async () => {
    await using opened = await open();
    const { db } = opened;
    const pusher: pushers.Pusher = {
      ...{ userId: ALICE, appId: 'app', pushkey: 'k', deviceId: 'D', kind: 'webpush', lang: 'en' },
      ...{ appDisplayName: 'A', deviceDisplayName: 'D', profileTag: undefined, data: { url: 'x' } },
      ...{ createdTs: 5, delivered: 7, enabled: false, activated: false },
      ack: { hash: 'hash', expiresTs: 9 },
    };
    await db.write('test', (tx) => pushers.set(tx, pusher));
    assert.deepEqual(await pushers.ofUser(db, ALICE), [pusher]);
    await db.write('test', async (tx) => {
      await pushers.set(tx, { ...pusher, enabled: true });
      await pushers.activate(tx, pusher, 20);
    });
    const [activated] = await pushers.ofUser(db, ALICE);
    assert.deepEqual(activated, { ...pusher, enabled: true, activated: true, delivered: 20 });
  });

  test(`${name}: pushers of the kind email wait for their time, and end with the address`, async () => {
    await using opened = await open();
    const { db } = opened;
    const pusher = (userId: UserId, pushkey: string, kind = 'email'): pushers.Pusher => ({
      ...{ userId, appId: 'm.email', pushkey, deviceId: '', kind, lang: 'en' },
      ...{ appDisplayName: 'A', deviceDisplayName: 'D', profileTag: undefined, data: {} },
      ...{ createdTs: 5, delivered: 7, enabled: true, activated: true, ack: undefined },
    });
    const [mine, second, bobs] = [pusher(ALICE, 'a@b.c'), pusher(ALICE, 'd@e.f'), pusher(BOB, 'b@b.c')];
    await db.write('test', async (tx) => {
      for (const one of [mine, second, bobs, pusher(ALICE, 'a@b.c-key', 'http')]) await pushers.set(tx, one);
    });
    assert.deepEqual(await pushers.usersWithMail(db), [ALICE, BOB]);
    assert.equal(await pushers.nextMailDue(db), undefined);
    await db.write('test', async (tx) => {
      await pushers.setMail(tx, bobs, { dueTs: 50, waitMs: 1, delivered: 7 });
      await pushers.setMail(tx, mine, { dueTs: 40, waitMs: 2, delivered: 8 });
      // Set anew it waits on.
      await pushers.set(tx, mine);
    });
    assert.equal(await pushers.nextMailDue(db), 40);
    assert.deepEqual(await pushers.mailDue(db, 45, 9), [{ ...mine, delivered: 8, dueTs: 40, waitMs: 2 }]);
    assert.equal((await pushers.mailDue(db, 60, 1)).length, 1);
    assert.deepEqual(
      (await pushers.mailOf(db, [ALICE])).map(({ pushkey, dueTs }) => [pushkey, dueTs]),
      [
        ['a@b.c', 40],
        ['d@e.f', undefined],
      ],
    );
    await db.write('test', (tx) => pushers.setMail(tx, mine, { dueTs: undefined, waitMs: 2, delivered: 9 }));
    assert.equal(await pushers.nextMailDue(db), 50);
    const email = { medium: 'email', address: 'a@b.c', validatedTs: 1, addedTs: 1 };
    await db.write('test', async (tx) => {
      await threepids.add(tx, ALICE, email);
      await threepids.remove(tx, ALICE, email);
    });
    const left = async () => (await pushers.ofUser(db, ALICE)).map(({ pushkey }) => pushkey).sort();
    assert.deepEqual(await left(), ['a@b.c-key', 'd@e.f']);
    await db.write('test', (tx) => threepids.clear(tx, ALICE));
    assert.deepEqual(await left(), ['a@b.c-key']);
  });

  test(`${name}: the key of Web Push is made once`, async () => {
    await using opened = await open();
    const keep = (made: string) => opened.db.write('test', (tx) => webPushKeys.keep(tx, made));
    assert.deepEqual([await keep('one'), await keep('two')], ['one', 'one']);
  });

  test(`${name}: checkpoints are kept by room and user`, async () => {
    await using opened = await open();
    const { db } = opened;
    await db.write('test', async (tx) => {
      await checkpoints.set(tx, 1, ALICE, { a: 1 });
      await checkpoints.set(tx, 1, ALICE, { a: 2 });
      await checkpoints.set(tx, 2, ALICE, { a: 3 });
      await checkpoints.set(tx, 2, BOB, { a: 4 });
    });
    const of = async (userId: UserId) => [...(await checkpoints.ofRooms(db, userId, [2, 1, 3]))];
    assert.deepEqual(await of(ALICE), [
      [1, { a: 2 }],
      [2, { a: 3 }],
    ]);
    assert.deepEqual([...(await checkpoints.ofRooms(db, BOB, [1]))], []);
    await db.write('test', (tx) => checkpoints.clearRoom(tx, 1));
    assert.deepEqual(await of(ALICE), [[2, { a: 3 }]]);
    await db.write('test', (tx) => checkpoints.clear(tx, ALICE));
    assert.deepEqual(await of(ALICE), []);
    assert.deepEqual(await of(BOB), [[2, { a: 4 }]]);
  });
}

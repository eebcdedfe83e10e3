import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId, UserId } from '#keys/ids.ts';
import type { Database } from '#storage/database.ts';
import * as groupRooms from '#storage/group-rooms.ts';
import * as scimGroups from '#storage/scim-groups.ts';
import * as scimUsers from '#storage/scim-users.ts';
import * as users from '#storage/users.ts';
import { drivers } from '#test/harness/databases.ts';

const ROOM: RoomId = '!room:here.test';
const CHILD: RoomId = '!child:here.test';

async function addUser(db: Database, name: string): Promise<scimUsers.ScimUser> {
  const userId: UserId = `@${name}:here.test`;
  const fields = {
    userName: name,
    externalId: `e-${name}`,
    active: true,
    isActiveStated: true,
    attributes: {},
  };
  await db.write('test', async (tx) => {
    await users.create(tx, { userId, passwordHash: undefined, isAdmin: false, now: 1 });
    await scimUsers.insert(tx, { ...fields, id: `id-${name}`, userId, now: 1 });
  });
  const user = await scimUsers.of(db, `id-${name}`);
  assert.ok(user);
  return user;
}

async function addGroup(db: Database, name: string, members: readonly scimUsers.ScimUser[]) {
  const group = await db.write('test', async (tx) => {
    await scimGroups.insert(tx, { id: `id-${name}`, displayName: name, externalId: undefined, now: 1 });
    const made = await scimGroups.of(tx, `id-${name}`);
    assert.ok(made);
    await scimGroups.addMembers(
      tx,
      made.nid,
      members.map(({ id }) => id),
    );
    return made;
  });
  return group;
}

for (const { name, open } of drivers) {
  test(`${name}: users of a directory are found by each of their names, and changed by one at a time`, async () => {
    await using database = await open();
    const { db } = database;
    const anna = await addUser(db, 'Anna');
    const bo = await addUser(db, 'bo');
    assert.deepEqual(await scimUsers.byUserName(db, 'ANNA'), anna);
    assert.deepEqual(await scimUsers.byExternalId(db, 'e-Anna'), anna);
    assert.equal(await scimUsers.byExternalId(db, 'e-anna'), undefined);
    assert.deepEqual(await scimUsers.byUserId(db, anna.userId), anna);
    assert.deepEqual(await scimUsers.byIds(db, [bo.id, 'nobody']), [bo]);
    assert.deepEqual(await scimUsers.page(db, { limit: 5, offset: 1 }), [bo]);
    assert.deepEqual(await scimUsers.after(db, anna.nid, 5), [bo]);
    assert.equal(await scimUsers.count(db), 2);
    const fields = { userName: 'Åsa', externalId: undefined, active: false, isActiveStated: false };
    const change = () =>
      db.write('test', (tx) =>
        scimUsers.update(tx, anna, { ...fields, attributes: { displayName: '\0' }, now: 7 }),
      );
    assert.deepEqual([await change(), await change()], [true, false]);
    assert.deepEqual(await scimUsers.byUserName(db, 'ÅSA'), {
      ...anna,
      ...fields,
      attributes: { displayName: '\0' },
      version: 2,
      modifiedTs: 7,
    });
    await db.write('test', (tx) => users.deactivate(tx, bo.userId, 9));
    const gone = await scimUsers.of(db, bo.id);
    assert.deepEqual([gone?.active, gone?.isDeactivated], [false, true]);
    await db.write('test', (tx) => scimUsers.remove(tx, bo));
    assert.equal(await scimUsers.of(db, bo.id), undefined);
  });

  test(`${name}: groups and who is in them`, async () => {
    await using database = await open();
    const { db } = database;
    const [anna, bo] = [await addUser(db, 'anna'), await addUser(db, 'bo')];
    const staff = await addGroup(db, 'Staff', [anna, bo]);
    const none = await addGroup(db, 'staff', []);
    assert.deepEqual(await scimGroups.byDisplayName(db, 'STAFF', 5), [staff, none]);
    assert.deepEqual(await scimGroups.withMember(db, anna.id, 5), [staff]);
    assert.deepEqual(await scimGroups.members(db, staff.nid, 5), [anna.id, bo.id]);
    assert.deepEqual([...(await scimGroups.countMembers(db, [staff.nid, none.nid]))], [[staff.nid, 2]]);
    assert.deepEqual(
      [...(await scimGroups.ofUsers(db, [anna.nid]))],
      [[anna.nid, [{ id: staff.id, displayName: 'Staff' }]]],
    );
    const [added, removed] = await db.write('test', async (tx) => [
      await scimGroups.addMembers(tx, staff.nid, [anna.id, 'nobody']),
      await scimGroups.removeMembers(tx, staff.nid, [bo.id, 'nobody']),
    ]);
    assert.deepEqual([added, removed], [0, 1]);
    await db.write('test', (tx) =>
      scimGroups.update(tx, staff, { displayName: 'Crew', externalId: 'x', now: 5 }),
    );
    assert.deepEqual(await scimGroups.byExternalId(db, 'x', 5), [
      { ...staff, displayName: 'Crew', externalId: 'x', version: 2, modifiedTs: 5 },
    ]);
    assert.deepEqual(await scimGroups.page(db, { limit: 1, offset: 1 }), [none]);
    await db.write('test', (tx) => scimGroups.remove(tx, none));
    assert.deepEqual([await scimGroups.count(db), await scimGroups.after(db, staff.nid, 5)], [1, []]);
    assert.equal(await db.write('test', (tx) => scimGroups.clearMembers(tx, staff.nid)), 1);
  });

  test(`${name}: who is to be brought into a room, and who is held there by no group any more`, async () => {
    await using database = await open();
    const { db } = database;
    const [anna, bo] = [await addUser(db, 'anna'), await addUser(db, 'bo')];
    const staff = await addGroup(db, 'Staff', [anna, bo]);
    const guard = await addGroup(db, 'Guard', [bo]);
    const bindingOf = (group: { id: string }, power?: number) => ({
      ...{ groupId: group.id, roomId: ROOM, power, withChildren: power !== undefined },
    });
    await db.write('test', async (tx) => {
      await groupRooms.bind(tx, bindingOf(staff), 5);
      await groupRooms.bind(tx, bindingOf(guard, 50), 6);
    });
    assert.equal(await groupRooms.countBindings(db), 2);
    assert.deepEqual(await groupRooms.bindings(db, undefined, 1), [bindingOf(guard, 50)]);
    assert.deepEqual(await groupRooms.bindings(db, bindingOf(guard), 5), [bindingOf(staff)]);
    assert.deepEqual(await groupRooms.binding(db, guard.id, ROOM), bindingOf(guard, 50));
    assert.deepEqual(await groupRooms.comingTo(db, ROOM), [bindingOf(guard, 50), bindingOf(staff)]);
    const work = await groupRooms.next(db);
    assert.deepEqual(work, { roomId: ROOM, dueTs: 6, generation: 2, failures: 0, problem: undefined });
    assert.deepEqual(await groupRooms.toBring(db, ROOM, '', 5), [anna.userId, bo.userId]);
    assert.deepEqual(await groupRooms.toBring(db, ROOM, anna.userId, 5), [bo.userId]);
    await db.write('test', async (tx) => {
      for (const { userId } of [anna, bo]) await groupRooms.hold(tx, ROOM, userId);
    });
    assert.deepEqual(await groupRooms.toBring(db, ROOM, '', 5), []);
    assert.deepEqual(await groupRooms.powersToChange(db, ROOM, 5), [
      { userId: bo.userId, given: undefined, wanted: 50 },
    ]);
    await db.write('test', (tx) => groupRooms.setPower(tx, ROOM, { userId: bo.userId, power: 50 }));
    assert.deepEqual(await groupRooms.powersToChange(db, ROOM, 5), []);
    await db.write('test', (tx) => scimGroups.clearMembers(tx, staff.nid));
    assert.deepEqual(await groupRooms.toRelease(db, ROOM, '', 5), [anna.userId]);
    await db.write('test', (tx) => groupRooms.release(tx, ROOM, [anna.userId]));
    assert.deepEqual(await groupRooms.toRelease(db, ROOM, '', 5), []);
    await db.write('test', (tx) => groupRooms.unbind(tx, guard.id, ROOM, 8));
    assert.deepEqual(await groupRooms.toRelease(db, ROOM, '', 5), [], 'who is let go is not put out');
    await db.write('test', (tx) => groupRooms.forgetGroup(tx, staff.id, 9));
    assert.deepEqual([await groupRooms.countBindings(db), await groupRooms.comingTo(db, ROOM)], [0, []]);
  });

  test(`${name}: work that was done is of the change that it began with`, async () => {
    await using database = await open();
    const { db } = database;
    const anna = await addUser(db, 'anna');
    const staff = await addGroup(db, 'Staff', [anna]);
    const binding = { groupId: staff.id, roomId: ROOM, power: undefined, withChildren: true };
    await db.write('test', (tx) => groupRooms.bind(tx, binding, 5));
    const setTargets = (...rooms: RoomId[]) =>
      db.write('test', (tx) => groupRooms.setTargets(tx, binding, { rooms, now: 6 }));
    await setTargets(ROOM, CHILD);
    assert.equal(await groupRooms.countWork(db), 2);
    const [work] = [await groupRooms.next(db)];
    assert.ok(work);
    await db.write('test', (tx) => groupRooms.failed(tx, work, { dueTs: 90, problem: 'no power' }));
    assert.deepEqual(await groupRooms.problems(db, '', 5), [
      { ...work, dueTs: 90, failures: 1, problem: 'no power' },
    ]);
    assert.equal((await groupRooms.next(db))?.roomId, CHILD);
    await db.write('test', (tx) => groupRooms.dueOfGroup(tx, staff.id, 7));
    await db.write('test', (tx) => groupRooms.done(tx, work));
    assert.deepEqual(
      [await groupRooms.countWork(db), await groupRooms.problems(db, '', 5)],
      [2, []],
      'it has changed meanwhile',
    );
    await db.write('test', (tx) => groupRooms.dueOfUser(tx, anna.nid, 8));
    const again = await groupRooms.next(db);
    assert.ok(again);
    await db.write('test', (tx) => groupRooms.done(tx, again));
    assert.equal(await groupRooms.countWork(db), 1);
    await setTargets(ROOM);
    assert.deepEqual(await groupRooms.comingTo(db, CHILD), []);
  });
}

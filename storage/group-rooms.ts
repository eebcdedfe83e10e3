/**
 * Groups that are bound to rooms and spaces, the rooms that they come to (targets), who was brought into a room for a
 * group (holds), and which rooms are to be looked at (work).
 */

import type { RoomId, UserId } from '#keys/ids.ts';
import type { Database, Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

export interface Binding {
  readonly groupId: string;
  readonly roomId: RoomId;
  /** The level that members get at least. */
  readonly power: number | undefined;
  /** Whether they come to the rooms of the space, too. */
  readonly withChildren: boolean;
}

/** A room that is to be looked at. */
export interface Work {
  readonly roomId: RoomId;
  readonly dueTs: number;
  /** Moves on with every change: work that was done is of the one that it began with. */
  readonly generation: number;
  readonly failures: number;
  readonly problem: string | undefined;
}

interface BindingRow {
  group_id: string;
  room_id: RoomId;
  power: number | null;
  with_children: number;
}

interface WorkRow {
  room_id: RoomId;
  due_ts: number;
  generation: number;
  failures: number;
  problem: string | null;
}

const BINDING = 'SELECT group_id, room_id, power, with_children FROM group_bindings';
const WORK = 'SELECT room_id, due_ts, generation, failures, problem FROM group_work';
/** Those whom the groups of a room hold there, `t`: the targets. */
const MEMBERS = `group_targets t
  JOIN scim_groups g ON g.id = t.group_id
  JOIN scim_members m ON m.group_nid = g.group_nid
  JOIN scim_users u ON u.user_nid = m.user_nid`;
/** The groups that hold a user `h` in a room. */
const HOLDING = `scim_users u
  JOIN scim_members m ON m.user_nid = u.user_nid
  JOIN scim_groups g ON g.group_nid = m.group_nid
  JOIN group_targets t ON t.group_id = g.id AND t.room_id = h.room_id`;
const AGAIN = `ON CONFLICT (room_id) DO UPDATE SET due_ts = excluded.due_ts,
    generation = group_work.generation + 1, failures = 0`;

const BINDINGS = sql<[string, string, number], BindingRow>(
  'groupRooms.bindings',
  `${BINDING} WHERE (group_id, room_id) > (?, ?) ORDER BY group_id, room_id LIMIT ?`,
);
const BINDING_OF = sql<[string, string], BindingRow>(
  'groupRooms.bindingOf',
  `${BINDING} WHERE group_id = ? AND room_id = ?`,
);
const BOUND_TO = sql<[string], BindingRow>(
  'groupRooms.boundTo',
  `${BINDING} WHERE (group_id, room_id) IN (
     SELECT group_id, bound_room_id FROM group_targets WHERE room_id = ?)
   ORDER BY group_id, room_id`,
);
const COUNT = sql<[], { bindings: number }>(
  'groupRooms.count',
  'SELECT COUNT(*) AS bindings FROM group_bindings',
);
const BIND = sql<[string, string, number | null, number]>(
  'groupRooms.bind',
  `INSERT INTO group_bindings (group_id, room_id, power, with_children) VALUES (?, ?, ?, ?)
   ON CONFLICT (group_id, room_id) DO UPDATE SET power = excluded.power, with_children = excluded.with_children`,
);
const UNBIND = sql<[string, string]>(
  'groupRooms.unbind',
  'DELETE FROM group_bindings WHERE group_id = ? AND room_id = ?',
);
const TARGETS_OF = sql<[string, string], { room_id: RoomId }>(
  'groupRooms.targetsOf',
  'SELECT room_id FROM group_targets WHERE group_id = ? AND bound_room_id = ? ORDER BY room_id',
);
const ADD_TARGET = sql<[string, string, string]>(
  'groupRooms.addTarget',
  `INSERT INTO group_targets (room_id, group_id, bound_room_id) VALUES (?, ?, ?)
   ON CONFLICT (room_id, group_id, bound_room_id) DO NOTHING`,
);
const REMOVE_TARGET = sql<[string, string, string]>(
  'groupRooms.removeTarget',
  'DELETE FROM group_targets WHERE room_id = ? AND group_id = ? AND bound_room_id = ?',
);
const LET_GO = sql<[string, string]>(
  'groupRooms.letGo',
  `DELETE FROM group_holds WHERE (room_id, user_id) IN (
     SELECT h.room_id, h.user_id FROM group_holds h
     JOIN scim_users left_user ON left_user.user_id = h.user_id
     JOIN scim_members left_member ON left_member.user_nid = left_user.user_nid
     JOIN scim_groups left_group ON left_group.group_nid = left_member.group_nid
     WHERE h.room_id = ? AND left_group.id = ? AND NOT EXISTS (
       SELECT 1 FROM ${HOLDING} WHERE u.user_id = h.user_id))`,
);
const DUE = sql<[string, number]>(
  'groupRooms.dueNow',
  `INSERT INTO group_work (room_id, due_ts, generation, failures) VALUES (?, ?, 1, 0) ${AGAIN}`,
);
const DUE_OF_GROUP = sql<[number, string]>(
  'groupRooms.dueOfGroup',
  `INSERT INTO group_work (room_id, due_ts, generation, failures)
   SELECT DISTINCT room_id, CAST(? AS {int}), 1, 0 FROM group_targets WHERE group_id = ? ${AGAIN}`,
);
const DUE_OF_USER = sql<[number, number]>(
  'groupRooms.dueOfUser',
  `INSERT INTO group_work (room_id, due_ts, generation, failures)
   SELECT DISTINCT room_id, CAST(? AS {int}), 1, 0 FROM group_targets WHERE group_id IN (
     SELECT g.id FROM scim_members m JOIN scim_groups g ON g.group_nid = m.group_nid WHERE m.user_nid = ?)
   ${AGAIN}`,
);
const REMOVE_TARGETS_OF_GROUP = sql<[string]>(
  'groupRooms.removeTargetsOfGroup',
  'DELETE FROM group_targets WHERE group_id = ?',
);
const REMOVE_BINDINGS_OF_GROUP = sql<[string]>(
  'groupRooms.removeBindingsOfGroup',
  'DELETE FROM group_bindings WHERE group_id = ?',
);
const NEXT = sql<[], WorkRow>('groupRooms.next', `${WORK} WHERE due_ts > 0 ORDER BY due_ts, room_id LIMIT 1`);
const PROBLEMS = sql<[string, number], WorkRow>(
  'groupRooms.problems',
  `${WORK} WHERE room_id > ? AND problem IS NOT NULL ORDER BY room_id LIMIT ?`,
);
const WAITING = sql<[], { rooms: number }>('groupRooms.waiting', 'SELECT COUNT(*) AS rooms FROM group_work');
const DONE = sql<[string, number]>(
  'groupRooms.done',
  'DELETE FROM group_work WHERE room_id = ? AND generation = ?',
);
const CLEAR_PROBLEM = sql<[string]>(
  'groupRooms.clearProblem',
  'UPDATE group_work SET problem = NULL WHERE room_id = ?',
);
const FAILED = sql<[number, string, string, number]>(
  'groupRooms.failed',
  `UPDATE group_work SET due_ts = ?, failures = failures + 1, problem = ? WHERE room_id = ? AND generation = ?`,
);
const TO_BRING = sql<[string, string, number], { user_id: UserId }>(
  'groupRooms.toBring',
  `SELECT DISTINCT u.user_id FROM ${MEMBERS} JOIN users a ON a.user_id = u.user_id
   WHERE t.room_id = ? AND u.user_id > ? AND u.active = 1 AND a.deactivated_ts IS NULL AND NOT EXISTS (
     SELECT 1 FROM group_holds h WHERE h.room_id = t.room_id AND h.user_id = u.user_id)
   ORDER BY u.user_id LIMIT ?`,
);
const TO_RELEASE = sql<[string, string, number], { user_id: UserId }>(
  'groupRooms.toRelease',
  `SELECT h.user_id FROM group_holds h
   WHERE h.room_id = ? AND h.user_id > ? AND NOT EXISTS (SELECT 1 FROM ${HOLDING} WHERE u.user_id = h.user_id)
   ORDER BY h.user_id LIMIT ?`,
);
const POWERS = sql<[string, number], { user_id: UserId; given: number | null; wanted: number | null }>(
  'groupRooms.powers',
  `SELECT p.user_id, p.given, p.wanted FROM (
     SELECT h.user_id, h.power AS given, (
       SELECT MAX(b.power) FROM ${HOLDING}
       JOIN group_bindings b ON b.group_id = t.group_id AND b.room_id = t.bound_room_id
       WHERE u.user_id = h.user_id) AS wanted
     FROM group_holds h WHERE h.room_id = ?) p
   WHERE COALESCE(p.given, -1) <> COALESCE(p.wanted, -1) ORDER BY p.user_id LIMIT ?`,
);
const HOLD = sql<[string, string]>(
  'groupRooms.hold',
  `INSERT INTO group_holds (room_id, user_id, power) VALUES (?, ?, NULL)
   ON CONFLICT (room_id, user_id) DO NOTHING`,
);
const SET_POWER = sql<[number | null, string, string]>(
  'groupRooms.setPower',
  'UPDATE group_holds SET power = ? WHERE room_id = ? AND user_id = ?',
);
const RELEASED = sql<[string, string]>(
  'groupRooms.released',
  'DELETE FROM group_holds WHERE room_id = ? AND user_id {anyOf}',
);

/** All bindings in pages, each after the last of the one before. */
export async function bindings(
  reader: Reader,
  after: { readonly groupId: string; readonly roomId: string } | undefined,
  limit: number,
): Promise<Binding[]> {
  return (await reader.all(BINDINGS, after?.groupId ?? '', after?.roomId ?? '', limit)).map(bindingOf);
}

/** How a group is bound to a room. */
export async function binding(reader: Reader, groupId: string, roomId: RoomId): Promise<Binding | undefined> {
  const row = await reader.get(BINDING_OF, groupId, roomId);
  return row && bindingOf(row);
}

/** The bindings by which members of groups come to a room. */
export async function comingTo(reader: Reader, roomId: RoomId): Promise<Binding[]> {
  return (await reader.all(BOUND_TO, roomId)).map(bindingOf);
}

export async function countBindings(reader: Reader): Promise<number> {
  return (await reader.get(COUNT))?.bindings ?? 0;
}

/** Binds a group to a room, or binds it otherwise. */
export async function bind(
  tx: Tx,
  { groupId, roomId, power, withChildren }: Binding,
  now: number,
): Promise<void> {
  await tx.run(BIND, groupId, roomId, power ?? null, withChildren ? 1 : 0);
  await tx.run(ADD_TARGET, roomId, groupId, roomId);
  for (const { room_id: target } of await tx.all(TARGETS_OF, groupId, roomId)) await tx.run(DUE, target, now);
}

/** Lets a room go: the members of the group stay in it. False where the group was not bound to it. */
export async function unbind(tx: Tx, groupId: string, roomId: RoomId, now: number): Promise<boolean> {
  await setTargets(tx, { groupId, roomId }, { rooms: [], now });
  return (await tx.run(UNBIND, groupId, roomId)) === 1;
}

/** Says which rooms a binding comes to. Of those that it no longer comes to, the members stay in. */
export async function setTargets(
  tx: Tx,
  { groupId, roomId }: Pick<Binding, 'groupId' | 'roomId'>,
  { rooms, now }: { readonly rooms: readonly RoomId[]; readonly now: number },
): Promise<void> {
  const before = (await tx.all(TARGETS_OF, groupId, roomId)).map((row) => row.room_id);
  for (const target of rooms.filter((each) => !before.includes(each))) {
    await tx.run(ADD_TARGET, target, groupId, roomId);
    await tx.run(DUE, target, now);
  }
  for (const target of before.filter((each) => !rooms.includes(each))) {
    await tx.run(REMOVE_TARGET, target, groupId, roomId);
    await tx.run(LET_GO, target, groupId);
    await tx.run(DUE, target, now);
  }
}

/** A group is no more: its members are to leave the rooms that only it brought them to. */
export async function forgetGroup(tx: Tx, groupId: string, now: number): Promise<void> {
  await dueOfGroup(tx, groupId, now);
  await tx.run(REMOVE_TARGETS_OF_GROUP, groupId);
  await tx.run(REMOVE_BINDINGS_OF_GROUP, groupId);
}

/** The members of a group have changed: its rooms are to be looked at. */
export async function dueOfGroup(tx: Tx, groupId: string, now: number): Promise<void> {
  await tx.run(DUE_OF_GROUP, now, groupId);
}

/** A user, by the number (`nid`), can be brought into rooms again. */
export async function dueOfUser(tx: Tx, userNid: number, now: number): Promise<void> {
  await tx.run(DUE_OF_USER, now, userNid);
}

/** The room that is to be looked at first. */
export async function next(reader: Reader): Promise<Work | undefined> {
  const row = await reader.get(NEXT);
  return row && workOf(row);
}

/** Rooms where something cannot be done, in pages: those after a room id. */
export async function problems(reader: Reader, after: string, limit: number): Promise<Work[]> {
  return (await reader.all(PROBLEMS, after, limit)).map(workOf);
}

/** How many rooms are to be looked at. */
export async function countWork(reader: Reader): Promise<number> {
  return (await reader.get(WAITING))?.rooms ?? 0;
}

/** A room is as it should be, unless something has changed meanwhile. */
export async function done(tx: Tx, { roomId, generation }: Work): Promise<void> {
  await tx.run(DONE, roomId, generation);
  await tx.run(CLEAR_PROBLEM, roomId);
}

/** A room is not as it should be: it is looked at again at `dueTs`. */
export async function failed(
  tx: Tx,
  { roomId, generation }: Work,
  { dueTs, problem }: { readonly dueTs: number; readonly problem: string },
): Promise<void> {
  await tx.run(FAILED, dueTs, problem, roomId, generation);
}

/** Members of groups who have yet to come into a room, those after a user id. */
export async function toBring(db: Database, roomId: RoomId, after: string, limit: number): Promise<UserId[]> {
  return (await db.scan(TO_BRING, roomId, after, limit)).map((row) => row.user_id);
}

/** Those who came into a room for a group that does not hold them there any more. */
export async function toRelease(
  db: Database,
  roomId: RoomId,
  after: string,
  limit: number,
): Promise<UserId[]> {
  return (await db.scan(TO_RELEASE, roomId, after, limit)).map((row) => row.user_id);
}

/** Whose level in a room is not what the groups give them. */
export async function powersToChange(
  db: Database,
  roomId: RoomId,
  limit: number,
): Promise<
  { readonly userId: UserId; readonly given: number | undefined; readonly wanted: number | undefined }[]
> {
  const rows = await db.scan(POWERS, roomId, limit);
  return rows.map((row) => ({
    userId: row.user_id,
    given: row.given ?? undefined,
    wanted: row.wanted ?? undefined,
  }));
}

/** Notes that a user was brought into a room. */
export async function hold(tx: Tx, roomId: RoomId, userId: UserId): Promise<void> {
  await tx.run(HOLD, roomId, userId);
}

/** Notes which level a user was given. */
export async function setPower(
  tx: Tx,
  roomId: RoomId,
  { userId, power }: { readonly userId: UserId; readonly power: number | undefined },
): Promise<void> {
  await tx.run(SET_POWER, power ?? null, roomId, userId);
}

/** Notes that users are not held in a room any more. */
export async function release(tx: Tx, roomId: RoomId, userIds: readonly UserId[]): Promise<void> {
  await tx.run(RELEASED, roomId, anyOf(userIds));
}

function bindingOf(row: BindingRow): Binding {
  return {
    groupId: row.group_id,
    roomId: row.room_id,
    power: row.power ?? undefined,
    withChildren: row.with_children === 1,
  };
}

function workOf(row: WorkRow): Work {
  return {
    roomId: row.room_id,
    dueTs: row.due_ts,
    generation: row.generation,
    failures: row.failures,
    problem: row.problem ?? undefined,
  };
}

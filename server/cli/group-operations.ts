/** What the operator's command does to groups of the directory and their rooms, the same whether the server runs or not. */

import type { RoomId } from '#keys/ids.ts';
import { integerAt, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import * as groupRooms from '#storage/group-rooms.ts';
import * as scimGroups from '#storage/scim-groups.ts';
import { bindIn, type GroupRoomKeeper } from '../group-rooms/keeper.ts';
import type { Outcome } from './operations.ts';
import { roomOf } from './room-operations.ts';

export interface GroupOperationContext extends Pick<RoomsContext, 'db' | 'rooms' | 'serverName' | 'clock'> {
  /** Undefined where no server runs: the rooms are looked at when it starts. */
  readonly groupRooms?: GroupRoomKeeper;
}

const PAGE = 500;
const MOST_LINES = 5_000;
const HIGHEST_POWER = 100;
const AT_START = ' It is done when the server starts.';

/** Does one thing: `{"operation": "group.bind", ...}`; undefined for what is none of these. */
export async function performOnGroups(
  ctx: GroupOperationContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  switch (own(operation, 'operation')) {
    case 'group.list':
      return listGroups(ctx);
    case 'group.bind':
      return bind(ctx, operation);
    case 'group.unbind':
      return unbind(ctx, operation);
    case 'group.status':
      return status(ctx);
    default:
      return undefined;
  }
}

async function listGroups({ db }: GroupOperationContext): Promise<Outcome> {
  const bound = new Map<string, string[]>();
  for (const each of await allBindings(db)) {
    const rooms = bound.get(each.groupId) ?? [];
    bound.set(each.groupId, rooms);
    rooms.push(`    ${each.roomId}${notesOn(each)}`);
  }
  const lines: string[] = [];
  for (let nid: number | undefined = 0; nid !== undefined && lines.length < MOST_LINES; ) {
    // Page by page, each after the last.
    const page: scimGroups.ScimGroup[] = await scimGroups.after(db, nid, PAGE);
    const counts = await scimGroups.countMembers(
      db,
      page.map((group) => group.nid),
    );
    for (const group of page) {
      const members = `${counts.get(group.nid) ?? 0} members`;
      lines.push(
        `${group.id}  ${members}  ${JSON.stringify(group.displayName)}`,
        ...(bound.get(group.id) ?? []),
      );
    }
    nid = page.length < PAGE ? undefined : page.at(-1)?.nid;
  }
  return {
    kind: 'done',
    lines: lines.length > 0 ? lines : ['No groups yet: the directory makes them, by SCIM.'],
  };
}

async function bind(ctx: GroupOperationContext, operation: JsonObject): Promise<Outcome> {
  const group = await groupOf(ctx, stringAt(operation, 'group') ?? '');
  if (typeof group === 'string') return refused(group);
  const room = await roomOf(ctx, stringAt(operation, 'room') ?? '');
  if (typeof room === 'string') return refused(room);
  const power = integerAt(operation, 'power');
  if (power !== undefined && (power < 1 || power > HIGHEST_POWER)) {
    return refused(`the power must be from 1 to ${HIGHEST_POWER}`);
  }
  const withChildren = own(operation, 'children') === true;
  const binding = { groupId: group.id, roomId: room.roomId, power, withChildren };
  const now = ctx.clock.now();
  const isBound =
    ctx.groupRooms === undefined
      ? await ctx.db.write('groupRooms.bind', (tx) => bindIn(tx, binding, now))
      : await ctx.groupRooms.bind(binding);
  if (!isBound) return refused('as many rooms are bound as may be');
  const line = `The members of ${JSON.stringify(group.displayName)} come into ${room.roomId}${notesOn(binding)}.`;
  return done(
    `${line}${ctx.groupRooms === undefined ? AT_START : ' "group status" shows what is left to do.'}`,
  );
}

async function unbind(ctx: GroupOperationContext, operation: JsonObject): Promise<Outcome> {
  const group = await groupOf(ctx, stringAt(operation, 'group') ?? '');
  if (typeof group === 'string') return refused(group);
  const room = await roomOf(ctx, stringAt(operation, 'room') ?? '');
  if (typeof room === 'string') return refused(room);
  const { roomId } = room;
  const now = ctx.clock.now();
  const wasBound =
    ctx.groupRooms === undefined
      ? await ctx.db.write('groupRooms.unbind', (tx) => groupRooms.unbind(tx, group.id, roomId, now))
      : await ctx.groupRooms.unbind(group.id, roomId);
  const name = JSON.stringify(group.displayName);
  if (!wasBound) return refused(`${name} is not bound to ${roomId}: see "group list"`);
  return done(`${name} is bound to ${roomId} no more. Who is in the room stays in it.`);
}

async function status({ db, clock }: GroupOperationContext): Promise<Outcome> {
  const [groups, bindings, waiting] = await Promise.all([
    scimGroups.count(db),
    groupRooms.countBindings(db),
    groupRooms.countWork(db),
  ]);
  const lines = [
    `${groups} groups, bound to rooms ${bindings} times.`,
    waiting === 0 ? 'All rooms are as their groups are.' : `${waiting} rooms are still to be looked at.`,
  ];
  let isWrong = false;
  for (let after: RoomId | '' | undefined = ''; after !== undefined && lines.length < MOST_LINES; ) {
    // Page by page, each after the last.
    const page: groupRooms.Work[] = await groupRooms.problems(db, after, PAGE);
    for (const { roomId, problem, failures, dueTs } of page) {
      isWrong = true;
      const minutes = Math.max(0, Math.ceil((dueTs - clock.now()) / 60_000));
      lines.push(`${roomId}: ${problem} (tried ${failures} times, again in ${minutes} minutes)`);
    }
    after = page.length < PAGE ? undefined : page.at(-1)?.roomId;
  }
  return { kind: 'done', lines, isWrong };
}

/** The group of an id or a name, or what to say where there is none. */
async function groupOf({ db }: GroupOperationContext, word: string): Promise<scimGroups.ScimGroup | string> {
  const byId = word.includes('\0') ? undefined : await scimGroups.of(db, word);
  if (byId !== undefined) return byId;
  const [group, another] = word === '' ? [] : await scimGroups.byDisplayName(db, word, 2);
  if (another !== undefined) return `several groups are named "${word}": give the id, see "group list"`;
  return group ?? `there is no group "${word}": see "group list"`;
}

async function allBindings(db: GroupOperationContext['db']): Promise<groupRooms.Binding[]> {
  const all: groupRooms.Binding[] = [];
  let last: groupRooms.Binding | undefined;
  for (let isMore = true; isMore; ) {
    // Page by page, each after the last.
    const page = await groupRooms.bindings(db, last, PAGE);
    all.push(...page);
    last = page.at(-1);
    isMore = page.length === PAGE;
  }
  return all;
}

function notesOn({ power, withChildren }: Pick<groupRooms.Binding, 'power' | 'withChildren'>): string {
  return `${withChildren ? ' and its rooms' : ''}${power === undefined ? '' : `, with power ${power}`}`;
}

function done(line: string): Outcome {
  return { kind: 'done', lines: [line] };
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}

/** What the operator's command does to circles of servers, the same whether the server runs or not. */

import {
  type CircleKeeper,
  circleServers,
  type Kept,
  MOST_CIRCLE_SERVERS,
  MOST_CIRCLES,
  outsidersIn,
} from '#federation/partners/circles.ts';
import type { RoomId } from '#keys/ids.ts';
import { isStringArray, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Room } from '#rooms/room.ts';
import * as circles from '#storage/circles.ts';
import type { Outcome } from './operations.ts';
import { roomOf } from './room-operations.ts';

export interface CircleOperationContext extends Pick<RoomsContext, 'db' | 'rooms' | 'serverName' | 'clock'> {
  /** Undefined where no server runs: the rooms get their lists when it starts. */
  readonly keeper?: { readonly circles: CircleKeeper; readonly ctx: RoomsContext };
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const AT_START = 'The rooms get it when the server starts.';

/** Does one thing: `{"operation": "circle.create", ...}`; undefined for what is none of these. */
export async function performOnCircles(
  ctx: CircleOperationContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  switch (own(operation, 'operation')) {
    case 'circle.list':
      return listCircles(ctx);
    case 'circle.create':
      return createCircle(ctx, operation);
    case 'circle.add':
      return changeCircle(ctx, operation, (servers, given) => [...servers, ...given]);
    case 'circle.remove':
      return changeCircle(ctx, operation, (servers, given) =>
        servers.filter((name) => !given.includes(name)),
      );
    case 'room.circle':
      return bindRoom(ctx, operation);
    default:
      return undefined;
  }
}

async function listCircles({ db }: CircleOperationContext): Promise<Outcome> {
  const all = await circles.all(db, MOST_CIRCLES);
  const lines = all.map(({ name, servers }) => `${name}  ${servers.join(' ')}`);
  return {
    kind: 'done',
    lines: lines.length > 0 ? lines : ['No circles yet: make one with "circle create".'],
  };
}

async function createCircle(ctx: CircleOperationContext, operation: JsonObject): Promise<Outcome> {
  const name = stringAt(operation, 'name') ?? '';
  if (!NAME.test(name)) {
    return refused(`"${name}" is no name of a circle: use lower-case letters, digits and . _ -`);
  }
  const servers = serversIn(operation);
  if (typeof servers === 'string') return refused(servers);
  const made = await ctx.db.write('circles.create', async (tx) => {
    if ((await circles.of(tx, name)) !== undefined) return 'taken';
    if ((await circles.all(tx, MOST_CIRCLES)).length >= MOST_CIRCLES) return 'full';
    await circles.set(tx, { name, servers });
    return 'made';
  });
  if (made === 'taken') return refused(`there is a circle ${name} already: see "circle list"`);
  if (made === 'full') return refused(`there are ${MOST_CIRCLES} circles, which is the most`);
  return { kind: 'done', lines: [`${name}  ${servers.join(' ')}`] };
}

async function changeCircle(
  ctx: CircleOperationContext,
  operation: JsonObject,
  change: (servers: readonly string[], given: readonly string[]) => readonly string[],
): Promise<Outcome> {
  const name = stringAt(operation, 'name') ?? '';
  const given = serversIn(operation);
  if (typeof given === 'string') return refused(given);
  const after = await ctx.db.write('circles.change', async (tx) => {
    const circle = await circles.of(tx, name);
    const servers = circle && circleServers(change(circle.servers, given));
    if (servers === undefined || servers.length > MOST_CIRCLE_SERVERS) return servers;
    await circles.set(tx, { name, servers });
    return servers;
  });
  if (after === undefined) return refused(noSuchCircle(name));
  if (after.length > MOST_CIRCLE_SERVERS)
    return refused(`a circle has ${MOST_CIRCLE_SERVERS} servers at most`);
  const line = `${name}  ${after.join(' ')}`;
  if (ctx.keeper === undefined) return { kind: 'done', lines: [line, AT_START] };
  const kept = await ctx.keeper.circles.keepAll(name);
  return { kind: 'done', lines: [line, ...[...kept].map(([roomId, each]) => keptLine(roomId, each))] };
}

async function bindRoom(ctx: CircleOperationContext, operation: JsonObject): Promise<Outcome> {
  const room = await roomOf(ctx, stringAt(operation, 'room') ?? '');
  if (typeof room === 'string') return refused(room);
  const name = stringAt(operation, 'name');
  if (name === undefined) return unbindRoom(ctx, room);
  const circle = await circles.of(ctx.db, name);
  if (circle === undefined) return refused(noSuchCircle(name));
  const { roomId } = room;
  if (ctx.keeper === undefined) {
    await ctx.db.write('circles.bind', (tx) => circles.bind(tx, roomId, name));
    return { kind: 'done', lines: [`${roomId} is bound to the circle ${name}. ${AT_START}`] };
  }
  if (!(await ctx.keeper.circles.bind(roomId, name)))
    return refused('as many rooms are bound as can be watched');
  const kept = await ctx.keeper.circles.keep(roomId);
  const outside = await outsidersIn(ctx.keeper.ctx, room, circle);
  const lines = [`${roomId} is bound to the circle ${name}.`, keptLine(roomId, kept)];
  if (outside.length > 0) {
    lines.push(`Not in the circle, and cut off from the room: ${outside.slice(0, 20).join(' ')}`);
  }
  return { kind: 'done', lines };
}

async function unbindRoom({ db, keeper }: CircleOperationContext, { roomId }: Room): Promise<Outcome> {
  const wasBound =
    keeper === undefined
      ? await db.write('circles.unbind', (tx) => circles.unbind(tx, roomId))
      : await keeper.circles.unbind(roomId);
  if (!wasBound) return refused(`${roomId} is bound to no circle`);
  return {
    kind: 'done',
    lines: [
      `${roomId} is bound to no circle any more. Its list stays as it is, until somebody in the room changes it.`,
    ],
  };
}

function keptLine(roomId: RoomId, kept: Kept): string {
  switch (kept.kind) {
    case 'right':
      return `${roomId}: the list is right.`;
    case 'sent':
      return `${roomId}: the list was sent.`;
    case 'no_power':
      return `${roomId}: nobody of this server may set the list. Have somebody in the room give one of your users the power for m.room.server_acl.`;
    case 'not_ours':
      return `${roomId}: nobody of this server is in the room.`;
    case 'refused':
      return `${roomId}: the list was refused: ${kept.reason}.`;
  }
}

function serversIn(operation: JsonObject): readonly string[] | string {
  const given = own(operation, 'servers');
  const servers = isStringArray(given) ? circleServers(given) : undefined;
  if (servers === undefined) return 'a circle is made of server names, such as example.org or *.example.org';
  if (servers.length === 0) return 'no server is named: see --help';
  return servers.length > MOST_CIRCLE_SERVERS
    ? `a circle has ${MOST_CIRCLE_SERVERS} servers at most`
    : servers;
}

function noSuchCircle(name: string): string {
  return `there is no circle "${name}": see "circle list"`;
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}

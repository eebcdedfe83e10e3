/** What the operator's command does to rooms: by the running server, or on its database where that suffices. */

import { isEventId, isRoomAlias, isRoomId, type RoomId } from '#keys/ids.ts';
import { integerAt, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { RoomsReader } from '#rooms/context.ts';
import { loadNids } from '#rooms/load.ts';
import { beginPurge, type PurgeContext, type PurgePoint, type PurgeResult } from '#rooms/purge/purge.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import * as aliases from '#storage/aliases.ts';
import * as blockedRooms from '#storage/blocked-rooms.ts';
import * as purges from '#storage/purges.ts';
import * as roomList from '#storage/room-list.ts';
import type { Shutdown, ShutdownResult } from '../rooms/room-shutdown.ts';
import type { Outcome } from './operations.ts';
import { timeOf } from './when.ts';

export type RoomOperationContext = PurgeContext & {
  /** Deletes what was noted of a room; `running` where it goes on for long. */
  readonly runPurge: (roomNid: number) => Promise<PurgeResult | 'running' | undefined>;
  /** Undefined where no server runs: nobody can leave then. */
  readonly shutDown?: (shutdown: Shutdown) => Promise<ShutdownResult | 'running'>;
};

const PAGE = 100;
const LONGEST_NAME = 60;
const MOST_BLOCKED = 1_000;

/** Does one thing: `{"operation": "room.list", ...}`; undefined for what is none of these. */
export async function performOnRooms(
  ctx: RoomOperationContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  switch (own(operation, 'operation')) {
    case 'room.list':
      return listRooms(ctx, integerAt(operation, 'after') ?? 0);
    case 'room.purge':
      return purgeRoom(ctx, operation);
    case 'room.shutdown':
      return shutDown(ctx, operation);
    case 'room.unblock':
      return unblock(ctx, operation);
    default:
      return undefined;
  }
}

/** A page of rooms, and where the next one begins. */
async function listRooms(ctx: RoomOperationContext, after: number): Promise<Outcome> {
  const rooms = await roomList.page(ctx.db, ctx.serverName, after, PAGE);
  const names = await loadNids(
    ctx,
    rooms.map(({ nameNid }) => nameNid).filter((nid) => nid !== undefined),
  );
  const lines = rooms.map((room) => {
    const name = stringAt(names.get(room.nameNid ?? 0)?.event.content ?? {}, 'name');
    return lineOf(room, name);
  });
  const last = rooms.at(-1);
  if (last !== undefined && rooms.length === PAGE) return { kind: 'done', lines, next: last.roomNid };
  // Rooms that were blocked before anybody of ours was in them.
  for (const roomId of await blockedRooms.page(ctx.db, '', MOST_BLOCKED)) {
    // Few: each is the operator's own doing.
    if ((await getRoom(ctx, roomId)) === undefined) lines.push(`${roomId}  blocked`);
  }
  return { kind: 'done', lines };
}

function lineOf(room: roomList.ListedRoom, name: string | undefined): string {
  const notes = [
    room.isPublished ? 'published' : '',
    room.isBlocked ? 'blocked' : '',
    room.isBeingPurged ? 'being purged' : '',
  ];
  return [
    room.roomId,
    `version ${room.version}`,
    `${room.ours} of ${room.joined} members`,
    // Quoted, so that no name says more than a name.
    name === undefined ? '' : JSON.stringify(name.slice(0, LONGEST_NAME)),
    ...notes,
  ]
    .filter((part) => part !== '')
    .join('  ');
}

async function purgeRoom(ctx: RoomOperationContext, operation: JsonObject): Promise<Outcome> {
  const room = await roomOf(ctx, stringAt(operation, 'room') ?? '');
  if (typeof room === 'string') return refused(room);
  const before = stringAt(operation, 'before') ?? '';
  const point = pointOf(before);
  if (point === undefined) {
    return refused(
      `"${before}" is neither a day (2026-01-31), nor a time (2026-01-31T12:00Z), nor an event id`,
    );
  }
  const known = await purges.of(ctx.db, room.roomNid);
  if (known !== undefined && known.upto === undefined)
    return refused(`${room.roomId} is being deleted as a whole`);
  if (!(await beginPurge(ctx, room, point)))
    return refused(`${before} is not in the timeline of ${room.roomId}`);
  const result = await ctx.runPurge(room.roomNid);
  if (result === 'running' || result?.kind !== 'done') {
    return done('The history is being deleted, also after a restart; "room list" shows until when.');
  }
  const { deleted, withdrawn, kept } = result;
  const lines = [`Deleted ${deleted} messages, and took ${withdrawn} state events out of the timeline.`];
  if (kept > 0) lines.push(`${kept} events stay, since something still refers to them.`);
  return { kind: 'done', lines };
}

function pointOf(text: string): PurgePoint | undefined {
  if (isEventId(text)) return { eventId: text };
  const before = timeOf(text);
  return before === undefined ? undefined : { before };
}

async function shutDown(ctx: RoomOperationContext, operation: JsonObject): Promise<Outcome> {
  if (ctx.shutDown === undefined) {
    return refused('users can leave a room only while the server runs: start it, and give the command again');
  }
  const roomId = await roomIdOf(ctx, stringAt(operation, 'room') ?? '');
  if (roomId === undefined) return refused(notARoom(stringAt(operation, 'room') ?? ''));
  const target = stringAt(operation, 'moveTo');
  const moveTo = target === undefined ? undefined : await roomIdOf(ctx, target);
  if (target !== undefined && moveTo === undefined) return refused(notARoom(target));
  const purge = own(operation, 'purge') === true;
  const result = await ctx.shutDown({ roomId, moveTo, purge });
  if (result === 'running') {
    return done(
      `${roomId} is blocked, and is being left; give the command again to see whether that is done.`,
    );
  }
  return { kind: 'done', lines: await shutdownLines(ctx, roomId, result) };
}

async function shutdownLines(
  ctx: RoomOperationContext,
  roomId: RoomId,
  result: ShutdownResult,
): Promise<string[]> {
  const { left, moved, aliases: removed, failures, purge, roomNid } = result;
  if (roomNid === undefined) return [`${roomId} is blocked. No user of this server was ever in it.`];
  const lines = [`${roomId} is blocked: ${left} users left it, and ${removed} aliases are gone.`];
  if (moved > 0) lines.push(`${moved} users were brought to the other room.`);
  lines.push(...failures);
  if (purge === 'begun') lines.push(deletionLine(await ctx.runPurge(roomNid)));
  else if (purge !== 'none') lines.push(`It was not deleted: ${purge.keptBy} is still in it.`);
  return lines;
}

function deletionLine(result: PurgeResult | 'running' | undefined): string {
  if (result === 'running') return 'It is being deleted; "room list" shows until when.';
  switch (result?.kind) {
    case 'done':
      return `It is deleted, with ${result.deleted} events.`;
    case 'waiting':
      return 'It is deleted once other servers have heard that our users left, at the latest in a day.';
    case 'in_use':
      return 'It was not deleted: a user of this server is in it again.';
    case 'interrupted':
    case undefined:
      return 'It is deleted when the server starts again.';
  }
}

async function unblock(ctx: RoomOperationContext, operation: JsonObject): Promise<Outcome> {
  const word = stringAt(operation, 'room') ?? '';
  const roomId = await roomIdOf(ctx, word);
  if (roomId === undefined) return refused(notARoom(word));
  const lifted = await ctx.db.write('rooms.unblock', (tx) => blockedRooms.unblock(tx, roomId));
  return lifted
    ? done(`${roomId} can be joined again.`)
    : refused(`${roomId} is not blocked: see "room list"`);
}

/** The room of an id or an alias of ours, or what to say where there is none. */
export async function roomOf(ctx: RoomsReader, word: string): Promise<Room | string> {
  const roomId = await roomIdOf(ctx, word);
  if (roomId === undefined) return notARoom(word);
  return (await getRoom(ctx, roomId)) ?? `this server does not know the room ${roomId}: see "room list"`;
}

async function roomIdOf(ctx: RoomsReader, word: string): Promise<RoomId | undefined> {
  if (isRoomAlias(word)) return (await aliases.get(ctx.db, word))?.roomId;
  return isRoomId(word) ? word : undefined;
}

function notARoom(word: string): string {
  return `"${word}" is neither a room id (!...) nor an alias of this server (#...)`;
}

function done(line: string): Outcome {
  return { kind: 'done', lines: [line] };
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}

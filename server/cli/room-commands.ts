import type { JsonObject } from '#keys/json.ts';
import { runPurge } from '#rooms/purge/purge.ts';
import { RoomCache } from '#rooms/room-cache.ts';
import { KeyedQueue } from '#storage/locks.ts';
import type { Config } from '../config-options.ts';
import { carryOut } from './carry-out.ts';
import type { Outcome } from './operations.ts';
import { performOnRooms } from './room-operations.ts';
import { UsageError } from './usage.ts';

export interface ShutdownOptions {
  readonly purge: boolean;
  readonly moveTo: string | undefined;
}

/** All rooms, page by page. */
export async function listRooms(config: Config): Promise<Outcome> {
  const lines: string[] = [];
  for (let after: number | undefined = 0; after !== undefined; ) {
    // Each page begins where the one before ended.
    const page: Outcome = await operate(config, { operation: 'room.list', after });
    if (page.kind === 'refused') return page;
    lines.push(...page.lines);
    after = page.next;
  }
  return { kind: 'done', lines: lines.length > 0 ? lines : ['No rooms yet.'] };
}

/** Deletes the history of a room before a day, a time or an event. */
export function purgeRoom(config: Config, room: string, before: string | undefined): Promise<Outcome> {
  if (before === undefined) throw new UsageError('--before is missing: see --help');
  return operate(config, { operation: 'room.purge', room, before });
}

/** Makes all users of this server leave a room, for good. */
export function shutDownRoom(config: Config, room: string, options: ShutdownOptions): Promise<Outcome> {
  const { purge, moveTo } = options;
  const target = moveTo === undefined ? {} : { moveTo };
  return operate(config, { operation: 'room.shutdown', room, purge, ...target });
}

/** Lifts the block that a shutdown leaves. */
export function unblockRoom(config: Config, room: string): Promise<Outcome> {
  return operate(config, { operation: 'room.unblock', room });
}

/** By the running server where there is one, else on its database. */
function operate(config: Config, operation: JsonObject): Promise<Outcome> {
  return carryOut(config, operation, async ({ db, clock, serverName }) => {
    const purging = { db, clock, serverName, rooms: new RoomCache(), roomLocks: new KeyedQueue() };
    const runNow = (roomNid: number) => runPurge(purging, roomNid, new AbortController().signal);
    return performOnRooms({ ...purging, runPurge: runNow }, operation);
  });
}

import * as rooms from '#storage/rooms.ts';
import { RoomCache } from '../room-cache.ts';
import type { CheckContext } from './context.ts';

/** A server may be writing: what was read in the middle of it is read again. */
const ATTEMPTS = 5;

/**
 * The findings of a check that reads much of one room. Those that a write in between may have made are looked for
 * again, with nothing in memory of what was read before.
 */
export async function steady(
  ctx: CheckContext,
  roomNid: number,
  check: (ctx: CheckContext) => Promise<string[]>,
): Promise<string[]> {
  for (let attempt = 1; ; attempt++) {
    const before = await rooms.byNid(ctx.db, roomNid);
    const findings = await check({ ...ctx, rooms: new RoomCache() });
    if (findings.length === 0 || attempt === ATTEMPTS) return findings;
    const after = await rooms.byNid(ctx.db, roomNid);
    if (after?.rowVersion === before?.rowVersion) return findings;
  }
}

/** Findings, or that there is so much damage that they cannot be looked for, with the reason. */
export async function findingsOrDamage(what: string, find: () => Promise<string[]>): Promise<string[]> {
  try {
    return await find();
  } catch (error) {
    // Code that reads what was written by itself takes it to be whole.
    return [`${what} cannot be checked: ${error instanceof Error ? error.message : String(error)}`];
  }
}

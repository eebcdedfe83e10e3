/** What must hold of a room's rows, checked against each other. Reads only. */

import * as rooms from '#storage/rooms.ts';
import type { CheckContext, CheckOptions } from './check/context.ts';
import { checkCurrentState } from './check/current-state.ts';
import { checkEventsOf } from './check/events.ts';
import { steady } from './check/steady.ts';
import { getRoom, type Room } from './room.ts';

export type { CheckContext, CheckOptions } from './check/context.ts';

const ROOMS_AT_ONCE = 100;

/** What does not hold, as one line for each finding, for all rooms. */
export async function* checkRooms(
  ctx: CheckContext,
  options: CheckOptions = { depth: 'state' },
): AsyncGenerator<string> {
  let after = 0;
  for (;;) {
    const page = await rooms.page(ctx.db, after, ROOMS_AT_ONCE);
    if (page.length === 0) return;
    for (const row of page) {
      after = row.roomNid;
      const room = await getRoom(ctx, row.roomId);
      if (room === undefined) yield `${row.roomId}: its room version ${row.version} is not known`;
      else yield* checkRoom(ctx, room, options);
    }
  }
}

/** What does not hold of one room. */
export async function* checkRoom(
  ctx: CheckContext,
  room: Room,
  options: CheckOptions = { depth: 'state' },
): AsyncGenerator<string> {
  const findings = await steady(ctx, room.roomNid, async (fresh) => {
    const row = await rooms.byNid(fresh.db, room.roomNid);
    // Known by an invitation only.
    if (row === undefined || row.stateGroup === 0) return [];
    return checkCurrentState(fresh, room, row.stateGroup);
  });
  for (const finding of findings) yield `${room.roomId}: ${finding}`;
  if (options.depth === 'state') return;
  for await (const finding of checkEventsOf(ctx, room, options)) yield `${room.roomId}: ${finding}`;
}

/** What must hold of a room's rows, checked against each other. Reads only. */

import { belongsTo, type EventId, isUserId } from '#keys/ids.ts';
import * as currentState from '#storage/current-state.ts';
import * as eventEdges from '#storage/event-edges.ts';
import * as memberships from '#storage/memberships.ts';
import * as rooms from '#storage/rooms.ts';
import { load } from '#storage/state-groups.ts';
import { keysOf } from '#storage/state-keys.ts';
import type { RoomsContext, RoomsReader } from './context.ts';
import { membershipOf, stateMapKey } from './event.ts';
import { eventIdOf } from './hashes.ts';
import { loadNids } from './load.ts';
import { DUMMY_EVENT } from './persist.ts';
import { getRoom, type Room } from './room.ts';
import type { StoredEvent } from './stored-event.ts';

export type CheckContext = RoomsReader & Pick<RoomsContext, 'serverName'>;

const ROOMS_AT_ONCE = 100;
/** A server may be writing: what was read in the middle of it is read again. */
const ATTEMPTS = 5;

/** What does not hold, as one line for each finding, for all rooms. */
export async function* checkRooms(ctx: CheckContext): AsyncGenerator<string> {
  let after = 0;
  for (;;) {
    const page = await rooms.page(ctx.db, after, ROOMS_AT_ONCE);
    if (page.length === 0) return;
    for (const row of page) {
      after = row.roomNid;
      const room = await getRoom(ctx, row.roomId);
      if (room === undefined) yield `${row.roomId}: its room version ${row.version} is not known`;
      else yield* await checkRoom(ctx, room);
    }
  }
}

/** What does not hold of one room. */
export async function checkRoom(ctx: CheckContext, room: Room): Promise<string[]> {
  for (let attempt = 1; ; attempt++) {
    const row = await rooms.byNid(ctx.db, room.roomNid);
    // Known by an invitation only.
    if (row === undefined || row.stateGroup === 0) return [];
    const findings = await findingsOf(ctx, room, row.stateGroup);
    if (findings.length === 0) return [];
    const after = await rooms.byNid(ctx.db, room.roomNid);
    if (after?.rowVersion === row.rowVersion || attempt === ATTEMPTS) {
      return findings.map((finding) => `${room.roomId}: ${finding}`);
    }
  }
}

async function findingsOf(ctx: CheckContext, room: Room, stateGroup: number): Promise<string[]> {
  const table = await currentState.all(ctx.db, room.roomNid);
  const state = await loadNids(
    ctx,
    table.map(({ eventNid }) => eventNid),
  );
  return [
    ...(await checkTable(ctx, stateGroup, table)),
    ...checkEvents(room, [...state.values()]),
    ...(await checkMemberships(ctx, room, [...state.values()])),
    ...(await checkExtremities(ctx, room)),
  ];
}

/** The table of the current state is the state that the room's row names. */
async function checkTable(
  ctx: CheckContext,
  stateGroup: number,
  table: readonly { type: string; stateKey: string; eventNid: number }[],
): Promise<string[]> {
  const group = await load(ctx.db, stateGroup);
  const keys = await keysOf(ctx.db, group.keys());
  const expected = new Map<string, number>();
  for (const [keyNid, eventNid] of group) {
    const key = keys.get(keyNid);
    if (key !== undefined) expected.set(stateMapKey(key.type, key.stateKey), eventNid);
  }
  const wrong = table.filter((row) => expected.get(stateMapKey(row.type, row.stateKey)) !== row.eventNid);
  const findings = wrong.map(({ type, stateKey }) => `current state of ${type} ${stateKey} is another`);
  if (expected.size !== table.length) {
    findings.push(`current state has ${table.length} keys instead of ${expected.size}`);
  }
  return findings;
}

/** One accepted create event; no event that was rejected; ids that are the hashes of what is stored. */
function checkEvents(room: Room, state: readonly StoredEvent[]): string[] {
  const findings: string[] = [];
  const creates = state.filter(({ event }) => event.type === 'm.room.create' && event.stateKey === '');
  if (creates.length !== 1) findings.push(`the state has ${creates.length} create events`);
  for (const { event, status } of state) {
    if (status === 'rejected') findings.push(`${event.eventId} is in the state, and was rejected`);
    if (event.roomId !== room.roomId) findings.push(`${event.eventId} is of another room`);
    if (eventIdOf(event.pdu, event.rules) !== event.eventId)
      findings.push(`${event.eventId} has another hash`);
  }
  return findings;
}

/**
 * Memberships are what the members of the state say. Of a room that the server is not in, our own users may have been
 * told more: that they are invited, or no longer.
 */
async function checkMemberships(
  ctx: CheckContext,
  room: Room,
  state: readonly StoredEvent[],
): Promise<string[]> {
  const rows = await memberships.inRoom(ctx.db, room.roomNid);
  const told = new Map<string, string>(rows.map((row) => [row.userId, row.membership]));
  const isIn = await memberships.serverIsIn(ctx.db, room.roomNid, ctx.serverName);
  const findings: string[] = [];
  for (const { event } of state) {
    if (event.type !== 'm.room.member' || event.stateKey === undefined) continue;
    const [stated, row] = [membershipOf(event), told.get(event.stateKey)];
    const mayDiffer = !isIn && belongsTo(event.stateKey, ctx.serverName);
    if (row !== stated && isUserId(event.stateKey) && !mayDiffer)
      findings.push(`membership of ${event.stateKey} is ${row} instead of ${stated}`);
    told.delete(event.stateKey);
  }
  for (const [userId, membership] of told) {
    if (membership === 'join') findings.push(`${userId} is joined without an event that says so`);
  }
  return findings;
}

/** Extremities are accepted, and none cites another. */
async function checkExtremities(ctx: CheckContext, room: Room): Promise<string[]> {
  const nids = await eventEdges.forwardExtremities(ctx.db, room.roomNid);
  const extremities = await loadNids(ctx, nids);
  if (nids.length === 0) return ['there are no forward extremities'];
  const cited = new Set<EventId>([...extremities.values()].flatMap(({ event }) => event.prevEvents));
  const wrong = [...extremities.values()].filter(
    ({ event, status, position }) =>
      status !== 'accepted' ||
      (position === undefined && event.type !== DUMMY_EVENT) ||
      cited.has(event.eventId),
  );
  return wrong.map(({ event }) => `${event.eventId} is no forward extremity`);
}

/** The current state of a room against what makes it: its forward extremities. */

import type { EventId } from '#keys/ids.ts';
import * as checkEvents from '#storage/check-events.ts';
import * as currentState from '#storage/current-state.ts';
import * as eventEdges from '#storage/event-edges.ts';
import { load } from '#storage/state-groups.ts';
import { keysOf } from '#storage/state-keys.ts';
import { type Event, stateMapKey } from '../event.ts';
import { loadNids } from '../load.ts';
import { DUMMY_EVENT } from '../persist.ts';
import { groupRef, resolveGroups, stateIds } from '../resolve-state.ts';
import type { Room } from '../room.ts';
import type { StoredEvent } from '../stored-event.ts';
import type { CheckContext } from './context.ts';
import { MembershipCheck } from './memberships.ts';
import { findingsOrDamage } from './steady.ts';

/** Events in memory at once, whatever the size of the state. */
const AT_ONCE = 500;

type Row = { readonly type: string; readonly stateKey: string; readonly eventNid: number };

/** What does not hold of a room's current state, its members and its extremities. */
export async function checkCurrentState(
  ctx: CheckContext,
  room: Room,
  stateGroup: number,
): Promise<string[]> {
  const table = await currentState.all(ctx.db, room.roomNid);
  return [
    ...(await findingsOrDamage('the current state', () => checkTable(ctx, stateGroup, table))),
    ...(await findingsOrDamage('the current state', () => checkStateEvents(ctx, room, table))),
    ...(await findingsOrDamage('the newest events', () => checkExtremities(ctx, room, stateGroup))),
  ];
}

/** The table of the current state is the state that the room's row names. */
async function checkTable(ctx: CheckContext, stateGroup: number, table: readonly Row[]): Promise<string[]> {
  const group = await load(ctx.db, stateGroup);
  const keys = await keysOf(ctx.db, group.keys());
  const expected = new Map<string, number>();
  for (const [keyNid, eventNid] of group) {
    const key = keys.get(keyNid);
    if (key !== undefined) expected.set(stateMapKey(key.type, key.stateKey), eventNid);
  }
  const wrong = table.filter((row) => expected.get(stateMapKey(row.type, row.stateKey)) !== row.eventNid);
  const findings = wrong.map(
    ({ type, stateKey }) => `the current state has another ${type} "${stateKey}" than the newest events make`,
  );
  if (expected.size !== table.length) {
    findings.push(`the current state has ${table.length} entries instead of ${expected.size}`);
  }
  return findings;
}

/** One create event; no event that was rejected or is missing; members as the state says. */
async function checkStateEvents(ctx: CheckContext, room: Room, table: readonly Row[]): Promise<string[]> {
  const findings: string[] = [];
  const members = await MembershipCheck.of(ctx, room);
  const creates = table.filter(({ type, stateKey }) => type === 'm.room.create' && stateKey === '');
  if (creates.length !== 1) findings.push(`the state has ${creates.length} create events`);
  for (let from = 0; from < table.length; from += AT_ONCE) {
    const rows = table.slice(from, from + AT_ONCE);
    // Portion by portion: a state may hold more than memory should.
    const loaded = await loadNids(
      ctx,
      rows.map(({ eventNid }) => eventNid),
    );
    for (const row of rows) {
      const stored = loaded.get(row.eventNid);
      const key = `${row.type} "${row.stateKey}"`;
      if (stored === undefined) findings.push(`the event of ${key} in the current state is missing`);
      else findings.push(...checkStateEvent(room, stored, row), ...members.check(stored.event));
    }
    findings.push(...(await checkClosed(ctx, room, [...loaded.values()])));
  }
  return [...findings, ...members.left()];
}

function checkStateEvent(room: Room, { event, roomNid, status }: StoredEvent, row: Row): string[] {
  const findings: string[] = [];
  if (status === 'rejected') findings.push(`${event.eventId} is in the state, and was rejected`);
  if (roomNid !== room.roomNid || event.roomId !== room.roomId)
    findings.push(`${event.eventId} is in the state, and of another room`);
  if (event.type !== row.type || event.stateKey !== row.stateKey)
    findings.push(`${event.eventId} is in the state as ${row.type} "${row.stateKey}", which it is not`);
  return findings;
}

/** What authorises the state is stored; what authorises that, the check of each event says. */
async function checkClosed(ctx: CheckContext, room: Room, state: readonly StoredEvent[]): Promise<string[]> {
  const cited = await checkEvents.cited(ctx.db, new Set(state.flatMap(({ event }) => event.authEvents)));
  return state.flatMap(({ event }) => missingAuth(event, room, cited));
}

function missingAuth(event: Event, room: Room, cited: ReadonlyMap<EventId, checkEvents.Cited>): string[] {
  return event.authEvents
    .filter((eventId) => cited.get(eventId)?.roomNid !== room.roomNid)
    .map((eventId) => `${event.eventId} is in the state, and ${eventId}, which authorises it, is missing`);
}

/** Extremities are accepted events that none of them cites, and the state is what they make together. */
async function checkExtremities(ctx: CheckContext, room: Room, stateGroup: number): Promise<string[]> {
  const nids = await eventEdges.forwardExtremities(ctx.db, room.roomNid);
  if (nids.length === 0) return ['there is no newest event (forward extremity)'];
  const extremities = [...(await loadNids(ctx, nids)).values()];
  const cited = new Set<EventId>(extremities.flatMap(({ event }) => event.prevEvents));
  const wrong = extremities.filter(
    ({ event, status, position, roomNid }) =>
      status !== 'accepted' ||
      (position === undefined && event.type !== DUMMY_EVENT) ||
      roomNid !== room.roomNid ||
      cited.has(event.eventId),
  );
  const findings = wrong.map(({ event }) => `${event.eventId} is kept as a newest event, and is none`);
  if (extremities.length !== nids.length) findings.push('a newest event (forward extremity) is missing');
  const groups = extremities.map(({ stateAfter }) => stateAfter).filter((group) => group !== undefined);
  if (findings.length > 0 || groups.length === 0) return findings;
  const expected = await stateIds(ctx, await resolveGroups(ctx, room, groups));
  const actual = await stateIds(ctx, groupRef(stateGroup));
  return differences(expected, actual).map(
    (key) => `the current state of ${key} is not what the newest events resolve to`,
  );
}

/** The keys under which two states differ, for people. */
export function differences(a: ReadonlyMap<string, EventId>, b: ReadonlyMap<string, EventId>): string[] {
  const keys = new Set([...a.keys(), ...b.keys()]);
  return [...keys].filter((key) => a.get(key) !== b.get(key)).map((key) => `${key.replace('\0', ' "')}"`);
}

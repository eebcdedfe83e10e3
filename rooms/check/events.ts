/** Each event of a room: by itself, with its row, and with what it cites. */

import type { EventId } from '#keys/ids.ts';
import * as checkEvents from '#storage/check-events.ts';
import * as eventEdges from '#storage/event-edges.ts';
import * as purge from '#storage/purge.ts';
import * as rooms from '#storage/rooms.ts';
import { difference } from '#storage/state-groups.ts';
import { keysOf } from '#storage/state-keys.ts';
import { membershipOf } from '../event.ts';
import { groupRef, resolveGroups, stateIds } from '../resolve-state.ts';
import type { Room } from '../room.ts';
import { type StoredEvent, storedEventFrom } from '../stored-event.ts';
import type { CheckContext, CheckOptions } from './context.ts';
import { differences } from './current-state.ts';
import { findingsOrDamage, steady } from './steady.ts';
import { checkStored, isMembershipOf } from './stored.ts';

const PAGE = 500;
/** Forks that are resolved again where not all are wished for: each takes as long as the state is large. */
const SOME_FORKS = 20;

/** What does not hold of the events of a room, page by page. */
export async function* checkEventsOf(
  ctx: CheckContext,
  room: Room,
  options: CheckOptions,
): AsyncGenerator<string> {
  const reserved = await checkEvents.reservedUpto(ctx.db);
  const row = await rooms.byNid(ctx.db, room.roomNid);
  // A room that we know by an invitation, or that is being deleted, has no graph.
  const hasGraph = row !== undefined && row.stateGroup !== 0;
  const budget = { forks: options.depth === 'whole' ? Number.POSITIVE_INFINITY : SOME_FORKS };
  let after = checkEvents.BEGINNING;
  let creates = 0;
  for (;;) {
    // Page by page: a room may have millions.
    const rows = await checkEvents.page(ctx.db, room.roomNid, after, PAGE);
    const last = rows.at(-1);
    if (last === undefined) break;
    yield* checkPositions(rows, after, reserved);
    yield* await steady(ctx, room.roomNid, (fresh) => checkPage(fresh, room, { rows, budget, hasGraph }));
    after = { position: last.position ?? undefined, nid: last.event_nid };
    creates += rows.filter(({ type, status }) => type === 'm.room.create' && status !== 'rejected').length;
    options.onProgress?.(rows.length);
  }
  if (creates > 1) yield `${creates} create events are accepted`;
}

/** Positions are the only ones of their kind, and no higher than what was reserved for them. */
function checkPositions(
  rows: readonly checkEvents.CheckedRow[],
  after: checkEvents.After,
  reserved: number,
): string[] {
  const findings: string[] = [];
  let before = after.position;
  for (const { event_id: eventId, position } of rows) {
    if (position === null) continue;
    if (position === before) findings.push(`${eventId} has the position of another event, ${position}`);
    if (position > reserved) findings.push(`${eventId} has the position ${position}, which was not reserved`);
    before = position;
  }
  return findings;
}

interface Page {
  readonly rows: readonly checkEvents.CheckedRow[];
  readonly budget: { forks: number };
  readonly hasGraph: boolean;
}

async function checkPage(ctx: CheckContext, room: Room, { rows, budget, hasGraph }: Page): Promise<string[]> {
  const findings: string[] = [];
  const events: StoredEvent[] = [];
  for (const row of rows) {
    const checked = await checkStored(ctx, room, row);
    findings.push(...checked.findings);
    if (checked.isReadable) events.push(storedEventFrom(row, room.rules));
  }
  if (!hasGraph) return findings;
  const ids = new Set(events.flatMap(({ event }) => [...event.authEvents, ...event.prevEvents]));
  const cited = await checkEvents.cited(ctx.db, ids);
  const missing = new Set([...ids].filter((eventId) => cited.get(eventId)?.stateAfter === undefined));
  const backward = await checkEvents.backwardAmong(ctx.db, room.roomNid, missing);
  const isPurged = await purge.isPurged(ctx.db, room.roomNid);
  const newest = new Set(await eventEdges.forwardExtremities(ctx.db, room.roomNid));
  for (const stored of events) {
    findings.push(...checkAuthEvents(ctx, room, stored, cited));
    findings.push(...checkPrevEvents(stored, { cited, backward, newest, isPurged }));
    const what = `the state at ${stored.event.eventId}`;
    findings.push(...(await findingsOrDamage(what, () => checkStates(ctx, room, stored, { cited, budget }))));
  }
  return findings;
}

/** What authorises an event is stored, of the room, and was not rejected where the event was not. */
function checkAuthEvents(
  ctx: CheckContext,
  room: Room,
  { event, status }: StoredEvent,
  cited: ReadonlyMap<EventId, checkEvents.Cited>,
): string[] {
  // What came with an invitation to a room that we are not in comes without what authorises it.
  const mayStandAlone = status === 'outlier' && isMembershipOf(event, ctx.serverName);
  const findings: string[] = [];
  for (const authEventId of event.authEvents) {
    const authEvent = cited.get(authEventId);
    const authorising = `${authEventId}, which authorises ${event.eventId},`;
    if (authEvent === undefined && !mayStandAlone) findings.push(`${authorising} is missing`);
    if (authEvent === undefined || status === 'rejected') continue;
    if (authEvent.roomNid !== room.roomNid) findings.push(`${authorising} is of another room`);
    if (authEvent.status === 'rejected') findings.push(`${authorising} was rejected`);
  }
  return findings;
}

/** What an accepted event follows has its place, or is known to be missing; and is no newest event any more. */
function checkPrevEvents(
  { event, status, position }: StoredEvent,
  at: {
    readonly cited: ReadonlyMap<EventId, checkEvents.Cited>;
    readonly backward: ReadonlySet<EventId>;
    readonly newest: ReadonlySet<number>;
    readonly isPurged: boolean;
  },
): string[] {
  if (status !== 'accepted' || position === undefined) return [];
  const findings: string[] = [];
  for (const prevEventId of event.prevEvents) {
    const prevEvent = at.cited.get(prevEventId);
    // What was purged is gone without a trace.
    if (prevEvent?.stateAfter === undefined && !at.backward.has(prevEventId) && !at.isPurged)
      findings.push(`${prevEventId}, which ${event.eventId} follows, is missing, and not noted as such`);
    // History that somebody tells later leads nothing on.
    if (position > 0 && prevEvent !== undefined && at.newest.has(prevEvent.nid))
      findings.push(`${prevEventId} is kept as a newest event, and ${event.eventId} follows it`);
  }
  return findings;
}

/** The state after an event is that before it with the event; the state before it is what its prev events make. */
async function checkStates(
  ctx: CheckContext,
  room: Room,
  stored: StoredEvent,
  at: { readonly cited: ReadonlyMap<EventId, checkEvents.Cited>; readonly budget: { forks: number } },
): Promise<string[]> {
  const { event, stateBefore, stateAfter } = stored;
  if (stateBefore === undefined || stateAfter === undefined) {
    return stored.position === undefined ? [] : [`the state at ${event.eventId} is missing`];
  }
  const findings = await checkChange(ctx, stored, { before: stateBefore, after: stateAfter });
  const groups = mayBeTold(ctx, stored) ? undefined : groupsBefore(stored, at.cited);
  if (groups === undefined) return findings;
  const [only] = groups;
  if (groups.size === 1 && only === stateBefore) return findings;
  if (groups.size > 1 && at.budget.forks-- <= 0) return findings;
  const expected = await stateIds(ctx, await resolveGroups(ctx, room, groups));
  const actual = await stateIds(ctx, groupRef(stateBefore));
  for (const key of differences(expected, actual))
    findings.push(`the state before ${event.eventId} has another ${key} than the events before make`);
  return findings;
}

async function checkChange(
  ctx: CheckContext,
  { event, nid, status }: StoredEvent,
  state: { readonly before: number; readonly after: number },
): Promise<string[]> {
  const changes = await difference(ctx.db, state.before, state.after);
  const [change] = changes;
  const changesState = event.stateKey !== undefined && status !== 'rejected';
  if (changes.length === 0) {
    // One that was rejected once, and counts again, has left the state after it as it was.
    return changesState && status === 'accepted' ? [`${event.eventId} is not in the state after it`] : [];
  }
  const key = change === undefined ? undefined : (await keysOf(ctx.db, [change.key])).get(change.key);
  const isOwn =
    changes.length === 1 && change?.b === nid && key?.type === event.type && key.stateKey === event.stateKey;
  return isOwn && changesState ? [] : [`the state after ${event.eventId} has other changes than the event`];
}

/** With the join by which the server came into a room it was told the state before it, whatever it had known. */
function mayBeTold({ serverName }: CheckContext, { event }: StoredEvent): boolean {
  return isMembershipOf(event, serverName) && membershipOf(event) === 'join';
}

/**
 * The states after the prev events, where the state before an event was made of them. Undefined where it may be that
 * another server told it: where one is missing, or came later, or may have.
 */
function groupsBefore(
  { event, position }: StoredEvent,
  cited: ReadonlyMap<EventId, checkEvents.Cited>,
): Set<number> | undefined {
  if (position === undefined || position < 0 || event.prevEvents.length === 0) return undefined;
  const groups = new Set<number>();
  for (const prevEventId of event.prevEvents) {
    const prevEvent = cited.get(prevEventId);
    const at = prevEvent?.position;
    if (prevEvent?.stateAfter === undefined || at === undefined || at < 0 || at > position) return undefined;
    groups.add(prevEvent.stateAfter);
  }
  return groups;
}

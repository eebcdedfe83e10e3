/**
 * The history of a room from before we joined it, when somebody reads that far back.
 *
 * 1. Where our history ends: events that ours cite and we do not have.
 * 2. backfill: these and what came before them, from a server in the room.
 * 3. The oldest of them follow events that we do not have either: the state before each is asked for.
 * 4. All are received, oldest first, at positions before everything that we have.
 */

import type { EventId, ServerName } from '#keys/ids.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { loadEvents } from '#rooms/load.ts';
import { type Received, type ReceiveOptions, receive, reserveHistory } from '#rooms/receive.ts';
import type { Room } from '#rooms/room.ts';
import { isPlaced } from '#rooms/stored-event.ts';
import { Lru } from '#storage/lru.ts';
import * as memberships from '#storage/memberships.ts';
import { fetchAuthEvents, fetchStateBefore } from '../inbound/outliers.ts';
import { type Budget, newBudget, type PullContext } from '../inbound/source.ts';
import { verifiedOf } from '../inbound/verify.ts';
import { backfill } from '../remote/events.ts';
import { HistoryRim } from './rim.ts';

const MOST_EVENTS = 100;
const LEAST_EVENTS = 20;
/** How often others of the rim are asked for while nothing comes of it. */
const MOST_ROUNDS = 5;
const MOST_SERVERS = 3;
/** A client waits for it. */
const DEADLINE_MS = 30_000;
const REQUEST_TIMEOUT_MS = 15_000;
/** After nothing could be had. */
const RETRY_MS = 60_000;
const MOST_ROOMS = 10_000;

interface Progress {
  readonly flights: Map<number, Promise<boolean>>;
  /** When nothing could be had of a room, in milliseconds since 1970. */
  readonly failures: Lru<number, number>;
  readonly rim: HistoryRim;
}

const progress = new WeakMap<PullContext['rooms'], Progress>();

/**
 * Fetches some history of the room, `limit` events or so; true where there is more of it now. One at a time for a
 * room: who comes meanwhile waits for the same. Where nothing can be had the room is left alone for a minute.
 */
export function fillHistory(
  ctx: PullContext,
  room: Room,
  _fromPosition: number,
  limit: number,
): Promise<boolean> {
  const { flights, failures } = progressOf(ctx);
  const running = flights.get(room.roomNid);
  if (running !== undefined) return running;
  const failedTs = failures.get(room.roomNid);
  if (failedTs !== undefined && Math.abs(ctx.clock.now() - failedTs) < RETRY_MS) {
    return Promise.resolve(false);
  }
  const flight = fill(ctx, room, Math.min(Math.max(limit, LEAST_EVENTS), MOST_EVENTS)).finally(() => {
    flights.delete(room.roomNid);
  });
  flights.set(room.roomNid, flight);
  return flight;
}

function progressOf(ctx: PullContext): Progress {
  const known = progress.get(ctx.rooms);
  if (known !== undefined) return known;
  const made: Progress = {
    flights: new Map(),
    failures: new Lru({ maxEntries: MOST_ROOMS }),
    rim: new HistoryRim(),
  };
  progress.set(ctx.rooms, made);
  return made;
}

async function fill(ctx: PullContext, room: Room, limit: number): Promise<boolean> {
  const from = { limit, signal: AbortSignal.timeout(DEADLINE_MS) };
  const { rim, failures } = progressOf(ctx);
  const asked = new Set<EventId>();
  for (let round = 0; round < MOST_ROUNDS && !from.signal.aborted; round++) {
    // Round by round: mostly the first one is all of the rim, and brings something.
    const portion = await rim.next(ctx.db, room.roomNid);
    if (portion.every((eventId) => asked.has(eventId))) break;
    for (const eventId of portion) asked.add(eventId);
    if (await fillFromPortion(ctx, room, portion, from)) return true;
  }
  failures.set(room.roomNid, ctx.clock.now());
  return false;
}

/**
 * Asks for a portion of the rim, and for one after the other where that brings nothing: a server gives the newest of
 * what it has of them, which may be what we do not take, or have.
 */
async function fillFromPortion(
  ctx: PullContext,
  room: Room,
  portion: readonly EventId[],
  from: { readonly limit: number; readonly signal: AbortSignal },
): Promise<boolean> {
  if (await fillFrom(ctx, room, portion, from)) return true;
  const { rim } = progressOf(ctx);
  for (const eventId of portion.length > 1 ? rim.fresh(room.roomNid, portion) : []) {
    if (from.signal.aborted) return false;
    // One after the other: the first that brings something is enough.
    if (await fillFrom(ctx, room, [eventId], from)) return true;
    rim.wasInVain(room.roomNid, [eventId]);
  }
  return false;
}

/**
 * Fetches events and what comes before them, `limit` or so, whether or not our history leads back to them; true where
 * something came of it.
 */
export async function fillFrom(
  ctx: PullContext,
  room: Room,
  rim: readonly EventId[],
  { limit, signal }: { readonly limit: number; readonly signal: AbortSignal },
): Promise<boolean> {
  for (const origin of await serversFor(ctx, room)) {
    // One server after the other: mostly the first one answers.
    const query = { roomId: room.roomId, from: rim, limit };
    const answer = await backfill(ctx, origin, query, { signal, timeoutMs: REQUEST_TIMEOUT_MS });
    if (answer.kind === 'failed') continue;
    const events = await verifiedOf(ctx, room.rules, answer.value, signal);
    if (await receiveHistory(ctx, room, behind(rim, events), { origin, signal })) return true;
    if (signal.aborted) break;
  }
  return false;
}

/** Those of the events that the rim leads back to: whatever else was told is no history of what we have. */
function behind(rim: readonly EventId[], told: readonly VerifiedEvent[]): VerifiedEvent[] {
  const byId = new Map(told.map((event) => [event.eventId, event]));
  const reached = new Set(rim);
  const found: VerifiedEvent[] = [];
  // A set hands out what is added to it while it is walked.
  for (const eventId of reached) {
    const event = byId.get(eventId);
    if (event === undefined) continue;
    found.push(event);
    for (const prevEventId of event.prevEvents) reached.add(prevEventId);
  }
  return found;
}

/** Servers in the room: those of its first members first, for they have the most of its history. */
export async function serversFor(ctx: PullContext, room: Room): Promise<ServerName[]> {
  const members = await memberships.inRoom(ctx.db, room.roomNid, 'join');
  const byAge = [...members].sort((a, b) => a.eventNid - b.eventNid);
  const servers = new Set(byAge.map(({ serverName }) => serverName));
  servers.delete(ctx.serverName);
  return [...servers].slice(0, MOST_SERVERS);
}

/** Steps 3 and 4. True where an event got its place. */
async function receiveHistory(
  ctx: PullContext,
  room: Room,
  told: readonly VerifiedEvent[],
  from: { readonly origin: ServerName; readonly signal: AbortSignal },
): Promise<boolean> {
  const events = await newOnes(ctx, room, told);
  if (events.length === 0) return false;
  const positions = await reserveHistory(ctx, events.length);
  const budget = newBudget();
  let received = false;
  for (const [index, event] of events.entries()) {
    // Oldest first: each may be a prev event of the next.
    const historyPosition = positions[index];
    if (historyPosition === undefined) break;
    const how: ReceiveOptions = { as: 'history', historyPosition };
    const result = await receiveOne(ctx, room, event, { ...from, budget, how });
    received ||= result.kind === 'accepted';
  }
  return received;
}

/** Those of the room that have no place yet, oldest first. */
async function newOnes(
  ctx: PullContext,
  room: Room,
  told: readonly VerifiedEvent[],
): Promise<VerifiedEvent[]> {
  const unique = new Map(told.map((event) => [event.eventId, event]));
  const stored = await loadEvents(ctx, unique.keys());
  return [...unique.values()]
    .filter((event) => event.roomId === room.roomId && !isPlaced(stored.get(event.eventId)))
    .sort((a, b) => a.depth - b.depth || a.originServerTs - b.originServerTs);
}

async function receiveOne(
  ctx: PullContext,
  room: Room,
  event: VerifiedEvent,
  from: {
    readonly origin: ServerName;
    readonly signal: AbortSignal;
    readonly budget: Budget;
    readonly how: ReceiveOptions;
  },
): Promise<Received> {
  const { how, budget, signal } = from;
  const first = await receive(ctx, room, event, how);
  if (first.kind !== 'missing') return first;
  if (first.auth.length > 0) {
    await fetchAuthEvents(ctx, room, event, { missing: first.auth, source: from });
    const second = await receive(ctx, room, event, how);
    if (second.kind !== 'missing' || second.auth.length > 0) return second;
  }
  if (budget.states <= 0 || signal.aborted) return first;
  budget.states -= 1;
  const stateBefore: readonly EventId[] | undefined = await fetchStateBefore(ctx, room, event, from);
  return stateBefore === undefined ? first : receive(ctx, room, event, { ...how, stateBefore });
}

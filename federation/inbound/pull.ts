/**
 * Brings an event of another server into its room, with all that it needs and we lack. `receive` says what is
 * missing; here it is fetched, within a budget and a deadline, and `receive` is asked again.
 *
 * 1. Prev events that are missing: by get_missing_events, round by round, towards the past.
 * 2. What is received is received oldest first.
 * 3. Auth events that are not among it: by event_auth, then one by one.
 * 4. Where a gap stays: the state across it, by state_ids, and the room goes on from there. Most of the auth events
 *    are part of that state, so that those of the event on the near side of the gap are looked for after it.
 * 5. What cannot be had in the end is answered as missing: one event never holds up the room. Where servers said that
 *    they do not have it that is the end; where some did not answer, it may be had later (`postponed.ts`).
 */

import type { EventId } from '#keys/ids.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { loadEvents } from '#rooms/load.ts';
import { type Asked, askedToSign, isUnsigned } from '#rooms/policy.ts';
import { type Received, receive } from '#rooms/receive.ts';
import { receiveRun } from '#rooms/receive-run.ts';
import type { Room } from '#rooms/room.ts';
import { headOf } from '#rooms/room-head.ts';
import { isPlaced } from '#rooms/stored-event.ts';
import { withSignatures } from '../policy/ask-each.ts';
import { getMissingEvents } from '../remote/events.ts';
import { fetchAuthEvents, fetchStateBefore, noted } from './outliers.ts';
import { type PullContext, type Source, sourcesOf } from './source.ts';
import { verifiedFrom } from './verify.ts';

/** "The maximum number of events to retrieve": no server gives more. */
const EVENTS_PER_ROUND = 20;
/** "Up to the provided limit": who gives fewer has no more. But some give no more than what it "defaults to". */
const LEAST_PER_ROUND = 10;
const MOST_ROUNDS = 15;
const ROUND_TIMEOUT_MS = 15_000;
const MOST_EARLIEST = 20;

/** Events that wait for others, by id. */
class Pending extends Map<EventId, VerifiedEvent> {
  /** Auth events that were asked for: what did not come then is not asked for in each turn. */
  readonly asked = new Set<EventId>();
}

/**
 * What became of an event; `isUnanswered` where what is missing could not be asked for, or not in time: that may be the
 * signature of the policy server alone, without which the event is soft-failed until then.
 */
export type Pulled = Received & { readonly isUnanswered: boolean };

/** Receives an event that happens now. `missing` where what it needs cannot be had. */
export async function pull(
  ctx: PullContext,
  room: Room,
  unsigned: VerifiedEvent,
  source: Source,
): Promise<Pulled> {
  // What happened before it in its batch may have changed whom the room asks.
  const asked = await askedToSign(ctx, room, unsigned);
  const event = asked.kind === 'event' ? asked.event : unsigned;
  const received = await receive(ctx, room, event, { as: 'live' });
  if (received.kind !== 'missing') return withAnswer(received, asked);
  const unansweredBefore = source.budget.unanswered;
  const pending = new Pending([[event.eventId, event]]);
  await fetchGap(ctx, room, pending, source);
  let left = await receivePending(ctx, room, pending, source);
  // Each turn receives one event at least, or gives it up.
  while (pending.size > 0) {
    await crossGap(ctx, room, { pending, left }, source);
    left = await receivePending(ctx, room, pending, source);
  }
  // What became of it is stored by now.
  const last = await receive(ctx, room, event, { as: 'live' });
  if (last.kind !== 'missing') return withAnswer(last, asked);
  return { ...last, isUnanswered: source.budget.unanswered > unansweredBefore };
}

function withAnswer(received: Exclude<Received, { kind: 'missing' }>, asked: Asked): Pulled {
  return { ...received, isUnanswered: asked.kind === 'unanswered' && isUnsigned(received) };
}

/**
 * Step 1: adds what lies between the room and what is pending, as far as the origin has it; what it does not give,
 * others in the room may.
 */
async function fetchGap(ctx: PullContext, room: Room, pending: Pending, source: Source): Promise<void> {
  const head = await headOf(ctx, room.roomNid);
  const earliest = head.forwardExtremities.slice(-MOST_EARLIEST).map(({ eventId }) => eventId);
  let latest = await rimOf(ctx, pending);
  if (latest.length === 0) return;
  let rounds = 0;
  for (const origin of await sourcesOf(ctx, room, source)) {
    // One server after the other: each goes on where the one before it had no more.
    while (latest.length > 0 && rounds < MOST_ROUNDS && source.budget.events > 0) {
      if (source.signal.aborted) break;
      rounds += 1;
      const at = { earliest, latest, pending };
      if (!(await fetchRound(ctx, room, at, { ...source, origin }))) break;
      latest = await rimOf(ctx, pending);
    }
  }
  const isCutShort = source.signal.aborted || rounds >= MOST_ROUNDS || source.budget.events <= 0;
  if (latest.length > 0 && isCutShort) source.budget.unanswered += 1;
}

/** Asks once for what is missing; false where nothing new came, or the server has no more. */
async function fetchRound(
  ctx: PullContext,
  room: Room,
  at: {
    readonly earliest: readonly EventId[];
    readonly latest: readonly EventId[];
    readonly pending: Pending;
  },
  source: Source,
): Promise<boolean> {
  const { origin, signal, budget } = source;
  const { earliest, latest, pending } = at;
  const query = { roomId: room.roomId, earliest, latest, limit: EVENTS_PER_ROUND, minDepth: 0 };
  const options = { signal, timeoutMs: ROUND_TIMEOUT_MS };
  const answer = noted(await getMissingEvents(ctx, origin, query, options), budget);
  if (answer.kind === 'failed') return false;
  const events = await verifiedFrom(ctx, room.rules, answer.value, source);
  const fresh = events.filter((event) => event.roomId === room.roomId && !pending.has(event.eventId));
  const signed = await withSignatures(ctx, room, fresh.slice(0, Math.max(0, budget.events)));
  for (const event of signed) pending.set(event.eventId, event);
  budget.events -= fresh.length;
  return fresh.length > 0 && answer.value.length >= LEAST_PER_ROUND;
}

/** The pending events with prev events that are neither pending nor placed. */
async function rimOf(ctx: PullContext, pending: Pending): Promise<EventId[]> {
  const cited = [...pending.values()].flatMap((event) => event.prevEvents);
  const outside = await unplacedOf(
    ctx,
    cited.filter((eventId) => !pending.has(eventId)),
  );
  const latest = [...pending.values()].filter((event) => event.prevEvents.some((id) => outside.has(id)));
  return latest.map(({ eventId }) => eventId);
}

/** Those of the events that have no place in the graph. */
async function unplacedOf(ctx: PullContext, eventIds: Iterable<EventId>): Promise<Set<EventId>> {
  const unplaced = new Set(eventIds);
  for (const [eventId, stored] of await loadEvents(ctx, unplaced)) {
    if (isPlaced(stored)) unplaced.delete(eventId);
  }
  return unplaced;
}

/** Steps 2 and 3: receives what can be, oldest first. Answers the rest, oldest first, which stays pending. */
async function receivePending(
  ctx: PullContext,
  room: Room,
  pending: Pending,
  source: Source,
): Promise<VerifiedEvent[]> {
  for (;;) {
    const events = oldestFirst(pending);
    // What fills a gap is mostly one line from where the room stands.
    const taken = await receiveRun(ctx, room, events);
    for (const { eventId } of events.slice(0, taken)) pending.delete(eventId);
    let progress = taken > 0;
    const left: VerifiedEvent[] = [];
    for (const event of events.slice(taken)) {
      // In order: each may be a prev event of the next.
      const received = await receiveWithAuth(ctx, room, { event, pending }, source);
      if (received.kind === 'missing') left.push(event);
      else progress = pending.delete(event.eventId) || progress;
    }
    if (!progress || left.length === 0) return left;
  }
}

/**
 * Receives an event; fetches auth events that it lacks, unless they are pending themselves, or the event is at a gap
 * that has not been crossed.
 */
async function receiveWithAuth(
  ctx: PullContext,
  room: Room,
  at: { readonly event: VerifiedEvent; readonly pending: Pending; readonly isCrossed?: boolean },
  source: Source,
): Promise<Received> {
  const { pending, isCrossed = false } = at;
  // What is received before it may have changed whom the room asks.
  const [event = at.event] = await withSignatures(ctx, room, [at.event]);
  const received = await receive(ctx, room, event, { as: 'live' });
  if (received.kind !== 'missing') return received;
  const missing = received.auth.filter((eventId) => !pending.has(eventId) && !pending.asked.has(eventId));
  if (missing.length === 0) return received;
  if (!isCrossed && (await unplacedOf(ctx, event.prevEvents)).size > 0) return received;
  for (const eventId of missing) pending.asked.add(eventId);
  await fetchAuthEvents(ctx, room, event, { missing, source });
  return receive(ctx, room, event, { as: 'live' });
}

/** Step 4: gives the oldest event that waits a state, so that it can be received; or gives it up. */
async function crossGap(
  ctx: PullContext,
  room: Room,
  { pending, left }: { readonly pending: Pending; readonly left: readonly VerifiedEvent[] },
  source: Source,
): Promise<void> {
  const oldest = left.find((event) => !event.prevEvents.some((id) => pending.has(id))) ?? left[0];
  if (oldest === undefined) return;
  pending.delete(oldest.eventId);
  const { budget, signal } = source;
  if (budget.states <= 0 || signal.aborted) {
    budget.unanswered += 1;
    return;
  }
  // A state does not help an event that lacks auth events which nobody has.
  const lacking = await receive(ctx, room, oldest, { as: 'live' });
  if (lacking.kind !== 'missing' || lacking.auth.some((eventId) => pending.asked.has(eventId))) return;
  const gap = await unplacedOf(ctx, oldest.prevEvents);
  if (gap.size === 0) return;
  budget.states -= 1;
  const at = { eventId: oldest.eventId, prevEventId: gap.size === 1 ? [...gap][0] : undefined };
  const stateBefore = await fetchStateBefore(ctx, room, at, source);
  if (stateBefore === undefined) return;
  const received = await receiveWithAuth(ctx, room, { event: oldest, pending, isCrossed: true }, source);
  // What is rejected by its auth events needs no state.
  if (received.kind === 'missing') await receive(ctx, room, oldest, { as: 'live', stateBefore });
}

function oldestFirst(pending: Pending): VerifiedEvent[] {
  return [...pending.values()].sort((a, b) => a.depth - b.depth || a.originServerTs - b.originServerTs);
}

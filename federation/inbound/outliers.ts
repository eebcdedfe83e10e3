/** Events that are only part of a state or an auth chain: fetched by id, verified, and stored without a place. */

import type { EventId } from '#keys/ids.ts';
import { Lanes } from '#keys/lanes.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { loadEvent } from '#rooms/load.ts';
import { receive } from '#rooms/receive.ts';
import { receiveOutliers } from '#rooms/receive-outliers.ts';
import type { Room } from '#rooms/room.ts';
import { inAuthOrder } from '#rooms/told/judge-told.ts';
import * as events from '#storage/events.ts';
import { isForGood, type Remote } from '../remote/answer.ts';
import { getEvent, getEventAuth, getState, getStateIds } from '../remote/events.ts';
import { asMade } from './as-made.ts';
import { type Budget, type PullContext, type Source, sourcesOf } from './source.ts';
import { verifiedFrom } from './verify.ts';

const AT_ONCE = 8;
/** How far from an event its auth events are followed one by one. */
const MOST_ROUNDS = 10;
/** More missing events than this are had more cheaply by fetching the state as a whole. */
const MOST_BY_ID = 50;
const EVENT_TIMEOUT_MS = 10_000;
const STATE_TIMEOUT_MS = 60_000;

/** Fetches the auth events that an event cites and the server lacks, as far as they can be had. */
export async function fetchAuthEvents(
  ctx: PullContext,
  room: Room,
  event: VerifiedEvent,
  { missing, source }: { readonly missing: readonly EventId[]; readonly source: Source },
): Promise<void> {
  const { signal, budget } = source;
  const at = { roomId: room.roomId, eventId: event.eventId };
  const options = { signal, timeoutMs: EVENT_TIMEOUT_MS };
  let wanted = missing;
  for (const origin of await sourcesOf(ctx, room, source)) {
    // One server after the other: mostly the first one has them.
    const chain = noted(await getEventAuth(ctx, origin, at, options), budget);
    const texts = chain.kind === 'ok' ? chain.value : [];
    const told = await verifiedFrom(ctx, room.rules, texts, source);
    await fetchOutliers(ctx, room, { wanted, told, source: { ...source, origin } });
    wanted = await missingOf(ctx, new Set(wanted));
    if (wanted.length === 0 || signal.aborted) return;
  }
}

/**
 * The state before an event as a server that knows it tells: the ids, with the events stored as far as they can be
 * had, later ones in place of earlier ones. Undefined where no server tells a state that can be had whole.
 *
 * `prevEventId`: the one event that lies between it and what is here. The state after that one is asked for first: it
 * is older, so that servers have it which the event itself has not reached yet.
 */
export async function fetchStateBefore(
  ctx: PullContext,
  room: Room,
  { eventId, prevEventId }: { readonly eventId: EventId; readonly prevEventId?: EventId | undefined },
  source: Source,
): Promise<readonly EventId[] | undefined> {
  for (const origin of await sourcesOf(ctx, room, source)) {
    if (source.signal.aborted) {
      source.budget.unanswered += 1;
      return undefined;
    }
    const from = { ...source, origin };
    // One server after the other: mostly the first one answers.
    const after = prevEventId && (await stateAfterFrom(ctx, room, prevEventId, from));
    const state = after ?? (await stateFrom(ctx, room, eventId, from));
    if (state !== undefined) return state;
  }
  return undefined;
}

/** The state after an event: that before it, and then the event itself, where it is one of state. */
async function stateAfterFrom(
  ctx: PullContext,
  room: Room,
  eventId: EventId,
  source: Source,
): Promise<readonly EventId[] | undefined> {
  const before = await stateFrom(ctx, room, eventId, source);
  if (before === undefined) return undefined;
  const stored = await loadEvent(ctx, eventId);
  if (stored !== undefined) return [...before, eventId];
  const { events: told } = await fetchByIds(ctx, room, [eventId], source);
  // Without it there is no telling what it does to the state.
  const [event] = told;
  if (event === undefined || event.roomId !== room.roomId) return undefined;
  if (event.stateKey === undefined) return before;
  await fetchOutliers(ctx, room, { wanted: [eventId], told, source });
  const isStored = (await loadEvent(ctx, eventId)) !== undefined;
  return isStored ? [...before, eventId] : undefined;
}

async function stateFrom(
  ctx: PullContext,
  room: Room,
  eventId: EventId,
  source: Source,
): Promise<readonly EventId[] | undefined> {
  const { origin, signal } = source;
  const at = { roomId: room.roomId, eventId };
  const options = { signal, timeoutMs: STATE_TIMEOUT_MS };
  const ids = noted(await getStateIds(ctx, origin, at, options), source.budget);
  if (ids.kind === 'failed' || ids.value.state.length === 0) return undefined;
  const { state, authChain } = ids.value;
  const missing = await missingOf(ctx, new Set([...authChain, ...state]));
  if (missing.length === 0) return state;
  let told: VerifiedEvent[] = [];
  if (missing.length > MOST_BY_ID) {
    const whole = noted(await getState(ctx, origin, at, options), source.budget);
    if (whole.kind === 'failed') return undefined;
    told = await verifiedFrom(ctx, room.rules, [...whole.value.authChain, ...whole.value.state], source);
  }
  const complete = await fetchOutliers(ctx, room, { wanted: missing, told, source });
  return complete ? state : undefined;
}

/**
 * Stores events that are wanted, and what they need: from those that a server has `told`, else one by one. False
 * where one could not be asked for; one that was refused, or is not valid, is not worth waiting for.
 */
export async function fetchOutliers(
  ctx: PullContext,
  room: Room,
  from: {
    readonly wanted: readonly EventId[];
    readonly told: readonly VerifiedEvent[];
    readonly source: Source;
  },
): Promise<boolean> {
  const { source } = from;
  const waiting = new Map(from.told.map((event) => [event.eventId, event]));
  const asked = new Set<EventId>();
  let complete = true;
  let wanted = from.wanted;
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const toAsk = wanted.filter((eventId) => !waiting.has(eventId) && !asked.has(eventId));
    // Round by round: what one event needs is known only when it is there.
    const fetched = await fetchByIds(ctx, room, toAsk, source);
    for (const eventId of toAsk) asked.add(eventId);
    complete &&= fetched.complete;
    for (const event of fetched.events) waiting.set(event.eventId, event);
    const needed = await storeOutliers(ctx, room, waiting, source.signal);
    wanted = [...needed].filter((eventId) => !asked.has(eventId));
    if (wanted.length === 0 || source.signal.aborted) break;
  }
  return complete && !source.signal.aborted;
}

/**
 * Stores all whose auth events are stored; answers which auth events the rest waits for that are not among it. In one
 * pass, whatever the events say of their depth.
 */
async function storeOutliers(
  ctx: PullContext,
  room: Room,
  waiting: Map<EventId, VerifiedEvent>,
  signal: AbortSignal,
): Promise<Set<EventId>> {
  const needed = new Set<EventId>();
  const stored = await receiveOutliers(ctx, room, inAuthOrder(waiting));
  for (const eventId of stored) waiting.delete(eventId);
  for (const event of inAuthOrder(waiting)) {
    if (signal.aborted) break;
    // The rest one after the other: each may be an auth event of the next.
    const received = await receive(ctx, room, event, { as: 'outlier' });
    if (received.kind !== 'missing') waiting.delete(event.eventId);
    else for (const eventId of received.auth) if (!waiting.has(eventId)) needed.add(eventId);
  }
  return needed;
}

/** Fetches events by their ids. `complete` is false where a server did not answer, or the budget is spent. */
export async function fetchByIds(
  ctx: PullContext,
  room: Room,
  eventIds: readonly EventId[],
  source: Source,
): Promise<{ events: VerifiedEvent[]; complete: boolean }> {
  const { budget } = source;
  const affordable = eventIds.slice(0, Math.max(0, budget.outliers));
  budget.outliers -= affordable.length;
  const lanes = new Lanes(AT_ONCE, Number.POSITIVE_INFINITY);
  const answers = await Promise.all(
    affordable.map((eventId) => lanes.run(() => fetchOne(ctx, eventId, source))),
  );
  const texts = affordable.flatMap((eventId, index) => {
    const answer = answers[index];
    return typeof answer === 'string' ? [asMade(answer, eventId, room.rules)] : [];
  });
  const asked = new Set(affordable);
  const events = await verifiedFrom(ctx, room.rules, texts, source);
  if (affordable.length < eventIds.length) budget.unanswered += 1;
  return {
    events: events.filter(({ eventId }) => asked.has(eventId)),
    complete: affordable.length === eventIds.length && !answers.includes(false),
  };
}

/** The text; undefined where the server says that it has no such event; false where it says nothing of it. */
async function fetchOne(
  ctx: PullContext,
  eventId: EventId,
  { origin, signal, budget }: Source,
): Promise<string | undefined | false> {
  const options = { signal, timeoutMs: EVENT_TIMEOUT_MS };
  const answer = noted(await getEvent(ctx, origin, eventId, options), budget);
  if (answer.kind === 'ok') return answer.value;
  // Who is overloaded, or has a fault, may have it all the same.
  return answer.reason === 'refused' && isForGood(answer) ? undefined : false;
}

/** The answer; that it is none for lack of one is noted in the budget. */
export function noted<T>(answer: Remote<T>, budget: Budget): Remote<T> {
  // Who is no partner is not asked later either.
  const isOpen = answer.kind === 'failed' && !isForGood(answer) && answer.reason !== 'not_a_partner';
  if (isOpen) budget.unanswered += 1;
  return answer;
}

async function missingOf(ctx: PullContext, eventIds: ReadonlySet<EventId>): Promise<EventId[]> {
  const stored = await events.nidsOf(ctx.db, eventIds);
  return [...eventIds].filter((eventId) => !stored.has(eventId));
}

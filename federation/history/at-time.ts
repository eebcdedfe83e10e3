/**
 * The history of a room around a time, where it has a gap there:
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
 *
 * 1. Servers in the room are asked which event they have at that time, the oldest in the room first.
 * 2. Where that is nearer than what is here, the event is fetched.
 * 3. Where it is not far, all from the gap back to it is fetched, so that the timeline is whole.
 * 4. Otherwise it, and some of what comes before it. What lies between is fetched when somebody reads that far back,
 *    and then stands behind it.
 */

import type { EventId, ServerName } from '#keys/ids.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { loadEvent } from '#rooms/load.ts';
import type { Room } from '#rooms/room.ts';
import { isPlaced, type StoredEvent } from '#rooms/stored-event.ts';
import type { PullContext } from '../inbound/source.ts';
import { verifiedOf } from '../inbound/verify.ts';
import { getEvent } from '../remote/events.ts';
import { type TimeInRoom, timestampToEvent } from '../remote/timestamps.ts';
import { fillFrom, fillHistory, serversFor } from './backfill.ts';

/** A client waits for it. */
const DEADLINE_MS = 30_000;
const REQUEST_TIMEOUT_MS = 10_000;
/** How far back all is fetched, in events by their depth. */
const NOT_FAR = 1_000;
const MOST_ROUNDS = 15;
const EVENTS_AT_ONCE = 100;
/** Of those before an event that is far. */
const EVENTS_BEFORE = 50;

export interface WantedTime extends Omit<TimeInRoom, 'roomId'> {
  /** The nearest event that is here, if there is one; in milliseconds since 1970. */
  readonly nearestTs: number | undefined;
  /** The event before which the gap is. */
  readonly gap: StoredEvent;
}

/** Fetches the event nearest to a time from other servers, and what is around it; true where there is more history. */
export async function fetchHistoryAt(ctx: PullContext, room: Room, wanted: WantedTime): Promise<boolean> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  for (const server of await serversFor(ctx, room)) {
    if (signal.aborted) return false;
    // One after the other: mostly the first one has been in the room from the beginning.
    const event = await nearerEvent(ctx, room, { ...wanted, server, signal });
    if (event === undefined) continue;
    if (await fetchBackTo(ctx, room, { event, gap: wanted.gap, signal })) return true;
    if (await fillFrom(ctx, room, [event.eventId], { limit: EVENTS_BEFORE, signal })) return true;
  }
  return false;
}

/** The event that a server names, where it is what the server says of it, nearer than ours, and new. */
async function nearerEvent(
  ctx: PullContext,
  room: Room,
  wanted: WantedTime & { readonly server: ServerName; readonly signal: AbortSignal },
): Promise<VerifiedEvent | undefined> {
  const { server, signal, ts, direction, nearestTs } = wanted;
  const options = { signal, timeoutMs: REQUEST_TIMEOUT_MS };
  const isNearer = (time: number) =>
    nearestTs === undefined || Math.abs(time - ts) < Math.abs(nearestTs - ts);
  const named = await timestampToEvent(ctx, server, { roomId: room.roomId, ts, direction }, options);
  if (named.kind === 'failed' || !isNearer(named.value.originServerTs)) return undefined;
  const { eventId, originServerTs } = named.value;
  if (isPlaced(await loadEvent(ctx, eventId))) return undefined;
  const text = await getEvent(ctx, server, eventId, options);
  if (text.kind === 'failed') return undefined;
  const [event] = await verifiedOf(ctx, room.rules, [text.value], signal);
  const isNamed = event?.eventId === eventId && event.originServerTs === originServerTs;
  return isNamed && event.roomId === room.roomId ? event : undefined;
}

/** Fetches the history before the gap until it reaches the event; false where that is too far, or cannot be had. */
async function fetchBackTo(
  ctx: PullContext,
  room: Room,
  to: { readonly event: VerifiedEvent; readonly gap: StoredEvent; readonly signal: AbortSignal },
): Promise<boolean> {
  const { event, gap, signal } = to;
  if (gap.event.depth - event.depth > NOT_FAR) return false;
  for (let round = 0; round < MOST_ROUNDS && !signal.aborted; round++) {
    // Round by round: each goes on where the one before has ended.
    if (!(await fillHistory(ctx, room, gap.position ?? 0, EVENTS_AT_ONCE))) return false;
    if (await isHere(ctx, event.eventId)) return true;
  }
  return false;
}

async function isHere(ctx: PullContext, eventId: EventId): Promise<boolean> {
  return isPlaced(await loadEvent(ctx, eventId));
}

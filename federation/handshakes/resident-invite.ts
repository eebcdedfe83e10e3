/**
 * Invitations of our users to rooms that we are in. The server of who invites hands them in before its room has them, and
 * the user may join at once: so they become a part of the room as soon as we have signed them, by all checks on receipt.
 */

import { serverNameOf } from '#keys/ids.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent, loadEvents } from '#rooms/load.ts';
import { askedToSign, unsignedReason } from '#rooms/policy.ts';
import { type Received, receive } from '#rooms/receive.ts';
import { getRoom, joinedServers, type Room } from '#rooms/room.ts';
import { isPlaced } from '#rooms/stored-event.ts';
import type { VerifiedEvent } from '#rooms/verified-event.ts';
import { fetchAuthEvents, fetchByIds } from '../inbound/outliers.ts';
import { pull } from '../inbound/pull.ts';
import { newLimits, type PullContext, type Source } from '../inbound/source.ts';

export type TakenInvite =
  | { readonly kind: 'taken' }
  /** What it refers to cannot be had now: it comes by the room, as other events do. */
  | { readonly kind: 'later' }
  | { readonly kind: 'refused'; readonly reason: string };

/** The other server waits for our answer. */
const DEADLINE_MS = 10_000;

/** Takes an invitation, signed by both servers, into its room. */
export async function takeInvite(ctx: PullContext, invite: VerifiedEvent): Promise<TakenInvite> {
  const room = await getRoom(ctx, invite.roomId);
  const origin = serverNameOf(invite.sender);
  if (room === undefined || origin === undefined) return { kind: 'later' };
  if (room.rules !== invite.rules) {
    return { kind: 'refused', reason: 'The room is known by another room version' };
  }
  const asked = await askedToSign(ctx, room, invite);
  if (asked.kind === 'refused') return { kind: 'refused', reason: unsignedReason(asked) };
  // Without the signature it would be soft-failed.
  if (asked.kind === 'unanswered') return { kind: 'later' };
  const source = { origin, ...newLimits(AbortSignal.timeout(DEADLINE_MS)) };
  const received = await receiveAfterPast(ctx, room, asked.event, source);
  if (received.kind === 'missing') return { kind: 'later' };
  const stored = await loadEvent(ctx, invite.eventId);
  if (stored?.roomNid === room.roomNid && stored.status === 'accepted') return { kind: 'taken' };
  return { kind: 'refused', reason: received.reason ?? 'The room does not allow the invitation' };
}

/**
 * Who invites has the invitation in its room only once we have signed it, and can say nothing of what came before it. So
 * that is asked for by its prev events.
 */
async function receiveAfterPast(
  ctx: PullContext,
  room: Room,
  invite: VerifiedEvent,
  source: Source,
): Promise<Received> {
  const received = await receive(ctx, room, invite, { as: 'live' });
  if (received.kind !== 'missing') return received;
  // Nothing is fetched because a server says so that has nobody in the room.
  if (!(await joinedServers(ctx, room.roomNid)).includes(source.origin)) return received;
  return ctx.roomLocks.run(`past ${room.roomId}`, () => receiveFetched(ctx, room, invite, source));
}

/** One invitation at a time: each may bring much. */
async function receiveFetched(
  ctx: PullContext,
  room: Room,
  invite: VerifiedEvent,
  source: Source,
): Promise<Received> {
  const missing = await unplacedBefore(ctx, invite);
  const { events } = await fetchByIds(ctx, room, missing, source);
  // In order: what comes before one may come before the other.
  for (const event of events) await pull(ctx, room, event, source);
  const again = await receive(ctx, room, invite, { as: 'live' });
  if (again.kind !== 'missing' || again.auth.length === 0) return again;
  await fetchAuthEvents(ctx, room, invite, { missing: again.auth, source });
  return receive(ctx, room, invite, { as: 'live' });
}

async function unplacedBefore(ctx: PullContext, { prevEvents }: Event) {
  const stored = await loadEvents(ctx, prevEvents);
  return prevEvents.filter((eventId) => !isPlaced(stored.get(eventId)));
}

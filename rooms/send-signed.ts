/**
 * Events of our own in a room that uses a policy server: it must have signed them before they are sent. It is asked
 * while the room goes on, so that a server which does not answer holds up nobody but who wants to send there. The event
 * then goes into the room by the same checks as those of others, wherever the room stands by then.
 */

import type { EventId } from '#keys/ids.ts';
import type { RoomsContext } from './context.ts';
import { type DraftedEvent, type Line, STATE_CHANGED } from './draft.ts';
import { loadEvent } from './load.ts';
import type { Unsigned } from './policy.ts';
import { receiveLocked } from './receive.ts';
import type { Room } from './room.ts';
import { signaturesFor } from './sign-line.ts';
import { currentStateEvent } from './state.ts';

/** What became of each event of a line, by id; events that are absent cite one that was refused, and are to be built anew. */
export type Placed = ReadonlyMap<EventId, Placement>;

type Placement =
  | { readonly kind: 'sent'; readonly eventId: EventId; readonly position: number }
  | { readonly kind: 'forbidden'; readonly reason: string }
  | { readonly kind: 'not_signed'; readonly unsigned: Unsigned };

/** Asks the policy server for the events of a line, and puts them into the room as far as it signs. */
export async function placeSigned(ctx: RoomsContext, room: Room, line: Line): Promise<Placed> {
  const answers = await signaturesFor(ctx, line);
  const placed = new Map<EventId, Placement>();
  for (const [index, { event }] of line.drafted.entries()) {
    const answer = answers[index];
    if (answer !== undefined && answer.kind !== 'event') {
      placed.set(event.eventId, { kind: 'not_signed', unsigned: answer });
    }
  }
  const firstRefused = line.drafted.findIndex(({ event }) => placed.has(event.eventId));
  const signed = line.drafted.slice(0, firstRefused < 0 ? undefined : firstRefused);
  await ctx.roomLocks.run(room.roomId, async () => {
    for (const [index, drafted] of signed.entries()) {
      const answer = answers[index];
      if (answer?.kind !== 'event') return;
      const { event, transaction } = drafted;
      // In order: each is built upon the one before.
      if (await isOvertaken(ctx, room, drafted)) {
        placed.set(event.eventId, { kind: 'forbidden', reason: STATE_CHANGED });
        return;
      }
      const how = { as: 'live', relay: true, transaction } as const;
      const received = await receiveLocked(ctx, room, answer.event, how);
      if (received.kind !== 'accepted' && received.kind !== 'known') {
        const reason = 'reason' in received ? received.reason : undefined;
        placed.set(event.eventId, { kind: 'forbidden', reason: reason ?? 'The room has changed meanwhile' });
        return;
      }
      const position = (await loadEvent(ctx, event.eventId))?.position ?? 0;
      placed.set(event.eventId, { kind: 'sent', eventId: event.eventId, position });
    }
  });
  return placed;
}

/** True where, while the policy server was asked, another event has taken the place of the one that this one is to replace. */
async function isOvertaken(ctx: RoomsContext, room: Room, { event, upon }: DraftedEvent): Promise<boolean> {
  const { type, stateKey } = event;
  if (upon === undefined || stateKey === undefined) return false;
  return (await currentStateEvent(ctx, room.roomNid, type, stateKey))?.event.eventId !== upon;
}

import type { RoomsContext } from '#rooms/context.ts';
import { askedToSign, policyOf } from '#rooms/policy.ts';
import type { Room } from '#rooms/room.ts';
import type { VerifiedEvent } from '#rooms/verified-event.ts';

/**
 * Events of others with the signatures that their room asks for, as far as they can be had: all are asked for together,
 * within one time limit. An event that stays without is soft-failed when it is received.
 */
export async function withSignatures(
  ctx: RoomsContext,
  room: Room,
  events: readonly VerifiedEvent[],
): Promise<readonly VerifiedEvent[]> {
  if ((await policyOf(ctx, room)) === undefined) return events;
  return Promise.all(
    events.map(async (event) => {
      const asked = await askedToSign(ctx, room, event);
      return asked.kind === 'event' ? asked.event : event;
    }),
  );
}

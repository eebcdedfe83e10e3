import { notFound } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { loadEvent } from '#rooms/load.ts';
import { getRoom } from '#rooms/room.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { visibleTo } from '#rooms/visibility.ts';
import type { ServerContext } from '../context.ts';
import { eventIdParam, roomIdParam } from '../room-params.ts';

/** The event of a path, as far as a user may see it. Throws `M_NOT_FOUND` alike for one that does not exist. */
export async function visibleEvent(
  ctx: ServerContext,
  userId: UserId,
  params: { readonly roomId: string; readonly eventId: string },
): Promise<StoredEvent> {
  const room = await getRoom(ctx, roomIdParam(params.roomId));
  const stored = await loadEvent(ctx, eventIdParam(params.eventId));
  if (room === undefined || stored === undefined) throw notFound('Event not found');
  const [isVisible] = await visibleTo(ctx, room.roomNid, { userId }, [stored]);
  if (isVisible !== true) throw notFound('Event not found');
  return stored;
}

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid */

import type { FastifyInstance } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { type EventId, isEventId } from '#keys/ids.ts';
import { loadEvent } from '#rooms/load.ts';
import { isRelatedToThread, threadOf } from '#rooms/relations/thread.ts';
import type { Room } from '#rooms/room.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { requireInRoom, setFullyRead, setReceipt } from '../reading/read-markers.ts';
import { eventIdParam, joinedRoom } from '../room-params.ts';

interface ReceiptParams {
  roomId: string;
  receiptType: string;
  eventId: string;
}

/** Read receipts, public, private and of threads, and the fully-read marker. */
export function receiptsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: ReceiptParams }>(
    '/_matrix/client/v3/rooms/:roomId/receipt/:receiptType/:eventId',
    async (request) => {
      const { userId, deviceId } = await requireRequester(ctx, request);
      ctx.limits.take('ephemeral', userId);
      ctx.presence.active({ userId, deviceId });
      const { receiptType: type } = request.params;
      const eventId = eventIdParam(request.params.eventId);
      const threadId = threadIdOf(optionalString(bodyObject(request), 'thread_id'));
      const room = await joinedRoom(ctx, userId, request.params.roomId);
      await requireInRoom(ctx, room, eventId);
      await requireInThread(ctx, room, { eventId, threadId });
      if (type === 'm.fully_read') {
        // "thread_id ... must not be specified for m.fully_read"
        if (threadId !== '') throw invalidParam('m.fully_read has no thread_id');
        await setFullyRead(ctx, room, userId, eventId);
      } else if (type === 'm.read' || type === 'm.read.private') {
        await setReceipt(ctx, room, userId, { type, eventId, threadId });
      } else {
        throw invalidParam('Unknown receipt type');
      }
      return {};
    },
  );
}

/** "If specified, must be a non-empty string": `main` or the event id of a thread's root. */
function threadIdOf(threadId: string | undefined): string {
  if (threadId === undefined) return '';
  if (threadId !== 'main' && !isEventId(threadId)) throw invalidParam('Invalid thread_id');
  return threadId;
}

/** "The `event_id` is not related to the `thread_id`": refused unless it is. */
async function requireInThread(
  ctx: ServerContext,
  { roomNid }: Room,
  { eventId, threadId }: { readonly eventId: EventId; readonly threadId: string },
): Promise<void> {
  if (threadId === '') return;
  if (isEventId(threadId)) {
    // Each thread takes a row: there must be such an event at all.
    const root = await loadEvent(ctx, threadId);
    if (root?.roomNid !== roomNid) throw invalidParam('There is no such thread in the room');
  }
  const stored = await loadEvent(ctx, eventId);
  // Of an event that is redacted we cannot say where it belonged; clients may know.
  if (stored === undefined || stored.redactedBy !== undefined) return;
  const isRelated = isEventId(threadId)
    ? await isRelatedToThread(ctx, stored, threadId)
    : (await threadOf(ctx, stored)) === threadId;
  if (!isRelated) throw invalidParam('The event is not in that thread');
}

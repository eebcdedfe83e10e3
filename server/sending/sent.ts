/** What the room says of an event that a user sends, as an answer to the client. */

import {
  badJson,
  duplicateAnnotation,
  forbidden,
  limitExceeded,
  notFound,
  tooLarge,
  unknown,
} from '#federation/errors.ts';
import { refusalOfState } from '#federation/partners/preflight.ts';
import { policyRefusal } from '#federation/policy/not-signed.ts';
import { type EventId, isEventId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { type Draft, RoomBusy, type Sent, sendEvent } from '#rooms/send.ts';
import type { ServerContext } from '../context.ts';
import { joinedRoom } from '../room-params.ts';
import { refusalOfEnd } from '../rooms/room-encryption.ts';

const BUSY_RETRY_MS = 1_000;

/** Sends an event; throws the client's error where the room refuses it. */
export async function sendForClient(ctx: ServerContext, draft: Draft): Promise<{ event_id: EventId }> {
  await refuseMisfit(ctx, draft);
  const ending = await refusalOfEnd(ctx, draft);
  if (ending !== undefined) {
    await joinedRoom(ctx, draft.sender, draft.roomId);
    throw forbidden(ending);
  }
  const sent = await sendEvent(ctx, draft).catch(refuseBusy);
  // So that a room of others looks like one that is not there.
  if (sent.kind === 'forbidden' || sent.kind === 'unknown_room' || sent.kind === 'invalid')
    await joinedRoom(ctx, draft.sender, draft.roomId);
  return sentAnswer(sent);
}

/**
 * The content of an event, and of a redaction what it redacts: "in rooms with a version older than 11 they MUST move the
 * `redacts` property inside the `content` to the top level of the event".
 */
export function contentToSend(type: string, content: JsonObject): Pick<Draft, 'content' | 'redacts'> {
  if (type !== 'm.room.redaction') return { content };
  const { redacts, ...others } = content;
  if (!isEventId(redacts)) throw badJson('redacts is not an event ID');
  return { content: others, redacts };
}

/** The answer for what was sent, or the error for what was not. */
export function sentAnswer(sent: Sent): { event_id: EventId } {
  switch (sent.kind) {
    case 'sent':
      return { event_id: sent.eventId };
    case 'forbidden':
      throw forbidden(sent.reason);
    case 'unknown_room':
      throw notFound('Unknown room');
    case 'not_signed':
      throw policyRefusal(sent.unsigned);
    case 'duplicate_annotation':
      throw duplicateAnnotation();
    case 'bad_relation':
      // "A specific error code is not currently available for this case: servers should use M_UNKNOWN".
      throw unknown(400, sent.reason);
    case 'invalid':
      throw sent.reason.includes('large') ? tooLarge(sent.reason) : badJson(sent.reason);
  }
}

/** What other servers in the room could not take part in is refused before it is there for good. */
async function refuseMisfit(
  ctx: ServerContext,
  { roomId, sender, type, stateKey, content }: Draft,
): Promise<void> {
  if (stateKey === undefined) return;
  const circle = type === 'm.room.server_acl' ? ctx.circles.circleOf(roomId) : undefined;
  const refusal =
    circle === undefined
      ? await refusalOfState(ctx, roomId, { type, stateKey, content })
      : `The servers of this room are kept by the administrator of this server, as the circle "${circle}"`;
  if (refusal === undefined) return;
  await joinedRoom(ctx, sender, roomId);
  throw forbidden(refusal);
}

function refuseBusy(error: unknown): never {
  if (error instanceof RoomBusy) throw limitExceeded(BUSY_RETRY_MS);
  throw error;
}

/** The finished event that another server hands in at the end of a handshake. */

import { encodeCanonical, parseStrict } from '#keys/canonical-json.ts';
import { belongsTo, type ServerName } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { membershipOf } from '#rooms/event.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { loadEvent } from '#rooms/load.ts';
import { askedToSign, unsignedReason } from '#rooms/policy.ts';
import { receive } from '#rooms/receive.ts';
import type { Room } from '#rooms/room.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import type { RoomVersionRules } from '#rooms/versions.ts';
import type { FederationContext } from '../context.ts';
import { badJson, forbidden, invalidParam, unreachable } from '../errors.ts';
import { verifyPdu } from '../inbound/verify.ts';
import { eventIdParam } from '../room-params.ts';

const KEYS_DEADLINE_MS = 20_000;

/** Reads a PDU from what was sent, by the rules of its room version. */
export function pduOf(text: string, rules: RoomVersionRules): JsonObject {
  const parsed = parseStrict(text, { anyNumbers: !rules.strictJson });
  if (parsed.kind === 'invalid') throw badJson(`The event is not canonical JSON: ${parsed.reason}`);
  if (!isObject(parsed.value)) throw badJson('The event is not an object');
  return parsed.value;
}

/**
 * The membership event, verified: signed, of the room and with the id that the path names, and by a user of the
 * server that sends it about that user.
 */
export async function verifiedMembership(
  ctx: FederationContext,
  pdu: JsonObject,
  expected: {
    readonly rules: RoomVersionRules;
    readonly roomId: string;
    readonly eventId: string;
    readonly origin: ServerName;
    readonly membership: 'join' | 'leave' | 'invite' | 'knock';
  },
): Promise<VerifiedEvent> {
  const signal = AbortSignal.timeout(KEYS_DEADLINE_MS);
  const verdict = await verifyPdu(ctx, expected.rules, encodeCanonical(pdu), signal);
  if (verdict.kind === 'dropped') throw invalidParam(verdict.reason);
  if (verdict.redacted) throw invalidParam('The content hash of the event is wrong');
  const { event } = verdict;
  const { membership } = expected;
  if (event.eventId !== eventIdParam(expected.eventId)) throw invalidParam('The event has another id');
  if (event.roomId !== expected.roomId) throw invalidParam('The event is of another room');
  if (event.type !== 'm.room.member') throw invalidParam('The event is no membership');
  if (membershipOf(event) !== membership) throw invalidParam(`The membership is not ${membership}`);
  if (!belongsTo(event.sender, expected.origin)) throw forbidden('The sender is of another server');
  if (membership !== 'invite' && event.stateKey !== event.sender) {
    throw invalidParam('The event is about another user than its sender');
  }
  return event;
}

/**
 * Receives the event, and with it the duty to send it to the other servers in the room; throws where the room does
 * not allow it.
 */
export async function takeIntoRoom(
  ctx: FederationContext,
  room: Room,
  event: VerifiedEvent,
): Promise<StoredEvent> {
  const asked = await askedToSign(ctx, room, event);
  if (asked.kind === 'refused') throw forbidden(unsignedReason(asked));
  if (asked.kind === 'unanswered') throw unreachable(unsignedReason(asked));
  const received = await receive(ctx, room, asked.event, { as: 'live', relay: true });
  if (received.kind === 'missing') throw invalidParam('The event refers to events that are not known');
  const stored = await loadEvent(ctx, event.eventId);
  // One that is handed in again is known, and may have been refused; or it has the id of another (v1, v2).
  if (stored?.status !== 'accepted' || stored.roomNid !== room.roomNid) {
    throw forbidden(received.reason ?? 'The room does not allow it');
  }
  return stored;
}

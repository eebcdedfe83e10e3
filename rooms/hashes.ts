/** Hashes and ids of events: https://spec.matrix.org/v1.19/server-server-api/#signing-events */
import { createHash } from 'node:crypto';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { EventId, RoomId } from '#keys/ids.ts';
import { type JsonObject, objectAt, stringAt } from '#keys/json.ts';
import { redact } from './redact.ts';
import type { RoomVersionRules } from './versions.ts';

/**
 * The content hash of a PDU in unpadded base64, as it stands in `hashes.sha256`: over all of the PDU but
 * `unsigned`, `signatures` and `hashes`.
 */
export function contentHash(pdu: JsonObject): string {
  const { unsigned: _unsigned, signatures: _signatures, hashes: _hashes, ...covered } = pdu;
  return unpadded(sha256(covered).toString('base64'));
}

/** The reference hash of a PDU, 32 bytes: over what is left of it after redaction, without `signatures`. */
export function referenceHash(pdu: JsonObject, rules: RoomVersionRules): Buffer {
  const { unsigned: _unsigned, signatures: _signatures, ...covered } = redact(pdu, rules);
  return sha256(covered);
}

/** The id of the event: its `event_id` in versions 1 and 2, `$` and its reference hash in later ones. */
export function eventIdOf(pdu: JsonObject, rules: RoomVersionRules): EventId {
  switch (rules.eventIds) {
    case 'chosen':
      return chosenId(pdu);
    case 'base64':
      return `$${unpadded(referenceHash(pdu, rules).toString('base64'))}`;
    case 'urlSafeBase64':
      return `$${referenceHash(pdu, rules).toString('base64url')}`;
  }
}

/** v12: "The room ID is the event ID of the event with sigil `!` instead of `$`." */
export function roomIdOfCreate(createEventId: EventId): RoomId {
  return `!${createEventId.slice(1)}`;
}

/** v12: the id of the create event of a room, which is what the room id says. */
export function createEventIdOf(roomId: RoomId): EventId {
  return `$${roomId.slice(1)}`;
}

/** True where `hashes.sha256` is the PDU's content hash. Where it is not, the PDU counts as a redacted copy. */
export function hasContentHash(pdu: JsonObject): boolean {
  const claimed = stringAt(objectAt(pdu, 'hashes') ?? {}, 'sha256');
  return claimed !== undefined && unpadded(claimed) === contentHash(pdu);
}

function chosenId(pdu: JsonObject): EventId {
  const id = stringAt(pdu, 'event_id');
  if (id === undefined) throw new TypeError('A PDU of room version 1 or 2 lacks event_id');
  return id as EventId;
}

function sha256(value: JsonObject): Buffer {
  return createHash('sha256').update(encodeCanonical(value)).digest();
}

function unpadded(base64: string): string {
  return base64.replace(/=+$/, '');
}

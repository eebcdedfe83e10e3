/** Hashes and ids of events: https://spec.matrix.org/v1.19/server-server-api/#signing-events */
import { decodeBase64, encodeBase64 } from '#keys/base64.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { type CanonicalMembers, canonicalMembers, pickMembers } from '#keys/canonical-members.ts';
import { sha256, sha256Base64, sha256Base64Url } from '#keys/hash.ts';
import type { EventId, RoomId } from '#keys/ids.ts';
import { type JsonObject, objectAt, stringAt } from '#keys/json.ts';
import { redactedContent } from './redact.ts';
import type { RoomVersionRules } from './versions.ts';

/**
 * The content hash of a PDU in unpadded base64, as it stands in `hashes.sha256`: over all of the PDU but
 * `unsigned`, `signatures` and `hashes`.
 */
export function contentHash(pdu: JsonObject): string {
  return sha256Base64(hashedContent(pdu));
}

/** The reference hash of a PDU, 32 bytes: over what is left of it after redaction, without `signatures`. */
export function referenceHash(pdu: JsonObject, rules: RoomVersionRules): Buffer {
  return sha256(referencedText(pdu, rules));
}

/**
 * The id of the event: its `event_id` in versions 1 and 2, `$` and its reference hash in later ones. `referenced` spares
 * the making of what the caller has: its `referencedText`.
 */
export function eventIdOf(pdu: JsonObject, rules: RoomVersionRules, referenced?: string): EventId {
  switch (rules.eventIds) {
    case 'chosen':
      return chosenId(pdu);
    case 'base64':
      return `$${sha256Base64(referenced ?? referencedText(pdu, rules))}`;
    case 'urlSafeBase64':
      return `$${sha256Base64Url(referenced ?? referencedText(pdu, rules))}`;
  }
}

/**
 * What the reference hash of a PDU covers, and its signatures: the canonical JSON of what is left after redaction,
 * without `signatures` and `unsigned`. `members` spares the making of what the caller has: the PDU's.
 */
export function referencedText(
  pdu: JsonObject,
  rules: RoomVersionRules,
  members: CanonicalMembers = canonicalMembers(pdu),
): string {
  const { keys } = rules.redaction;
  const content = redactedContent(pdu, rules);
  return pickMembers(members, (name) => {
    if (name === 'content') return content === undefined || encodeCanonical(content);
    return name !== 'signatures' && keys.has(name);
  });
}

/** v12: "The room ID is the event ID of the event with sigil `!` instead of `$`." */
export function roomIdOfCreate(createEventId: EventId): RoomId {
  return `!${createEventId.slice(1)}`;
}

/** v12: the id of the create event of a room, which is what the room id says. */
export function createEventIdOf(roomId: RoomId): EventId {
  return `$${roomId.slice(1)}`;
}

/**
 * True where `hashes.sha256` is the PDU's content hash. Where it is not, the PDU counts as a redacted copy. `members`
 * spares the making of what the caller has: the PDU's.
 */
export function hasContentHash(pdu: JsonObject, members?: CanonicalMembers): boolean {
  const claimed = stringAt(objectAt(pdu, 'hashes') ?? {}, 'sha256');
  if (claimed === undefined) return false;
  const digest = sha256Base64(hashedContent(pdu, members));
  // Nearly always: other texts of the same bytes, with padding, are rare.
  if (claimed === digest) return true;
  const bytes = decodeBase64(claimed);
  return bytes !== undefined && encodeBase64(bytes) === digest;
}

function chosenId(pdu: JsonObject): EventId {
  const id = stringAt(pdu, 'event_id');
  if (id === undefined) throw new TypeError('A PDU of room version 1 or 2 lacks event_id');
  return id as EventId;
}

function hashedContent(pdu: JsonObject, members: CanonicalMembers = canonicalMembers(pdu)): string {
  return pickMembers(members, isHashed);
}

function isHashed(name: string): boolean {
  return name !== 'unsigned' && name !== 'signatures' && name !== 'hashes';
}

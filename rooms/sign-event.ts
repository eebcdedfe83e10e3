/** Signing events: https://spec.matrix.org/v1.19/server-server-api/#signing-events */
import type { SigningKeyPair } from '#keys/ed25519.ts';
import { isUserId, type ServerName, serverNameOf } from '#keys/ids.ts';
import { type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { signJson } from '#keys/sign-json.ts';
import { contentHash } from './hashes.ts';
import { redact } from './redact.ts';
import type { RoomVersionRules } from './versions.ts';

/** The PDU with its content hash and the signature of `serverName`; other signatures stay. */
export function signEvent(
  pdu: JsonObject,
  rules: RoomVersionRules,
  serverName: ServerName,
  keyPair: SigningKeyPair,
): JsonObject {
  return countersign({ ...pdu, hashes: { sha256: contentHash(pdu) } }, rules, serverName, keyPair);
}

/**
 * The PDU with the signature of `serverName` added and its hashes left as they are: what a resident server does
 * with a join to a restricted room, and an invited user's server with the invite.
 */
export function countersign(
  pdu: JsonObject,
  rules: RoomVersionRules,
  serverName: ServerName,
  keyPair: SigningKeyPair,
): JsonObject {
  // "The event object is then redacted. Finally it is signed. The signature is then copied back to the original
  // event object."
  const { unsigned: _, ...redacted } = redact(pdu, rules);
  const signed = signJson(redacted, serverName, keyPair);
  const signatures: Json = own(signed, 'signatures') ?? {};
  return { ...pdu, signatures };
}

/**
 * The servers that must have signed a PDU for it to be valid: one valid signature of each. A PDU that lacks one is
 * dropped.
 */
export function requiredSigners(pdu: JsonObject, rules: RoomVersionRules): ServerName[] {
  const signers = new Set<ServerName | undefined>();
  const content = objectAt(pdu, 'content') ?? {};
  // "Unless the event is a 3rd party invite, only the signature(s) from the originating server (the server the
  // `sender` belongs to) are required for verification."
  if (!isThirdPartyInvite(pdu, content)) signers.add(serverNameOf(stringAt(pdu, 'sender') ?? ''));
  // v1, v2: "also require that a signature is present from the domain in the `event_id`, if it differs".
  if (rules.eventIds === 'chosen') signers.add(serverNameOf(stringAt(pdu, 'event_id') ?? ''));
  // v10 4.2.1: "If the event is not validly signed by the homeserver of the user ID denoted by the key, reject."
  const authoriser = own(content, 'join_authorised_via_users_server');
  const isMember = stringAt(pdu, 'type') === 'm.room.member';
  if (rules.restrictedJoins && isMember && isUserId(authoriser)) signers.add(serverNameOf(authoriser));
  return [...signers].filter((name) => name !== undefined);
}

/** "The sender must already match the 3rd party invite, and the server which sends the event may be another." */
function isThirdPartyInvite(pdu: JsonObject, content: JsonObject): boolean {
  return (
    stringAt(pdu, 'type') === 'm.room.member' &&
    stringAt(content, 'membership') === 'invite' &&
    own(content, 'third_party_invite') !== undefined
  );
}

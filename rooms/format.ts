/**
 * The format of a PDU: check 1 of https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 * by the event format of its room version, and the limits of
 * https://spec.matrix.org/v1.19/client-server-api/#size-limits
 */
import { encodeCanonical } from '#keys/canonical-json.ts';
import { isEventId, isRoomId, isUserId, serverNameOf } from '#keys/ids.ts';
import { integerAt, isObject, type Json, type JsonObject, own, stringAt } from '#keys/json.ts';
import { depthOf } from './depth.ts';
import type { RoomVersionRules } from './versions.ts';

/** "The complete event MUST NOT be larger than 65536 bytes", as canonical JSON with its signatures. */
export const MAX_PDU_BYTES = 65_536;
/** "state_key MUST NOT exceed 255 bytes", and so `type`. */
export const MAX_KEY_BYTES = 255;
const MAX_OWNED_KEY_BYTES = 511;
/** "Must contain less than or equal to 20 events." */
export const MAX_PREV_EVENTS = 20;
/** "Must contain less than or equal to 10 events." */
export const MAX_AUTH_EVENTS = 10;

/**
 * Why a value is not a valid PDU of the room version, or undefined where it is one. An event that fails is
 * dropped. `canonical`, where the caller has it, is the PDU's canonical JSON without `unsigned`.
 */
export function checkFormat(pdu: Json, rules: RoomVersionRules, canonical?: string): string | undefined {
  if (!isObject(pdu)) return 'The event is not an object';
  return (
    checkIds(pdu, rules) ??
    checkFields(pdu, rules) ??
    checkReferences(pdu, 'prev_events', MAX_PREV_EVENTS, rules) ??
    checkReferences(pdu, 'auth_events', MAX_AUTH_EVENTS, rules) ??
    checkHashes(pdu) ??
    checkSignatures(pdu) ??
    checkSize(pdu, canonical)
  );
}

function checkIds(pdu: JsonObject, rules: RoomVersionRules): string | undefined {
  if (!isUserId(own(pdu, 'sender'))) return 'sender is not a user id';
  const roomId = own(pdu, 'room_id');
  // v12: "Room identifier. Omitted from m.room.create events." One that is there is for the authorisation rules.
  const mayBeAbsent = rules.roomIdIsCreateHash && stringAt(pdu, 'type') === 'm.room.create';
  if (!(isRoomId(roomId) || (mayBeAbsent && roomId === undefined))) return 'room_id is not a room id';
  return rules.eventIds === 'chosen' ? checkChosenId(own(pdu, 'event_id')) : undefined;
}

/** v1: `$opaque:server`. Its server must sign, so that nobody can take the id of an event of another. */
function checkChosenId(id: Json | undefined): string | undefined {
  if (!isEventId(id)) return 'event_id is not an event id';
  return serverNameOf(id) === undefined ? 'event_id names no server' : undefined;
}

function checkFields(pdu: JsonObject, rules: RoomVersionRules): string | undefined {
  const type = own(pdu, 'type');
  if (typeof type !== 'string') return 'type is not a string';
  if (isTooLong(type, rules)) return 'type is longer than 255 bytes';
  const stateKey = own(pdu, 'state_key');
  if (stateKey !== undefined && typeof stateKey !== 'string') return 'state_key is not a string';
  if (stateKey !== undefined && isStateKeyTooLong(stateKey, rules)) {
    return `state_key is longer than ${maxStateKeyBytes(rules)} bytes`;
  }
  if (!isObject(own(pdu, 'content'))) return 'content is not an object';
  if (integerAt(pdu, 'origin_server_ts') === undefined) return 'origin_server_ts is not an integer';
  if (depthOf(pdu, rules) === undefined) return 'depth is not an integer of 0 or more';
  const redacts = own(pdu, 'redacts');
  if (!rules.redactsInContent && redacts !== undefined && typeof redacts !== 'string') {
    return 'redacts is not a string';
  }
  return undefined;
}

/** MSC3757: "the size limit on state keys is increased to 511 bytes"; how much of each part is for the rules. */
export function maxStateKeyBytes(rules: RoomVersionRules): number {
  return rules.ownedState ? MAX_OWNED_KEY_BYTES : MAX_KEY_BYTES;
}

function isStateKeyTooLong(stateKey: string, rules: RoomVersionRules): boolean {
  return rules.ownedState ? Buffer.byteLength(stateKey) > MAX_OWNED_KEY_BYTES : isTooLong(stateKey, rules);
}

function isTooLong(text: string, { keySize }: RoomVersionRules): boolean {
  if (Buffer.byteLength(text) <= MAX_KEY_BYTES) return false;
  // No text has more code points than code units.
  return keySize === 'bytes' || text.length > 2 * MAX_KEY_BYTES || [...text].length > MAX_KEY_BYTES;
}

function checkReferences(
  pdu: JsonObject,
  key: 'prev_events' | 'auth_events',
  most: number,
  rules: RoomVersionRules,
): string | undefined {
  const list = own(pdu, key);
  if (!Array.isArray(list)) return `${key} is not a list`;
  if (list.length > most) return `${key} names more than ${most} events`;
  const isReference = rules.eventReferences === 'pairs' ? isPair : isEventId;
  return list.every(isReference) ? undefined : `${key} is not a list of event references`;
}

/** v1: a list of "Event IDs and reference hashes". */
function isPair(item: unknown): boolean {
  return Array.isArray(item) && item.length === 2 && isEventId(item[0]) && isObject(item[1]);
}

function checkHashes(pdu: JsonObject): string | undefined {
  const hashes = own(pdu, 'hashes');
  if (!isObject(hashes)) return 'hashes is not an object';
  return stringAt(hashes, 'sha256') === undefined ? 'hashes.sha256 is not a string' : undefined;
}

function checkSignatures(pdu: JsonObject): string | undefined {
  const signatures = own(pdu, 'signatures');
  if (!isObject(signatures)) return 'signatures is not an object';
  const valid = Object.values(signatures).every(
    (keys) => isObject(keys) && Object.values(keys).every((signature) => typeof signature === 'string'),
  );
  return valid ? undefined : 'signatures is not an object of objects of strings';
}

/**
 * `unsigned` does not count: each server that passes an event on writes its own, and the verdict on an event
 * may not depend on the way it came.
 */
function checkSize(pdu: JsonObject, canonical: string | undefined): string | undefined {
  const bytes = Buffer.byteLength(canonical ?? canonicalOf(pdu));
  return bytes > MAX_PDU_BYTES
    ? `The event is too large: ${bytes} bytes, more than ${MAX_PDU_BYTES}`
    : undefined;
}

function canonicalOf({ unsigned: _, ...bare }: JsonObject): string {
  return encodeCanonical(bare);
}

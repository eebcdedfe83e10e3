/**
 * How an event cites others in `prev_events` and `auth_events`: by their ids; in versions 1 and 2 by pairs of an id
 * and the reference hash: https://spec.matrix.org/v1.19/rooms/v1/#event-format
 */
import { encodeBase64 } from '#keys/base64.ts';
import { type EventId, isEventId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { Event } from './event.ts';
import { referenceHash } from './hashes.ts';
import type { RoomVersionRules } from './versions.ts';

/** The reference hash of cited events, in unpadded base64. */
export type ReferenceHashes = ReadonlyMap<EventId, string>;

/** What another server's template cites. */
export interface References {
  readonly prevEvents: readonly EventId[];
  readonly authEvents: readonly EventId[];
  /** Of all of them in versions 1 and 2; empty in others. */
  readonly referenceHashes: ReferenceHashes;
}

const NONE: ReferenceHashes = new Map();

/** The hashes by which these events are cited in the room version: none where ids are enough. */
export function referenceHashesOf(events: Iterable<Event>, rules: RoomVersionRules): ReferenceHashes {
  if (rules.eventReferences === 'ids') return NONE;
  const hashes = new Map<EventId, string>();
  for (const { eventId, pdu } of events) hashes.set(eventId, encodeBase64(referenceHash(pdu, rules)));
  return hashes;
}

/** The references as they stand in a PDU. Throws where a hash is missing that the version needs. */
export function writeReferences(
  eventIds: readonly EventId[],
  rules: RoomVersionRules,
  hashes: ReferenceHashes = NONE,
): Json[] {
  if (rules.eventReferences === 'ids') return [...eventIds];
  return eventIds.map((eventId) => {
    const sha256 = hashes.get(eventId);
    if (sha256 === undefined) throw new Error(`the reference hash of ${eventId} was not loaded`);
    return [eventId, { sha256 }];
  });
}

/** What a template of another server cites, without what is no reference in the room version. */
export function readReferences(template: JsonObject, rules: RoomVersionRules): References {
  const referenceHashes = new Map<EventId, string>();
  const read = (key: string): EventId[] => {
    const list = own(template, key);
    if (!Array.isArray(list)) return [];
    if (rules.eventReferences === 'ids') return list.filter(isEventId);
    const eventIds: EventId[] = [];
    for (const item of list) {
      const [eventId, hashes]: readonly unknown[] = Array.isArray(item) ? item : [];
      const sha256 = isObject(hashes) ? stringAt(hashes, 'sha256') : undefined;
      if (!isEventId(eventId) || sha256 === undefined) continue;
      referenceHashes.set(eventId, sha256);
      eventIds.push(eventId);
    }
    return eventIds;
  };
  return { prevEvents: read('prev_events'), authEvents: read('auth_events'), referenceHashes };
}

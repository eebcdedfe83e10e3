/**
 * What an event says of its relation to another one:
 * https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
 */

import { type EventId, isEventId } from '#keys/ids.ts';
import { type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';

export interface Relation {
  readonly relType: string;
  readonly parentId: EventId;
}

/** "Identifiers must start with one of the characters `[a-z]`, and be entirely composed of" these, at most 255. */
const REL_TYPE = /^[a-z][a-z0-9_.-]{0,254}$/;

/**
 * The relation in an event's content. "Relationships which don't match the schema [...] are simply ignored": then
 * undefined, as for a rich reply, which has no `rel_type`.
 */
export function relationOf(content: JsonObject): Relation | undefined {
  const relatesTo = objectAt(content, 'm.relates_to');
  const relType = relatesTo && stringAt(relatesTo, 'rel_type');
  const parentId = relatesTo && own(relatesTo, 'event_id');
  if (relType === undefined || !REL_TYPE.test(relType)) return undefined;
  return isEventId(parentId) ? { relType, parentId } : undefined;
}

/** The `key` of an annotation: "the annotation being applied", such as an emoji. */
export function annotationKeyOf(content: JsonObject): string | undefined {
  const relatesTo = objectAt(content, 'm.relates_to');
  return relatesTo && stringAt(relatesTo, 'key');
}

/**
 * Whether an event says what could stand in another's place: it is no state event, and has `m.new_content`, "once
 * decrypted, if appropriate".
 */
export function canReplace(event: {
  readonly type: string;
  readonly isState: boolean;
  readonly content: JsonObject;
}): boolean {
  if (event.isState) return false;
  return event.type === 'm.room.encrypted' || objectAt(event.content, 'm.new_content') !== undefined;
}

import { encodeCanonical, parseLoose, RELAYED_MAX_DEPTH } from '#keys/canonical-json.ts';
import type { EventId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { eventIdOf, hasContentHash } from '#rooms/hashes.ts';
import type { RoomVersionRules } from '#rooms/versions.ts';

/**
 * The text of an event that was asked for by its id, as it was made: some servers add their `origin` to what they
 * hand out, by which it has another id or another content hash. The text itself where that is not so.
 */
export function asMade(text: string, eventId: EventId, rules: RoomVersionRules): string {
  // v1, v2: the id says nothing of the content.
  if (rules.eventIds === 'chosen' || !text.includes('"origin"')) return text;
  const parsed = parseLoose(text, { maxDepth: RELAYED_MAX_DEPTH });
  if (parsed.kind !== 'ok' || !isObject(parsed.value) || !Object.hasOwn(parsed.value, 'origin')) return text;
  const { unsigned: _, ...told } = parsed.value;
  const { origin: __, ...without } = told;
  const isChanged = !isMadeSo(told, eventId, rules) && isMadeSo(without, eventId, rules);
  return isChanged ? encodeCanonical(without) : text;
}

function isMadeSo(pdu: JsonObject, eventId: EventId, rules: RoomVersionRules): boolean {
  return eventIdOf(pdu, rules) === eventId && hasContentHash(pdu);
}

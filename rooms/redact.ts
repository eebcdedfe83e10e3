/** The redaction algorithm: https://spec.matrix.org/v1.19/client-server-api/#redactions */
import { isObject, type Json, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { KeptContent, RoomVersionRules } from './versions.ts';

/**
 * What is left of a PDU after redaction in its room version: the keys that make it an event, and of its content
 * those that the authorisation rules need. Idempotent; never changes what it is given.
 */
export function redact(pdu: JsonObject, rules: RoomVersionRules): JsonObject {
  const kept: Record<string, Json> = {};
  for (const key of rules.redaction.keys) {
    const value = own(pdu, key);
    if (value !== undefined) kept[key] = value;
  }
  const content = redactedContent(pdu, rules);
  if (content !== undefined) kept.content = content;
  return kept;
}

/** What is left of a PDU's content after redaction, the same object where all of it is; undefined where it is none. */
export function redactedContent(pdu: JsonObject, rules: RoomVersionRules): JsonObject | undefined {
  const content = own(pdu, 'content');
  if (!isObject(content)) return undefined;
  return keep(content, rules.redaction.content.get(stringAt(pdu, 'type') ?? ''));
}

function keep(content: JsonObject, kept: KeptContent | undefined): JsonObject {
  if (kept === 'all') return content;
  // The keys are those of the rules, of which none is `__proto__`.
  const left: Record<string, Json> = {};
  for (const key of kept ?? []) {
    if (typeof key === 'string') {
      const value = own(content, key);
      if (value !== undefined) left[key] = value;
      continue;
    }
    // v11: "The third_party_invite key of m.room.member events is no longer redacted, but will only contain the
    // signed key after redaction."
    const [outer, inner] = key;
    const object = own(content, outer);
    if (!isObject(object)) continue;
    const value = own(object, inner);
    left[outer] = value === undefined ? {} : { [inner]: value };
  }
  return left;
}

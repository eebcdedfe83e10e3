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
  const content = own(pdu, 'content');
  if (isObject(content))
    kept.content = keep(content, rules.redaction.content.get(stringAt(pdu, 'type') ?? ''));
  return kept;
}

function keep(content: JsonObject, kept: KeptContent | undefined): JsonObject {
  if (kept === 'all') return content;
  const left = new Map<string, JsonObject[string]>();
  for (const key of kept ?? []) {
    if (typeof key === 'string') {
      const value = own(content, key);
      if (value !== undefined) left.set(key, value);
      continue;
    }
    // v11: "The third_party_invite key of m.room.member events is no longer redacted, but will only contain the
    // signed key after redaction."
    const [outer, inner] = key;
    const object = own(content, outer);
    if (!isObject(object)) continue;
    const value = own(object, inner);
    left.set(outer, value === undefined ? {} : { [inner]: value });
  }
  return Object.fromEntries(left);
}

/** Redaction, plainly: the section "Redactions" of each room version. */
import { isObject, type JsonObject } from '#keys/json.ts';

/** "Upon receipt of a redaction event, the server must strip off any keys not in the following list" */
const KEYS = [
  'event_id',
  'type',
  'room_id',
  'sender',
  'state_key',
  'content',
  'hashes',
  'signatures',
  'depth',
  'prev_events',
  'auth_events',
  'origin_server_ts',
];
/** v11: "The top-level `origin`, `membership`, and `prev_state` properties are no longer protected from redaction." */
const KEYS_BEFORE_11 = [...KEYS, 'origin', 'membership', 'prev_state'];

/** What is left of an event after redaction; the event itself stays as it is. */
export function plainRedact(version: number, pdu: JsonObject): JsonObject {
  const kept = only(pdu, version >= 11 ? KEYS : KEYS_BEFORE_11);
  const content = isObject(pdu.content) ? pdu.content : {};
  return { ...kept, content: keptContent(version, String(pdu.type), content) };
}

/** "The content object must also be stripped of all keys, unless it is one of the following event types" */
function keptContent(version: number, type: string, content: JsonObject): JsonObject {
  switch (type) {
    case 'm.room.member':
      return keptOfMember(version, content);
    case 'm.room.create':
      // v11: "m.room.create allows all keys."
      if (version >= 11) return content;
      // v1: "m.room.create allows key `creator`."
      return only(content, ['creator']);
    case 'm.room.join_rules':
      // v8: "`m.room.join_rules` events now keep `allow` in addition to other keys in `content`".
      if (version >= 8) return only(content, ['join_rule', 'allow']);
      // v1: "m.room.join_rules allows key `join_rule`."
      return only(content, ['join_rule']);
    case 'm.room.power_levels': {
      // v1: "m.room.power_levels allows keys `ban`, `events`, `events_default`, `kick`, `redact`, `state_default`,
      // `users`, `users_default`."
      const first = [
        'ban',
        'events',
        'events_default',
        'kick',
        'redact',
        'state_default',
        'users',
        'users_default',
      ];
      // v11: "The m.room.power_levels event keeps the `invite` property under `content`."
      return only(content, version >= 11 ? [...first, 'invite'] : first);
    }
    case 'm.room.aliases':
      // v1: "m.room.aliases allows key `aliases`." v6 has removed this.
      return version <= 5 ? only(content, ['aliases']) : {};
    case 'm.room.history_visibility':
      // v1: "m.room.history_visibility allows key `history_visibility`."
      return only(content, ['history_visibility']);
    case 'm.room.redaction':
      // v11: "The m.room.redaction event keeps the `redacts` property under `content`."
      return version >= 11 ? only(content, ['redacts']) : {};
    default:
      return {};
  }
}

function keptOfMember(version: number, content: JsonObject): JsonObject {
  // v1: "m.room.member allows key `membership`."
  if (version <= 8) return only(content, ['membership']);
  // v9: "m.room.member events now keep `join_authorised_via_users_server`".
  const kept = only(content, ['membership', 'join_authorised_via_users_server']);
  // v11: "The `third_party_invite` key of m.room.member events is no longer redacted, but will only contain the `signed`
  // key after redaction."
  const { third_party_invite: invite } = content;
  if (version <= 10 || !isObject(invite)) return kept;
  return { ...kept, third_party_invite: only(invite, ['signed']) };
}

function only(object: JsonObject, keys: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([key]) => keys.includes(key)));
}

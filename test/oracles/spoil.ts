/** One thing wrong with an event: each way breaks one rule, or something that looks like one. */

import type { EventId } from '#keys/ids.ts';
import { type Json, type JsonObject, objectAt, stringAt } from '#keys/json.ts';
import type { RoomVersionRules } from '#rooms/versions.ts';
import type { Dice } from './dice.ts';

/** The room of an event. */
export interface Surroundings {
  readonly rules: RoomVersionRules;
  /** In their order; the first is the create event. */
  readonly events: readonly { readonly id: EventId; readonly pdu: JsonObject }[];
  readonly dice: Dice;
}

/** What stands in place of a value of another type, or of a value that is not allowed. */
const ODD: readonly Json[] = [
  null,
  true,
  5,
  -1,
  5.5,
  '',
  '5',
  'abc',
  ' 7 ',
  '1_0',
  '5.5',
  [],
  {},
  ['x'],
  { x: 1 },
];
const ODD_USER_IDS = [
  'alice',
  '@alice',
  '@:a.example',
  'alice:a.example',
  '@a b:a.example',
  '@x:bad_host',
  '',
];
const ODD_LISTS: readonly Json[] = [
  [],
  ['@alice:a.example', 5],
  ['alice'],
  'x',
  { 0: '@alice:a.example' },
  null,
];

/** The PDU with one thing changed; it may be the same, where there is nothing of the kind to change. */
export function spoiled(pdu: JsonObject, room: Surroundings): JsonObject {
  const { dice } = room;
  const throwOf = dice.below(10);
  if (throwOf < 3) return { ...pdu, auth_events: spoiledAuthEvents(pdu, room) };
  if (throwOf < 7) return { ...pdu, content: spoiledContent(pdu, room) };
  return spoiledTop(pdu, room);
}

function spoiledAuthEvents(pdu: JsonObject, { rules, events, dice }: Surroundings): Json {
  const cited: readonly Json[] = Array.isArray(pdu.auth_events) ? pdu.auth_events : [];
  const drop = dice.below(cited.length);
  const rest = cited.filter((_, at) => at !== drop);
  const reference = (id: EventId) => referenceTo(id, rules);
  const some = events.length === 0 ? [] : [dice.pick(events)?.id ?? '$none'];
  const members = events.filter(({ pdu }) => pdu.type === 'm.room.member').map(({ id }) => id);
  const ways: (() => Json)[] = [
    () => rest,
    () => rest,
    () => [...cited, ...cited.slice(0, 1)],
    () => [...cited, ...some.map(reference)],
    () => [...rest, ...some.map(reference)],
    () => [...cited, ...members.slice(0, 1).map(reference)],
    () => [...rest, ...members.slice(-1).map(reference)],
    () => [...cited, reference('$unknown:a.example')],
    () => [],
    () => cited.toReversed(),
  ];
  return dice.pick(ways)?.() ?? cited;
}

function spoiledContent(pdu: JsonObject, { dice }: Surroundings): JsonObject {
  const content = objectAt(pdu, 'content') ?? {};
  const odd = dice.pick(ODD) ?? null;
  const keys = CONTENT_KEYS[stringAt(pdu, 'type') ?? ''] ?? ['x'];
  const key = dice.pick(keys) ?? 'x';
  if (dice.chance(0.2)) {
    const { [key]: _, ...others } = content;
    return others;
  }
  const inner = objectAt(content, key);
  if (inner !== undefined && dice.chance(0.7)) return { ...content, [key]: spoiledEntries(inner, dice) };
  if (key === 'additional_creators') return { ...content, [key]: dice.pick(ODD_LISTS) ?? null };
  if (key === 'join_authorised_via_users_server' && dice.chance(0.5)) {
    return { ...content, [key]: dice.pick(ODD_USER_IDS) ?? '' };
  }
  return { ...content, [key]: odd };
}

const CONTENT_KEYS: Readonly<Record<string, readonly string[]>> = {
  'm.room.create': ['creator', 'room_version', 'm.federate', 'additional_creators', 'additional_creators'],
  'm.room.member': [
    'membership',
    'membership',
    'third_party_invite',
    'join_authorised_via_users_server',
    'x',
  ],
  'm.room.join_rules': ['join_rule', 'allow'],
  'm.room.power_levels': [
    'users',
    'users',
    'users',
    'events',
    'events',
    'notifications',
    'ban',
    'invite',
    'users_default',
    'state_default',
    'x',
  ],
  'm.room.third_party_invite': ['public_key', 'public_keys'],
  'm.room.redaction': ['redacts'],
};

/** An object inside the content: of levels, or of a third-party invite. */
function spoiledEntries(entries: JsonObject, dice: Dice): JsonObject {
  const odd = dice.pick(ODD) ?? null;
  const key = dice.pick(Object.keys(entries)) ?? 'x';
  const signed = objectAt(entries, 'signed');
  if (signed !== undefined && dice.chance(0.8)) return { ...entries, signed: spoiledSigned(signed, dice) };
  if (dice.chance(0.3)) return { ...entries, [dice.pick(ODD_USER_IDS) ?? '']: 10 };
  return { ...entries, [key]: odd };
}

function spoiledSigned(signed: JsonObject, dice: Dice): JsonObject {
  const key = dice.pick(Object.keys(signed)) ?? 'mxid';
  if (dice.chance(0.3)) {
    const { [key]: _, ...others } = signed;
    return others;
  }
  if (key !== 'signatures') return { ...signed, [key]: dice.pick(['token-0', '@bob:b.example', 5]) };
  const odd =
    dice.pick<Json>([{}, null, { 'id.example': {} }, { 'id.example': { 'ed25519:0': 'AAAA' } }]) ?? null;
  return { ...signed, signatures: odd };
}

function spoiledTop(pdu: JsonObject, room: Surroundings): JsonObject {
  const { dice, events } = room;
  const { state_key: _, ...stateless } = pdu;
  const some = dice.pick(events)?.pdu;
  const ways: (() => JsonObject)[] = [
    () => stateless,
    () => ({ ...pdu, state_key: dice.pick(['', '@bob:b.example', 'b.example', 'x', '@bob']) }),
    () => ({ ...pdu, sender: dice.pick(['@nobody:b.example', '@bob:b.example', '@bob:d.example']) }),
    () => ({ ...pdu, prev_events: [] }),
    () => ({ ...pdu, room_id: dice.pick(['!other:a.example', '!room:b.example', `!${'x'.repeat(43)}`]) }),
    () => ({ ...pdu, type: 'm.room.create', prev_events: [], auth_events: [], state_key: '' }),
    () => secondCreate(pdu, room),
    () => ({ ...pdu, content: objectAt(some ?? pdu, 'content') ?? {} }),
    () => ({ ...pdu, redacts: dice.pick(['$x:b.example', '$x:a.example', '$x', 'x']) }),
    () => ({
      ...pdu,
      [dice.pick(['origin', 'membership', 'prev_state', 'x', '\u{1F600}', '\uFB01'])]: 'extra',
    }),
    () => ({ ...pdu, [dice.pick(['age_ts', 'outlier', 'destinations'])]: 5 }),
    () => onlyPrevIsCreate(pdu, room),
  ];
  return dice.pick(ways)?.() ?? pdu;
}

/** Another create event of the room, with some of its content odd. */
function secondCreate(pdu: JsonObject, room: Surroundings): JsonObject {
  const { events, dice } = room;
  const { room_id: roomId, ...create } = events[0]?.pdu ?? pdu;
  const prev = dice.chance(0.2) ? { prev_events: pdu.prev_events ?? [] } : {};
  const id = roomId === undefined && dice.chance(0.2) ? '!room:a.example' : roomId;
  const second = { ...create, ...prev, ...(id !== undefined && { room_id: id }), depth: 2 };
  return { ...second, content: spoiledContent(second, room) };
}

/** "If the only previous event is an m.room.create and the state_key is the creator, allow." */
function onlyPrevIsCreate(pdu: JsonObject, { events, rules }: Surroundings): JsonObject {
  const create = events[0]?.id;
  return create === undefined ? pdu : { ...pdu, prev_events: [referenceTo(create, rules)] };
}

function referenceTo(id: EventId, rules: RoomVersionRules): Json {
  return rules.eventReferences === 'pairs' ? [id, { sha256: 'aGFzaA' }] : id;
}

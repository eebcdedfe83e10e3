/** Power levels, plainly: what `m.room.power_levels` says, and the defaults where it says nothing. */
import type { Json } from '#keys/json.ts';
import { keyOf, type PlainEvent, type PlainState, valueAt } from './plain-event.ts';

export const LEVELS = [
  'users_default',
  'events_default',
  'state_default',
  'ban',
  'redact',
  'kick',
  'invite',
] as const;
export type Level = (typeof LEVELS)[number];

/** The level that a value stands for; undefined where it is none. */
export function plainLevel(version: number, value: Json | undefined): number | undefined {
  if (typeof value === 'number') {
    if (Number.isInteger(value)) return value;
    // v1 to v5: "When the value is a float [...] the value is truncated at the decimal point".
    return version <= 5 && Number.isFinite(value) ? Math.trunc(value) : undefined;
  }
  if (typeof value !== 'string') return undefined;
  // v10: "power levels MUST NOT be represented as strings within this room version."
  if (version >= 10) return undefined;
  // "a single base 10 integer [...] optionally with any number of leading zeroes; optionally prefixed with a single
  // `-` or `+` character before the integer; optionally with any number of leading or trailing whitespace characters".
  return /^\s*[+-]?[0-9]+\s*$/.test(value) ? Number(value) : undefined;
}

/** "The invite level defaults to 0 if unspecified. The kick level, ban level and redact level each default to 50." */
export function levelIn(state: PlainState, level: Level): number {
  const event = state.get(keyOf('m.room.power_levels', ''));
  return (event && plainLevel(event.version, valueAt(event.content, level))) ?? defaultOf(level);
}

export function defaultOf(level: Level): number {
  switch (level) {
    case 'ban':
    case 'kick':
    case 'redact':
      return 50;
    case 'state_default':
      // "If there is no state_default in the m.room.power_levels event, or there is no m.room.power_levels event, the
      // state_default is 50."
      return 50;
    default:
      // "the events_default is 0", "`invite` defaults to 0 in either case", "If users_default is not supplied, it is
      // assumed to be 0".
      return 0;
  }
}

/** The power level of a user in a room whose create event is known. */
export function userLevelIn(state: PlainState, userId: string, create: PlainEvent | undefined): number {
  const version = create?.version ?? 1;
  // v12: 'The power level of "room creators" is infinitely high.'
  if (version >= 12 && create !== undefined && creatorsOf(create).includes(userId)) return Infinity;
  const event = state.get(keyOf('m.room.power_levels', ''));
  if (event === undefined) {
    // "If the room contains no m.room.power_levels event, the room's creator has a power level of 100, and all other
    // users have a power level of 0."
    return version <= 11 && create !== undefined && creatorsOf(create).includes(userId) ? 100 : 0;
  }
  // "If a user_id is in the users list, then that user_id has the associated power level. Otherwise they have the
  // default level users_default."
  const listed = plainLevel(event.version, valueAt(event.content.users, userId));
  return listed ?? levelIn(state, 'users_default');
}

/** Who has made the room. */
export function creatorsOf(create: PlainEvent): Json[] {
  // v1 to v10: the create event has a `creator` property. v11: it "no longer has a creator property, which previously
  // was always equivalent to the sender of the event".
  if (create.version <= 10) return [create.content.creator ?? null];
  const { additional_creators: more } = create.content;
  // v12: "Room creators include: The user ID denoted by the sender of the m.room.create event in the room. Any user IDs
  // contained in the additional_creators array in content".
  return create.version >= 12 && Array.isArray(more) ? [create.sender, ...more] : [create.sender];
}

/**
 * "The event type is either listed explicitly in the `events` section or given by either `state_default` or
 * `events_default` depending on if the event is a state event or not."
 */
export function requiredLevelIn(state: PlainState, event: PlainEvent): number {
  const levels = state.get(keyOf('m.room.power_levels', ''));
  const listed = plainLevel(event.version, valueAt(levels?.content.events, event.type));
  return listed ?? levelIn(state, event.stateKey === undefined ? 'events_default' : 'state_default');
}

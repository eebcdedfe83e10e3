/** Power levels: https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels */
import { isUserId, type UserId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, objectAt, own } from '#keys/json.ts';
import { numberOf } from '#keys/json-number.ts';
import type { Event } from './event.ts';
import type { RoomVersionRules } from './versions.ts';

/** What the levels of `m.room.power_levels` are where the event, or the room, does not say. */
export const DEFAULT_LEVELS = {
  users_default: 0,
  events_default: 0,
  state_default: 50,
  ban: 50,
  redact: 50,
  kick: 50,
  invite: 0,
} as const;
const NOTIFYING = 50;

/** Who may do what, by the power levels of one state of a room. */
export interface PowerLevels {
  /** The level of a user; `Infinity` for a creator in version 12. */
  of(userId: string): number;
  /** "The event type's required power level" */
  required(type: string, kind: 'state' | 'message'): number;
  /** What is needed to notify everybody, by `notifications`; `room` is for mentions of all who are in the room. */
  notifying(key: string): number;
  readonly invite: number;
  readonly kick: number;
  readonly ban: number;
  readonly redact: number;
}

/**
 * The power levels of a room by its create event and its power levels event; either may be missing. Levels that
 * the event does not give have the defaults of the specification.
 */
export function powerOf(create: Event | undefined, powerLevels: Event | undefined): PowerLevels {
  const rules = (powerLevels ?? create)?.rules;
  const creators = create === undefined ? new Set<string>() : creatorsOf(create);
  const content = powerLevels?.content ?? {};
  const level = (of: JsonObject, key: string): number | undefined =>
    rules === undefined ? undefined : levelOf(own(of, key), rules);

  const users = objectAt(content, 'users') ?? {};
  const events = objectAt(content, 'events') ?? {};
  const notifications = objectAt(content, 'notifications') ?? {};
  const given = (key: keyof typeof DEFAULT_LEVELS) => level(content, key) ?? DEFAULT_LEVELS[key];
  const usersDefault = given('users_default');
  const stateDefault = given('state_default');
  const eventsDefault = given('events_default');

  return {
    of(userId) {
      if (creators.has(userId)) {
        // v12: "The power level of 'room creators' is infinitely high."
        if (rules?.privilegedCreators === true) return Number.POSITIVE_INFINITY;
        // v1-v11: "If the room contains no m.room.power_levels event, the room's creator has a power level of 100"
        if (powerLevels === undefined) return 100;
      }
      return level(users, userId) ?? usersDefault;
    },
    required(type, kind) {
      return level(events, type) ?? (kind === 'state' ? stateDefault : eventsDefault);
    },
    notifying(key) {
      return level(notifications, key) ?? NOTIFYING;
    },
    invite: given('invite'),
    kick: given('kick'),
    ban: given('ban'),
    redact: given('redact'),
  };
}

/** Of a create event: each check of an event asks for them, and a hostile room may name thousands. */
const knownCreators = new WeakMap<Event, ReadonlySet<string>>();

/** The creators of a room: the sender of its create event and, from version 12, its `additional_creators`. */
export function creatorsOf(create: Event): ReadonlySet<string> {
  const known = knownCreators.get(create);
  if (known !== undefined) return known;
  const creators = readCreators(create);
  knownCreators.set(create, creators);
  return creators;
}

function readCreators(create: Event): ReadonlySet<string> {
  const creator = create.rules.creatorInContent ? own(create.content, 'creator') : create.sender;
  const creators = new Set<string>(typeof creator === 'string' ? [creator] : []);
  if (!create.rules.privilegedCreators) return creators;
  for (const userId of additionalCreatorsOf(create.content) ?? []) creators.add(userId);
  return creators;
}

/** `content.additional_creators`: empty where absent, undefined where it is not a list of user ids. */
export function additionalCreatorsOf(content: JsonObject): readonly UserId[] | undefined {
  const list = own(content, 'additional_creators');
  if (list === undefined) return [];
  return Array.isArray(list) && list.every(isUserId) ? list : undefined;
}

/** One level as the room version lets it be written; undefined for anything else. */
export function levelOf(value: Json | undefined, rules: RoomVersionRules): number | undefined {
  const number = numberOf(value);
  if (number !== undefined) {
    if (Number.isSafeInteger(number) && typeof value === 'number') return number;
    // v1-v5: "the value is truncated at the decimal point", and "values outside the range represented by IEEE754
    // binary64 (a "double")" are none.
    const floats = rules.powerLevels === 'integersStringsAndFloats';
    return floats && Number.isFinite(number) ? Math.trunc(number) : undefined;
  }
  if (typeof value !== 'string' || rules.powerLevels === 'integers') return undefined;
  // v1-v9: leading and trailing whitespace, one sign, leading zeroes.
  return /^\s*[+-]?\d{1,30}\s*$/.test(value) ? Number(value.trim()) : undefined;
}

/** The levels of an object such as `users`, by key; undefined where it is not an object of levels. */
export function levelsOf(
  value: Json | undefined,
  rules: RoomVersionRules,
): ReadonlyMap<string, number> | undefined {
  if (!isObject(value)) return undefined;
  const levels = new Map<string, number>();
  for (const [key, entry] of Object.entries(value)) {
    const level = levelOf(entry, rules);
    if (level === undefined) return undefined;
    levels.set(key, level);
  }
  return levels;
}

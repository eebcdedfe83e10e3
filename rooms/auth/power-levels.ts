/**
 * The rules for `m.room.power_levels`: rule 10 of version 12, 9 of versions 6 to 11, 10 of versions 1 to 5.
 * Numbers in the comments are those of version 10 unless another version is named; version 12 has them under 10,
 * one higher from its 10.4 on.
 */
import { isUserId } from '#keys/ids.ts';
import { type JsonObject, objectAt, own } from '#keys/json.ts';
import { numberOf } from '#keys/json-number.ts';
import type { Event } from '../event.ts';
import { creatorsOf, DEFAULT_LEVELS, levelOf, levelsOf, powerOf } from '../power.ts';
import type { RoomVersionRules } from '../versions.ts';
import { type Refusal, refuse } from './refusal.ts';
import type { AuthState } from './state.ts';

const LEVELS = Object.keys(DEFAULT_LEVELS);

/** Why a power levels event is not allowed in a state, or undefined where it is. */
export function checkPowerLevels(event: Event, state: AuthState): Refusal | undefined {
  const create = state.get('m.room.create', '');
  const malformed = checkPowerLevelsContent(event.content, event.rules) ?? checkCreatorsAbsent(event, create);
  if (malformed !== undefined) return malformed;
  const previous = state.get('m.room.power_levels', '');
  // v10 9.4: If there is no previous `m.room.power_levels` event in the room, allow.
  if (previous === undefined) return undefined;
  const level = powerOf(create, previous).of(event.sender);
  // v10 9.10: Otherwise, allow.
  return (
    checkChangedLevels(previous.content, event, level) ??
    checkChangedEntries(previous.content, event, level) ??
    checkChangedUsers(previous.content, event, level)
  );
}

/** Why the content is not as the room version writes it, whatever the state; or undefined. */
export function checkPowerLevelsContent(content: JsonObject, rules: RoomVersionRules): Refusal | undefined {
  if (rules.powerLevels === 'integers') {
    // v10 9.1: If any of the properties `users_default`, `events_default`, `state_default`, `ban`, `redact`,
    // `kick`, or `invite` in `content` are present and not an integer, reject.
    for (const key of LEVELS) {
      const value = own(content, key);
      if (value !== undefined && levelOf(value, rules) === undefined) {
        return refuse('v10 9.1', `${key} is not an integer`);
      }
    }
    // v10 9.2: If either of the properties `events` or `notifications` in `content` are present and not an object
    // with values that are integers, reject.
    for (const key of ['events', 'notifications']) {
      const value = own(content, key);
      if (value !== undefined && levelsOf(value, rules) === undefined) {
        return refuse('v10 9.2', `${key} is not an object of integers`);
      }
    }
  }
  // v1-v5: "Values outside the range represented by IEEE754 binary64 (a "double") cause the powerlevel event to be
  // rejected".
  if (rules.powerLevels === 'integersStringsAndFloats') {
    const entries = ['events', 'notifications'].map((key) => objectAt(content, key) ?? {});
    const all = [
      ...LEVELS.map((key) => own(content, key)),
      ...entries.flatMap((object) => Object.values(object)),
    ];
    const isTooLarge = all.some((value) => Math.abs(numberOf(value) ?? 0) === Number.POSITIVE_INFINITY);
    if (isTooLarge) return refuse(undefined, 'A level is outside of the range of numbers');
  }
  // v10 9.3: If the `users` property in `content` is not an object with keys that are valid user IDs with values
  // that are integers, reject. (v1-v9: "or a string that is an integer".)
  const users = own(content, 'users');
  if (users === undefined) return undefined;
  const levels = levelsOf(users, rules);
  if (levels === undefined) return refuse('v10 9.3', 'users is not an object of integers');
  if (levels.keys().every(isUserId)) return undefined;
  return refuse('v10 9.3', 'users has a key that is not a user id');
}

function checkCreatorsAbsent(event: Event, create: Event | undefined): Refusal | undefined {
  if (!event.rules.privilegedCreators || create === undefined) return undefined;
  const users = objectAt(event.content, 'users') ?? {};
  // v12 10.4: If the `users` property in `content` contains the `sender` of the `m.room.create` event or any of
  // the `additional_creators` array (if present) from the `content` of the `m.room.create` event, reject.
  const named = creatorsOf(create)
    .values()
    .some((creator) => own(users, creator) !== undefined);
  return named ? refuse('v12 10.4', 'users names a creator of the room') : undefined;
}

/**
 * v10 9.5: For the properties `users_default`, `events_default`, `state_default`, `ban`, `redact`, `kick`,
 * `invite` check if they were added, changed or removed.
 */
function checkChangedLevels(previous: JsonObject, event: Event, level: number): Refusal | undefined {
  for (const [key, inferred] of Object.entries(DEFAULT_LEVELS)) {
    const before = levelOf(own(previous, key), event.rules);
    const after = levelOf(own(event.content, key), event.rules);
    if (before === after) continue;
    const reason = `${key} is above the power of the sender`;
    // "Power levels are inferred from defaults when not explicitly supplied": else who is below the default of `ban`
    // could give it a level of their own, and ban.
    // v10 9.5.1: If the current value is higher than the `sender`'s current power level, reject.
    if (isAbove(before ?? inferred, level)) return refuse('v10 9.5.1', reason);
    // v10 9.5.2: If the new value is higher than the `sender`'s current power level, reject.
    if (isAbove(after ?? inferred, level)) return refuse('v10 9.5.2', reason);
  }
  return undefined;
}

/** v10 9.6 and 9.7: the entries of `events` and, from v6, of `notifications`. */
function checkChangedEntries(previous: JsonObject, event: Event, level: number): Refusal | undefined {
  for (const property of event.rules.notificationLevelsChecked ? ['events', 'notifications'] : ['events']) {
    for (const [key, before, after] of changesOf(property, previous, event)) {
      const reason = `${property} changes ${JSON.stringify(key)}, which is above the power of the sender`;
      // v10 9.6.1: For each entry being changed in, or removed from: if the current value is greater than the
      // `sender`'s current power level, reject.
      if (isAbove(before, level)) return refuse('v10 9.6.1', reason);
      // v10 9.7.1: For each entry being added to, or changed in: if the new value is greater than the `sender`'s
      // current power level, reject.
      if (isAbove(after, level)) return refuse('v10 9.7.1', reason);
    }
  }
  return undefined;
}

/** v10 9.8 and 9.9: the entries of `users`. */
function checkChangedUsers(previous: JsonObject, event: Event, level: number): Refusal | undefined {
  for (const [userId, before, after] of changesOf('users', previous, event)) {
    // v10 9.8.1: For each entry being changed in, or removed from, the `users` property, other than the `sender`'s
    // own entry: if the current value is greater than or equal to the `sender`'s current power level, reject.
    if (userId !== event.sender && before !== undefined && before >= level) {
      return refuse('v10 9.8.1', `users changes ${userId}, who is not below the power of the sender`);
    }
    // v10 9.9.1: For each entry being added to, or changed in, the `users` property: if the new value is greater
    // than the `sender`'s current power level, reject.
    if (isAbove(after, level)) {
      return refuse('v10 9.9.1', `users lifts ${userId} above the power of the sender`);
    }
  }
  return undefined;
}

type EntryChange = readonly [key: string, before: number | undefined, after: number | undefined];

/** The entries of an object of levels that were added, changed or removed. */
function changesOf(property: string, previous: JsonObject, event: Event): EntryChange[] {
  const before = objectAt(previous, property) ?? {};
  const after = objectAt(event.content, property) ?? {};
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys]
    .map(
      (key): EntryChange => [
        key,
        levelOf(own(before, key), event.rules),
        levelOf(own(after, key), event.rules),
      ],
    )
    .filter(([, old, now]) => old !== now);
}

function isAbove(value: number | undefined, level: number): boolean {
  return value !== undefined && value > level;
}

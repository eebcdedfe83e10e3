/** The authorisation rules for `m.room.power_levels`, plainly: rule 10 of version 12, 9 of versions 6 to 11, 10 before. */
import { isUserId } from '#keys/ids.ts';
import { isObject, type Json } from '#keys/json.ts';
import { keyOf, type PlainEvent, type PlainState, valueAt } from './plain-event.ts';
import { creatorsOf, defaultOf, LEVELS, plainLevel, userLevelIn } from './plain-power.ts';

/** The sentence by which a power levels event is rejected. */
export function refusalOfPowerLevels(
  event: PlainEvent,
  state: PlainState,
  create: PlainEvent,
): string | undefined {
  const { version, content } = event;
  const isLevel = (value: Json | undefined) => plainLevel(version, value) !== undefined;
  if (version >= 10) {
    // 10.1 v10: "If any of the properties `users_default`, `events_default`, `state_default`, `ban`, `redact`, `kick`,
    // or `invite` in `content` are present and not an integer, reject."
    for (const name of LEVELS) {
      if (Object.hasOwn(content, name) && !isLevel(content[name])) return `${name} is not an integer`;
    }
    // 10.2 v10: "If either of the properties `events` or `notifications` in `content` are present and not an object with
    // values that are integers, reject."
    for (const name of ['events', 'notifications']) {
      const value = valueAt(content, name);
      if (value !== undefined && !(isObject(value) && Object.values(value).every(isLevel)))
        return `${name} is not an object with values that are integers`;
    }
  }
  // 10.3 "If the `users` property in `content` is not an object with keys that are valid user IDs with values that are
  // integers" (v1 to v9: "or a string that is an integer"), "reject." One that is absent is the empty one.
  const given = valueAt(content, 'users');
  const users = given === undefined ? {} : given;
  if (!isObject(users) || !Object.keys(users).every(isUserId) || !Object.values(users).every(isLevel))
    return 'users is not an object of user IDs with integers';
  // 10.4 v12: "If the `users` property in `content` contains the `sender` of the `m.room.create` event or any of the
  // `additional_creators` array [...], reject."
  if (version >= 12 && Object.keys(users).some((userId) => creatorsOf(create).includes(userId)))
    return 'users contains a creator';
  // 10.5 "If there is no previous `m.room.power_levels` event in the room, allow."
  const previous = state.get(keyOf('m.room.power_levels', ''));
  if (previous === undefined) return undefined;
  return refusalOfChange(event, previous, userLevelIn(state, event.sender, create));
}

function refusalOfChange(event: PlainEvent, previous: PlainEvent, power: number): string | undefined {
  const { version } = event;
  // 10.6 "For the properties `users_default`, `events_default`, `state_default`, `ban`, `redact`, `kick`, `invite` check
  // if they were added, changed or removed. For each found alteration:"
  for (const name of LEVELS) {
    const current = plainLevel(version, valueAt(previous.content, name));
    const next = plainLevel(version, valueAt(event.content, name));
    if (current === next) continue;
    // 10.6.1 "If the current value is higher than the `sender`'s current power level, reject." And: "Power levels are
    // inferred from defaults when not explicitly supplied."
    if ((current ?? defaultOf(name)) > power) return `the current ${name} is higher than the sender's level`;
    // 10.6.2 "If the new value is higher than the `sender`'s current power level, reject."
    if ((next ?? defaultOf(name)) > power) return `the new ${name} is higher than the sender's level`;
  }
  // 10.7 and 10.8, v6: "the `events` or `notifications` properties"; before, of `events` only.
  for (const name of version >= 6 ? ['events', 'notifications'] : ['events']) {
    for (const [key, current, next] of entries(version, previous.content[name], event.content[name])) {
      if (current === next) continue;
      // 10.7 "For each entry being changed in, or removed from, [it]: If the current value is greater than the
      // `sender`'s current power level, reject."
      if (current !== undefined && current > power) return `the current ${name} ${key} is greater`;
      // 10.8 "For each entry being added to, or changed in, [it]: If the new value is greater than the `sender`'s
      // current power level, reject."
      if (next !== undefined && next > power) return `the new ${name} ${key} is greater`;
    }
  }
  for (const [userId, current, next] of entries(version, previous.content.users, event.content.users)) {
    if (current === next) continue;
    // 10.9 "For each entry being changed in, or removed from, the `users` property, other than the `sender`'s own entry:
    // If the current value is greater than or equal to the `sender`'s current power level, reject."
    if (userId !== event.sender && current !== undefined && current >= power)
      return `the current level of ${userId} is greater or equal`;
    // 10.10 "For each entry being added to, or changed in, the `users` property: If the new value is greater than the
    // `sender`'s current power level, reject."
    if (next !== undefined && next > power) return `the new level of ${userId} is greater`;
  }
  // 10.10 "Otherwise, allow."
  return undefined;
}

/** Every key of either object with its level in both. */
function entries(
  version: number,
  before: Json | undefined,
  after: Json | undefined,
): [key: string, current: number | undefined, next: number | undefined][] {
  const keys = [before, after].flatMap((object) => (isObject(object) ? Object.keys(object) : []));
  return [...new Set(keys)].map((key) => [
    key,
    plainLevel(version, valueAt(before, key)),
    plainLevel(version, valueAt(after, key)),
  ]);
}

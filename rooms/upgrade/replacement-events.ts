/**
 * The first events of the room that replaces another one:
 * https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-16 (room upgrades)
 */
import { isUserId, type UserId } from '#keys/ids.ts';
import { type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { canonicalContent } from '../build-event.ts';
import type { Event } from '../event.ts';
import type { InitialEvent } from '../initial-events.ts';
import { creatorsOf, levelOf } from '../power.ts';
import type { RoomVersionRules } from '../versions.ts';

/** What is taken over of a room that is replaced. */
export interface OldRoom {
  readonly create: Event;
  readonly powerLevels: Event | undefined;
  /** Further state with the state key '', of the types in `TRANSFERRED`. */
  readonly state: readonly Event[];
  /** `m.space.child` events, where the room is a space. */
  readonly children: readonly Event[];
  readonly bans: readonly Event[];
  /** The membership of who upgrades the room. */
  readonly member: Event;
  /** Of the content of `m.room.canonical_alias`, what names aliases of this server. */
  readonly localAliases: JsonObject | undefined;
}

export interface Replacement {
  readonly rules: RoomVersionRules;
  readonly creator: UserId;
  /** Counts in versions that have such creators. */
  readonly additionalCreators: readonly UserId[];
  /** For the create event; undefined where it is not known yet. */
  readonly predecessor: JsonObject;
}

/** "The recommended state events to transfer", but for power levels, which come last. */
export const TRANSFERRED = [
  'm.room.join_rules',
  'm.room.history_visibility',
  'm.room.guest_access',
  'm.room.server_acl',
  'm.room.encryption',
  'm.room.name',
  'm.room.topic',
  'm.room.avatar',
] as const;

const LEVELS = ['users_default', 'events_default', 'state_default', 'ban', 'redact', 'kick', 'invite'];
const LEVEL_LISTS = ['events', 'notifications', 'users'];
const ADMIN = 100;
/** v12: "the power level for sending m.room.tombstone events [...]. For example, set to 150 instead of 100." */
const CREATORS_ONLY = 150;

/**
 * The events, in order. The power levels are the last of them: until then the creator may do everything, whatever
 * little power they have in the end.
 */
export function replacementEvents(old: OldRoom, replacement: Replacement): InitialEvent[] {
  const { rules } = replacement;
  const state = old.state.map(({ type, content }) => ({
    type,
    stateKey: '',
    content: type === 'm.room.join_rules' ? joinRules(content, rules) : content,
  }));
  const children = old.children.map(({ type, stateKey = '', content }) => ({ type, stateKey, content }));
  const taken = [...state, ...aliasEvents(old), ...children].filter(
    // Of an old version it may hold what no event may hold any more.
    ({ content }) => canonicalContent(content) !== undefined,
  );
  return [
    { type: 'm.room.create', stateKey: '', content: createContent(old, replacement) },
    joinOf(old.member, replacement.creator),
    ...taken,
    ...old.bans.map(banOf),
    { type: 'm.room.power_levels', stateKey: '', content: powerLevels(old, replacement) },
  ];
}

function aliasEvents({ localAliases }: OldRoom): InitialEvent[] {
  if (localAliases === undefined) return [];
  return [{ type: 'm.room.canonical_alias', stateKey: '', content: localAliases }];
}

/**
 * "A `type` field which is copied from the `predecessor` room", and what else the create event says. "If both the
 * new and old room version support additional creators, the server will not transfer those automatically."
 */
function createContent({ create }: OldRoom, replacement: Replacement): JsonObject {
  const { rules, creator, additionalCreators, predecessor } = replacement;
  const {
    creator: _creator,
    room_version: _version,
    predecessor: _predecessor,
    additional_creators: _additional,
    'm.federate': federate,
    ...kept
  } = create.content;
  return {
    ...(canonicalContent(kept) === undefined ? {} : kept),
    ...(federate === false && { 'm.federate': false }),
    ...(rules.creatorInContent && { creator }),
    room_version: rules.version,
    predecessor,
    ...(rules.privilegedCreators &&
      additionalCreators.length > 0 && { additional_creators: [...additionalCreators] }),
  };
}

/** With the name and the picture that the user has in the old room. */
function joinOf(member: Event, creator: UserId): InitialEvent {
  const { displayname, avatar_url: avatarUrl } = member.content;
  const content = {
    membership: 'join',
    ...(typeof displayname === 'string' && { displayname }),
    ...(typeof avatarUrl === 'string' && { avatar_url: avatarUrl }),
  };
  return { type: 'm.room.member', stateKey: creator, content };
}

function banOf({ stateKey = '', content }: Event): InitialEvent {
  const reason = stringAt(content, 'reason');
  return {
    type: 'm.room.member',
    stateKey,
    content: { membership: 'ban', ...(reason !== undefined && { reason }) },
  };
}

/** A join rule that the new version does not have would let nobody join, and nobody know why. */
function joinRules(content: JsonObject, rules: RoomVersionRules): JsonObject {
  const isKnown: Record<string, boolean> = {
    knock: rules.knocking,
    restricted: rules.restrictedJoins,
    knock_restricted: rules.knockRestrictedJoins,
  };
  const joinRule = stringAt(content, 'join_rule');
  const isLost = joinRule !== undefined && Object.hasOwn(isKnown, joinRule) && !isKnown[joinRule];
  return isLost ? { join_rule: 'invite' } : content;
}

/** The power levels of the old room, as the new version writes them. */
function powerLevels(old: OldRoom, { rules, creator, additionalCreators }: Replacement): JsonObject {
  const oldRules = old.create.rules;
  const content = old.powerLevels === undefined ? {} : written(old.powerLevels.content, oldRules);
  const users = new Map(
    Object.entries(objectAt(content, 'users') ?? {}).filter(
      (entry): entry is [string, number] => isUserId(entry[0]) && typeof entry[1] === 'number',
    ),
  );
  if (rules.privilegedCreators) {
    // v12 10.4: the power levels may not name a creator.
    for (const userId of [creator, ...additionalCreators]) users.delete(userId);
    const events = { ...objectAt(content, 'events'), 'm.room.tombstone': tombstoneLevel(content, oldRules) };
    return { ...content, users: Object.fromEntries(users), events };
  }
  // Who stood above all levels stands at the top of those that there are.
  const above = oldRules.privilegedCreators ? [...creatorsOf(old.create), creator] : [];
  const first = old.powerLevels === undefined ? [creator] : [];
  for (const userId of [...above, ...first]) users.set(userId, Math.max(ADMIN, users.get(userId) ?? 0));
  return { ...content, users: Object.fromEntries(users) };
}

/** v12: "MUST explicitly be higher than `state_default`". */
function tombstoneLevel(content: JsonObject, oldRules: RoomVersionRules): number {
  const numberAt = (of: JsonObject, key: string) => {
    const value = own(of, key);
    return typeof value === 'number' ? value : undefined;
  };
  const stateDefault = numberAt(content, 'state_default') ?? 50;
  const known = numberAt(objectAt(content, 'events') ?? {}, 'm.room.tombstone') ?? 0;
  if (oldRules.privilegedCreators && known > stateDefault) return known;
  return Math.max(known, CREATORS_ONLY, stateDefault + 1);
}

/** Levels as integers, which every version takes; what is no level is left out. */
function written(content: JsonObject, rules: RoomVersionRules): JsonObject {
  const result: [string, Json][] = [];
  for (const [key, value] of Object.entries(content)) {
    const level = levelOf(value, rules);
    if (LEVELS.includes(key)) {
      if (isLevel(level)) result.push([key, level]);
    } else if (LEVEL_LISTS.includes(key)) {
      result.push([key, levelsIn(objectAt(content, key) ?? {}, rules)]);
    } else if (canonicalContent({ value }) !== undefined) result.push([key, value]);
  }
  return Object.fromEntries(result);
}

function levelsIn(list: JsonObject, rules: RoomVersionRules): JsonObject {
  const levels = Object.entries(list).map(([key, value]) => [key, levelOf(value, rules)] as const);
  return Object.fromEntries(levels.filter((entry): entry is [string, number] => isLevel(entry[1])));
}

function isLevel(level: number | undefined): level is number {
  return level !== undefined && Number.isSafeInteger(level);
}

/**
 * The rules of each room version, as one frozen table: https://spec.matrix.org/v1.19/rooms/
 *
 * Each version is the one before it and what its page says has changed. Code asks for a rule, never for a
 * version number: `rules.restrictedJoins`, not `version >= 8`.
 */

export interface RoomVersionRules {
  readonly version: string;

  /** `pairs`: `prev_events` and `auth_events` are lists of `[event_id, hashes]`; `ids`: lists of event ids. */
  readonly eventReferences: 'pairs' | 'ids';
  /** `chosen` by the sending server in `event_id`, or the reference hash in one of the two alphabets. */
  readonly eventIds: 'chosen' | 'base64' | 'urlSafeBase64';
  /** Canonical JSON is enforced: no floats, no integer beyond 2^53 - 1, none written as `1.0` or `1e3`. */
  readonly strictJson: boolean;
  /** In what the 255 of `type` and `state_key` are counted in events of others. */
  readonly keySize: 'codePoints' | 'bytes';
  /** A signing key counts only if it was valid at the event's `origin_server_ts`. */
  readonly strictKeyValidity: boolean;
  readonly stateResolution: 'v1' | 'v2' | 'v2.1';

  /** The room id is the create event's id with `!` for `$`, and the create event has no `room_id`. */
  readonly roomIdIsCreateHash: boolean;
  /** `auth_events` name the create event. */
  readonly createInAuthEvents: boolean;
  /** The create event names its sender in `content.creator`. */
  readonly creatorInContent: boolean;
  /** Creators (the sender, and `additional_creators`) stand above all power levels. */
  readonly privilegedCreators: boolean;
  /** `redacts` is in `content`, not at the top level. */
  readonly redactsInContent: boolean;

  /** What `m.room.power_levels` may write for a level. */
  readonly powerLevels: 'integersStringsAndFloats' | 'integersAndStrings' | 'integers';
  /** The rules for changes of `events` hold for `notifications` too. */
  readonly notificationLevelsChecked: boolean;
  /** `m.room.aliases` has a rule of its own. */
  readonly aliasesRule: boolean;
  /** `m.room.redaction` has a rule of its own. */
  readonly redactionRule: boolean;
  /** Membership `knock` and join rule `knock`. */
  readonly knocking: boolean;
  /** Join rule `restricted`. */
  readonly restrictedJoins: boolean;
  /** Join rule `knock_restricted`. */
  readonly knockRestrictedJoins: boolean;
  /** State keys that begin with a user id belong to that user, and to those above (MSC3757). */
  readonly ownedState: boolean;

  readonly redaction: RedactionRules;
}

/** What a redaction leaves of an event. */
export interface RedactionRules {
  /** Top-level keys that stay. */
  readonly keys: ReadonlySet<string>;
  /** By event type, the keys of `content` that stay; of a type that is not listed, none. */
  readonly content: ReadonlyMap<string, KeptContent>;
}

/** `all` of the content, or a list of keys; a pair keeps of the object under the first key only the second. */
export type KeptContent = 'all' | readonly (string | readonly [string, string])[];

/** "Servers SHOULD use room version 12 as the default room version when creating new rooms." */
export const DEFAULT_ROOM_VERSION = '12';

/** The versions in which this server takes part in rooms. */
export const SUPPORTED_VERSIONS: readonly string[] = Object.freeze(
  Array.from({ length: 12 }, (_, index) => String(index + 1)),
);

/** Versions of proposals: rooms of other servers may have them, and ours where the operator permits it. */
export const UNSTABLE_VERSIONS: readonly string[] = Object.freeze([
  'org.matrix.msc3757.10',
  'org.matrix.msc3757.11',
]);

/** The versions that we tell a server through which we want to join. */
export const JOINABLE_VERSIONS: readonly string[] = Object.freeze([
  ...SUPPORTED_VERSIONS,
  ...UNSTABLE_VERSIONS,
]);

const V1_KEYS = [
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
  'prev_state',
  'auth_events',
  'origin',
  'origin_server_ts',
  'membership',
];

const V1_POWER_LEVELS = [
  'ban',
  'events',
  'events_default',
  'kick',
  'redact',
  'state_default',
  'users',
  'users_default',
];

const V1: RoomVersionRules = {
  version: '1',
  eventReferences: 'pairs',
  eventIds: 'chosen',
  strictJson: false,
  // What servers let into rooms for years must be taken, or the rooms have holes.
  keySize: 'codePoints',
  strictKeyValidity: false,
  stateResolution: 'v1',
  roomIdIsCreateHash: false,
  createInAuthEvents: true,
  creatorInContent: true,
  privilegedCreators: false,
  redactsInContent: false,
  powerLevels: 'integersStringsAndFloats',
  notificationLevelsChecked: false,
  aliasesRule: true,
  redactionRule: true,
  knocking: false,
  restrictedJoins: false,
  knockRestrictedJoins: false,
  ownedState: false,
  redaction: {
    keys: new Set(V1_KEYS),
    content: new Map<string, KeptContent>([
      ['m.room.member', ['membership']],
      ['m.room.create', ['creator']],
      ['m.room.join_rules', ['join_rule']],
      ['m.room.power_levels', V1_POWER_LEVELS],
      ['m.room.aliases', ['aliases']],
      ['m.room.history_visibility', ['history_visibility']],
    ]),
  },
};

const V2: RoomVersionRules = { ...V1, version: '2', stateResolution: 'v2' };

const V3: RoomVersionRules = {
  ...V2,
  version: '3',
  eventReferences: 'ids',
  eventIds: 'base64',
  redactionRule: false,
};

const V4: RoomVersionRules = { ...V3, version: '4', eventIds: 'urlSafeBase64' };

const V5: RoomVersionRules = { ...V4, version: '5', strictKeyValidity: true };

const V6: RoomVersionRules = {
  ...V5,
  version: '6',
  strictJson: true,
  powerLevels: 'integersAndStrings',
  notificationLevelsChecked: true,
  aliasesRule: false,
  redaction: keeping(V5.redaction, { content: [['m.room.aliases', []]] }),
};

const V7: RoomVersionRules = { ...V6, version: '7', knocking: true };

const V8: RoomVersionRules = {
  ...V7,
  version: '8',
  restrictedJoins: true,
  redaction: keeping(V7.redaction, { content: [['m.room.join_rules', ['join_rule', 'allow']]] }),
};

const V9: RoomVersionRules = {
  ...V8,
  version: '9',
  redaction: keeping(V8.redaction, {
    content: [['m.room.member', ['membership', 'join_authorised_via_users_server']]],
  }),
};

const V10: RoomVersionRules = {
  ...V9,
  version: '10',
  powerLevels: 'integers',
  knockRestrictedJoins: true,
};

const V11: RoomVersionRules = {
  ...V10,
  version: '11',
  keySize: 'bytes',
  creatorInContent: false,
  redactsInContent: true,
  redaction: keeping(V10.redaction, {
    dropped: ['origin', 'membership', 'prev_state'],
    content: [
      ['m.room.member', ['membership', 'join_authorised_via_users_server', ['third_party_invite', 'signed']]],
      ['m.room.create', 'all'],
      ['m.room.power_levels', [...V1_POWER_LEVELS, 'invite']],
      ['m.room.redaction', ['redacts']],
    ],
  }),
};

const V12: RoomVersionRules = {
  ...V11,
  version: '12',
  stateResolution: 'v2.1',
  roomIdIsCreateHash: true,
  createInAuthEvents: false,
  privilegedCreators: true,
};

/** https://github.com/matrix-org/matrix-spec-proposals/pull/3757: "on top of room version 10 or higher". */
const MSC3757_V10: RoomVersionRules = { ...V10, version: 'org.matrix.msc3757.10', ownedState: true };
const MSC3757_V11: RoomVersionRules = { ...V11, version: 'org.matrix.msc3757.11', ownedState: true };

const STABLE = [V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12];
const TABLE: ReadonlyMap<string, RoomVersionRules> = new Map(
  [...STABLE, MSC3757_V10, MSC3757_V11].map((rules) => [rules.version, Object.freeze(rules)]),
);

/**
 * The rules of a room version that this server knows. Whether it takes part in rooms of that version is another
 * question: see `JOINABLE_VERSIONS`.
 */
export function rulesOf(version: string): RoomVersionRules | undefined {
  return TABLE.get(version);
}

/** The rules of a room version that this server takes part in. */
export function supportedRulesOf(version: string): RoomVersionRules | undefined {
  return JOINABLE_VERSIONS.includes(version) ? TABLE.get(version) : undefined;
}

function keeping(
  before: RedactionRules,
  change: { dropped?: readonly string[]; content: readonly (readonly [string, KeptContent])[] },
): RedactionRules {
  return {
    keys: new Set([...before.keys].filter((key) => change.dropped?.includes(key) !== true)),
    content: new Map([...before.content, ...change.content]),
  };
}

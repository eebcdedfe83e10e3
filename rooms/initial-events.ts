/**
 * The events of a new room, in the order of
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
 */
import { belongsTo, type RoomAlias, type ServerName, type UserId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { stateMapKey } from './event.ts';
import type { MemberProfile } from './membership-local.ts';
import { additionalCreatorsOf } from './power.ts';
import type { RoomVersionRules } from './versions.ts';

export const PRESETS = ['private_chat', 'trusted_private_chat', 'public_chat'] as const;
export type Preset = (typeof PRESETS)[number];

/** What a new room is to be like: the body of `/createRoom`, in our names. */
export interface NewRoom {
  readonly creator: UserId;
  readonly roomVersion?: string | undefined;
  /** By `visibility` unless given. */
  readonly preset?: Preset | undefined;
  /** Whether the room is published in the directory; `private` unless given. */
  readonly visibility?: 'public' | 'private' | undefined;
  readonly name?: string | undefined;
  readonly topic?: string | undefined;
  /** The localpart of the alias to make. */
  readonly roomAliasName?: string | undefined;
  readonly invite?: readonly UserId[] | undefined;
  /** As it came from the client; checked here. */
  readonly initialState?: readonly Json[] | undefined;
  readonly powerLevelContentOverride?: JsonObject | undefined;
  readonly creationContent?: JsonObject | undefined;
  readonly isDirect?: boolean | undefined;
  /** Whether it is encrypted; what `initialState` says of that takes precedence. */
  readonly isEncrypted?: boolean | undefined;
  /** Of the creator, and of the invited users of this server. */
  readonly profiles?: ReadonlyMap<UserId, MemberProfile>;
}

/** A state event of a room that is not there yet; the creator sends it. */
export interface InitialEvent {
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

export type InitialEvents =
  | { readonly kind: 'ok'; readonly events: readonly InitialEvent[] }
  | { readonly kind: 'invalid'; readonly reason: string };

interface Settings {
  readonly rules: RoomVersionRules;
  readonly serverName: ServerName;
  readonly alias: RoomAlias | undefined;
}

/** Of one room, before its first message. */
const MOST_EVENTS = 1_000;

const ENCRYPTION = { algorithm: 'm.megolm.v1.aes-sha2' };

const PRESET_STATE: Record<Preset, readonly InitialEvent[]> = {
  private_chat: access('invite', 'can_join'),
  trusted_private_chat: access('invite', 'can_join'),
  public_chat: access('public'),
};

/**
 * The first events of a room, from the create event to the invites of this server's users. Whether they are
 * allowed is for the authorisation rules to say; `invalid` is what cannot be an event.
 */
export function initialEvents(room: NewRoom, settings: Settings): InitialEvents {
  const create = createContent(room, settings.rules);
  if (create.kind === 'invalid') return create;
  const given = givenState(room);
  if (given.kind === 'invalid') return given;
  const invites = invited(room).filter((userId) => belongsTo(userId, settings.serverName));
  const events = [
    // "1. The `m.room.create` event itself."
    state('m.room.create', create.content),
    // "2. An `m.room.member` event for the creator to join the room."
    member(room, room.creator, 'join'),
    // "3. A default `m.room.power_levels` event. Overridden by the `power_level_content_override` parameter."
    state('m.room.power_levels', powerLevels(room, settings.rules)),
    // "4. An `m.room.canonical_alias` event if `room_alias_name` is given."
    ...(settings.alias === undefined ? [] : [state('m.room.canonical_alias', { alias: settings.alias })]),
    // "5. Events set by the `preset`." "[initial_state] takes precedence over events set by `preset`".
    ...presetState(room).filter(({ type, stateKey }) => !given.keys.has(stateMapKey(type, stateKey))),
    // "6. Events listed in `initial_state`, in the order that they are listed."
    ...given.events,
    // "7. Events implied by `name` and `topic`."
    ...nameAndTopic(room),
    // "8. Invite events implied by `invite`."
    ...invites.map((userId) => member(room, userId, 'invite')),
  ];
  if (events.length > MOST_EVENTS) return invalid(`A room begins with ${MOST_EVENTS} events at most`);
  return { kind: 'ok', events };
}

/** Everybody to invite, once, without the creator. */
export function invited(room: NewRoom): UserId[] {
  return [...new Set(room.invite ?? [])].filter((userId) => userId !== room.creator);
}

/** "If unspecified, the server should use the `visibility` to determine which preset to use." */
export function presetOf(room: NewRoom): Preset {
  return room.preset ?? (room.visibility === 'public' ? 'public_chat' : 'private_chat');
}

type CreateContent =
  | { readonly kind: 'ok'; readonly content: JsonObject }
  | { readonly kind: 'invalid'; readonly reason: string };

/** "The server will overwrite the following keys: `creator`, `room_version`." */
function createContent(room: NewRoom, rules: RoomVersionRules): CreateContent {
  const { creator: _, ...extra } = room.creationContent ?? {};
  const federate = own(extra, 'm.federate');
  if (federate !== undefined && typeof federate !== 'boolean') return invalid('m.federate is not a boolean');
  const content: JsonObject = {
    ...extra,
    ...(rules.creatorInContent && { creator: room.creator }),
    room_version: rules.version,
  };
  if (!rules.privilegedCreators) return { kind: 'ok', content };
  const named = additionalCreatorsOf(extra);
  if (named === undefined) return invalid('additional_creators is not a list of user ids');
  if (presetOf(room) !== 'trusted_private_chat') return { kind: 'ok', content };
  // "The server SHOULD combine `additional_creators` specified here and the `invite` array into the eventual
  // `m.room.create` event's `additional_creators`, deduplicating between the two parameters."
  const creators = [...new Set([...named, ...invited(room)])];
  return {
    kind: 'ok',
    content: { ...content, ...(creators.length > 0 && { additional_creators: creators }) },
  };
}

function powerLevels(room: NewRoom, rules: RoomVersionRules): JsonObject {
  return {
    users: rules.privilegedCreators ? {} : initialUsers(room),
    users_default: 0,
    events: {
      'm.room.avatar': 50,
      'm.room.canonical_alias': 50,
      'm.room.encryption': 100,
      'm.room.history_visibility': 100,
      'm.room.name': 50,
      'm.room.power_levels': 100,
      'm.room.server_acl': 100,
      // v12: "the power level for sending `m.room.tombstone` events MUST explicitly be higher than `state_default`.
      // For example, set to 150 instead of 100."
      'm.room.tombstone': rules.privilegedCreators ? 150 : 100,
    },
    events_default: 0,
    state_default: 50,
    ban: 50,
    kick: 50,
    redact: 50,
    invite: presetOf(room) === 'public_chat' ? 50 : 0,
    historical: 100,
    notifications: { room: 50 },
    ...room.powerLevelContentOverride,
  };
}

/** "trusted_private_chat: All invitees are given the same power level as the room creator." */
function initialUsers(room: NewRoom): JsonObject {
  const equals = presetOf(room) === 'trusted_private_chat' ? invited(room) : [];
  return Object.fromEntries([room.creator, ...equals].map((userId) => [userId, 100]));
}

type GivenState =
  | { readonly kind: 'ok'; readonly events: readonly InitialEvent[]; readonly keys: ReadonlySet<string> }
  | { readonly kind: 'invalid'; readonly reason: string };

/** `initial_state`, without what `name` and `topic` override. */
function givenState(room: NewRoom): GivenState {
  const overridden = new Set(nameAndTopic(room).map(({ type, stateKey }) => stateMapKey(type, stateKey)));
  const events: InitialEvent[] = [];
  for (const item of room.initialState ?? []) {
    const event = isObject(item) ? givenEvent(item) : undefined;
    if (event === undefined) return invalid('initial_state is not a list of state events');
    if (event.type === 'm.room.create' || event.type === 'm.room.member') {
      return invalid(`initial_state may not have ${event.type} events`);
    }
    if (!overridden.has(stateMapKey(event.type, event.stateKey))) events.push(event);
  }
  return {
    kind: 'ok',
    events,
    keys: new Set(events.map(({ type, stateKey }) => stateMapKey(type, stateKey))),
  };
}

function givenEvent(item: JsonObject): InitialEvent | undefined {
  const type = stringAt(item, 'type');
  // "The state_key of the state event. Defaults to an empty string."
  const stateKey = own(item, 'state_key') ?? '';
  const content = objectAt(item, 'content');
  if (type === undefined || typeof stateKey !== 'string' || content === undefined) return undefined;
  return { type, stateKey, content };
}

function nameAndTopic({ name, topic }: NewRoom): InitialEvent[] {
  const events: InitialEvent[] = [];
  if (name !== undefined) events.push(state('m.room.name', { name }));
  if (topic !== undefined) {
    // "An `m.room.topic` event with a `text/plain` mimetype".
    const plain = { 'm.text': [{ body: topic, mimetype: 'text/plain' }] };
    events.push(state('m.room.topic', { topic, 'm.topic': plain }));
  }
  return events;
}

function member(room: NewRoom, userId: UserId, membership: 'join' | 'invite'): InitialEvent {
  const { displayname, avatar_url: avatarUrl } = room.profiles?.get(userId) ?? {};
  const content = {
    membership,
    ...(displayname !== undefined && { displayname }),
    ...(avatarUrl !== undefined && { avatar_url: avatarUrl }),
    // "This flag makes the server set the `is_direct` flag on the `m.room.member` events sent to the users in `invite`".
    ...(membership === 'invite' && room.isDirect === true && { is_direct: true }),
  };
  return { type: 'm.room.member', stateKey: userId, content };
}

function presetState(room: NewRoom): readonly InitialEvent[] {
  const ofPreset = PRESET_STATE[presetOf(room)];
  return room.isEncrypted === true ? [...ofPreset, state('m.room.encryption', ENCRYPTION)] : ofPreset;
}

/** "If this event is absent, servers should act as if it is present and has the guest_access value \"forbidden\"." */
function access(joinRule: string, guestAccess?: 'can_join'): InitialEvent[] {
  return [
    state('m.room.join_rules', { join_rule: joinRule }),
    state('m.room.history_visibility', { history_visibility: 'shared' }),
    ...(guestAccess === undefined ? [] : [state('m.room.guest_access', { guest_access: guestAccess })]),
  ];
}

function state(type: string, content: JsonObject): InitialEvent {
  return { type, stateKey: '', content };
}

function invalid(reason: string): { kind: 'invalid'; reason: string } {
  return { kind: 'invalid', reason };
}

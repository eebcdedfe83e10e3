/**
 * Signed event graphs for tests, in one line: `const room = roomOf(alice, { version: '12', join_rule: 'knock' })`.
 * Pure: no database, no clock, no randomness, so that the same calls give the same event ids.
 */
import { createHash } from 'node:crypto';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { keyPairFromSeed, type SigningKeyPair } from '#keys/ed25519.ts';
import { type EventId, type RoomId, type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { authStateOf, checkStateDependent, checkStateIndependent, type Refusal } from '#rooms/auth/check.ts';
import { authEventKeys } from '#rooms/auth/select.ts';
import { type Event, eventFrom, stateMapKey } from '#rooms/event.ts';
import { referenceHashesOf, writeReferences } from '#rooms/references.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { type RoomVersionRules, rulesOf } from '#rooms/versions.ts';

export interface RoomOptions {
  /** 12 unless given. */
  readonly version?: string;
  /** `invite` unless given. */
  readonly join_rule?: string;
  /** The `allow` list of restricted join rules. */
  readonly allow?: readonly JsonObject[];
  /** Joined after the creator, in this order. */
  readonly members?: readonly UserId[];
  /** Further content of the create event. */
  readonly create?: JsonObject;
  /** Content over the defaults of `m.room.power_levels`; null for a room without that event. */
  readonly power_levels?: JsonObject | null;
}

/** What is special about one event; the rest follows from the room. */
export interface EventOptions {
  readonly type: string;
  readonly content?: JsonObject;
  readonly state_key?: string;
  readonly prev_events?: readonly EventId[];
  readonly auth_events?: readonly EventId[];
  readonly origin_server_ts?: number;
  readonly depth?: number;
  /** Top-level keys that replace or add to all others; undefined removes a key. */
  readonly pdu?: Readonly<Record<string, JsonObject[string] | undefined>>;
}

const START_TS = 1_700_000_000_000;
const STEP_MS = 1_000;

/** The key pair of a server: always the same for the same name. */
export function keyPairOf(server: ServerName): SigningKeyPair {
  return keyPairFromSeed('test', createHash('sha256').update(`signing key of ${server}`).digest());
}

/** A room with its create event, its creator, power levels, join rules and members. */
export function roomOf(creator: UserId, options: RoomOptions = {}): TestRoom {
  const rules = rulesOf(options.version ?? '12');
  if (rules === undefined) throw new Error(`there is no room version ${options.version}`);
  const room = new TestRoom(rules, creator, options.create ?? {});
  room.join(creator);
  if (options.power_levels !== null) {
    const users = rules.privilegedCreators ? {} : { [creator]: 100 };
    room.state(creator, 'm.room.power_levels', '', { users, ...options.power_levels });
  }
  const members = options.members ?? [];
  for (const member of members) room.invite(creator, member);
  const { join_rule = 'invite', allow } = options;
  room.state(creator, 'm.room.join_rules', '', { join_rule, ...(allow !== undefined && { allow }) });
  for (const member of members) room.join(member);
  return room;
}

/** A line of events in a room, with the state after the last one. `fork` begins another line. */
export class TestRoom {
  readonly rules: RoomVersionRules;
  readonly creator: UserId;
  readonly create: Event;
  /** All events of all lines, in the order in which they were made. */
  readonly events: Map<EventId, Event>;
  /** The state after the last event, by `stateMapKey`, whether the rules allow the events or not. */
  readonly stateMap: Map<string, Event>;
  /** What the next event follows. */
  heads: readonly Event[];

  constructor(rules: RoomVersionRules, creator: UserId, create: JsonObject, line?: TestRoom) {
    this.rules = rules;
    this.creator = creator;
    this.events = line?.events ?? new Map();
    this.stateMap = new Map(line?.stateMap);
    this.heads = line?.heads ?? [];
    this.create = line?.create ?? this.#createEvent(create);
  }

  get roomId(): RoomId {
    return this.create.roomId;
  }

  /** The last event of the line. */
  get last(): Event {
    return this.heads.at(-1) ?? this.create;
  }

  /** The state event of the line under a key. */
  get(type: string, stateKey = ''): Event | undefined {
    return this.stateMap.get(stateMapKey(type, stateKey));
  }

  /** Another line from here: both share the events before, neither sees the events of the other. */
  fork(): TestRoom {
    return new TestRoom(this.rules, this.creator, {}, this);
  }

  /** Lets the next event follow the lines given as well; `state` events win over those of this line. */
  merge(others: readonly TestRoom[], state: Iterable<Event> = []): this {
    this.heads = [...this.heads, ...others.flatMap((other) => other.heads)];
    for (const event of state) this.stateMap.set(stateMapKey(event.type, event.stateKey ?? ''), event);
    return this;
  }

  /** Builds and signs an event that would follow; the line stays as it is. */
  draft(sender: UserId, options: EventOptions): Event {
    const bare: Record<string, JsonObject[string] | undefined> = {
      room_id: this.roomId,
      sender,
      type: options.type,
      state_key: options.state_key,
      content: options.content ?? {},
      depth: options.depth ?? Math.max(...this.heads.map(({ depth }) => depth)) + 1,
      origin_server_ts: options.origin_server_ts ?? this.#nextTs(),
      prev_events: this.#cite(options.prev_events ?? this.heads.map(({ eventId }) => eventId)),
      auth_events: this.#cite(options.auth_events ?? this.#authEventsFor(sender, options)),
      ...options.pdu,
    };
    return signed(bare, this.rules);
  }

  /** Adds an event to the line, whether the rules allow it or not. */
  send(sender: UserId, options: EventOptions): Event {
    const event = this.draft(sender, options);
    this.#append(event);
    return event;
  }

  /** Adds an event that somebody else has made. */
  add(event: Event): void {
    this.#append(event);
  }

  message(sender: UserId, body: string): Event {
    return this.send(sender, { type: 'm.room.message', content: { msgtype: 'm.text', body } });
  }

  state(sender: UserId, type: string, stateKey: string, content: JsonObject): Event {
    return this.send(sender, { type, state_key: stateKey, content });
  }

  /** A membership event; `content` holds more than the membership. */
  member(sender: UserId, target: UserId, membership: string, content: JsonObject = {}): Event {
    return this.state(sender, 'm.room.member', target, { membership, ...content });
  }

  join(userId: UserId, content: JsonObject = {}): Event {
    return this.member(userId, userId, 'join', content);
  }

  invite(sender: UserId, target: UserId): Event {
    return this.member(sender, target, 'invite');
  }

  leave(userId: UserId): Event {
    return this.member(userId, userId, 'leave');
  }

  kick(sender: UserId, target: UserId): Event {
    return this.member(sender, target, 'leave');
  }

  ban(sender: UserId, target: UserId): Event {
    return this.member(sender, target, 'ban');
  }

  knock(userId: UserId): Event {
    return this.member(userId, userId, 'knock');
  }

  /** Why an event is not allowed: by its auth events, and by the state of this line. */
  check(event: Event): string | undefined {
    return this.refusal(event)?.reason;
  }

  /** As `check`, with the rule. */
  refusal(event: Event): Refusal | undefined {
    const authEvents = new Map(
      event.authEvents.flatMap((id): [EventId, Event][] => {
        const authEvent = this.events.get(id);
        return authEvent === undefined ? [] : [[id, authEvent]];
      }),
    );
    return (
      checkStateIndependent(event, authEvents, this.create) ??
      checkStateDependent(event, authStateOf(this.stateMap.values()))
    );
  }

  /** The verdict on an event that would follow, in one step. */
  verdict(sender: UserId, options: EventOptions): string | undefined {
    return this.check(this.draft(sender, options));
  }

  /** As `verdict`, with the rule. */
  refusalOf(sender: UserId, options: EventOptions): Refusal | undefined {
    return this.refusal(this.draft(sender, options));
  }

  #createEvent(extra: JsonObject): Event {
    const { rules, creator } = this;
    const content = {
      room_version: rules.version,
      ...(rules.creatorInContent && { creator }),
      ...extra,
    };
    const create = signed(
      {
        ...(!rules.roomIdIsCreateHash && { room_id: `!test:${serverNameOf(creator)}` }),
        sender: creator,
        type: 'm.room.create',
        state_key: '',
        content,
        depth: 1,
        origin_server_ts: START_TS,
        prev_events: [],
        auth_events: [],
      },
      rules,
    );
    this.#append(create);
    return create;
  }

  /** The references as the version writes them; those to events that nobody has made with a made-up hash. */
  #cite(eventIds: readonly EventId[]): JsonObject[string] {
    const made = [...new Set(eventIds)].map((eventId) => this.events.get(eventId));
    const hashes = new Map(eventIds.map((eventId) => [eventId, 'bm9ib2R5IGhhcyBtYWRlIGl0']));
    for (const [eventId, hash] of referenceHashesOf(
      made.filter((event) => event !== undefined),
      this.rules,
    )) {
      hashes.set(eventId, hash);
    }
    return writeReferences(eventIds, this.rules, hashes);
  }

  #append(event: Event): void {
    this.events.set(event.eventId, event);
    this.heads = [event];
    if (event.stateKey !== undefined) this.stateMap.set(stateMapKey(event.type, event.stateKey), event);
  }

  #nextTs(): number {
    return START_TS + this.events.size * STEP_MS;
  }

  #authEventsFor(sender: UserId, options: EventOptions): EventId[] {
    const { type, state_key: stateKey, content = {} } = options;
    return authEventKeys({ type, sender, stateKey, content }, this.rules)
      .map((key) => this.get(key.type, key.stateKey)?.eventId)
      .filter((id) => id !== undefined);
  }
}

function signed(
  changed: Readonly<Record<string, JsonObject[string] | undefined>>,
  rules: RoomVersionRules,
): Event {
  const entries = Object.entries(changed).filter(
    (entry): entry is [string, JsonObject[string]] => entry[1] !== undefined,
  );
  const parts = Object.fromEntries(entries);
  const server = serverNameOf(String(parts.sender)) ?? 'nowhere.test';
  const isChosen = rules.eventIds === 'chosen' && !Object.hasOwn(changed, 'event_id');
  const pdu = isChosen ? { ...parts, event_id: chosenId(parts, server) } : parts;
  return eventFrom(signEvent(pdu, rules, server, keyPairOf(server)), rules);
}

/** v1, v2: the same for the same event, another for another. */
function chosenId(pdu: JsonObject, server: ServerName): EventId {
  return `$${createHash('sha256').update(encodeCanonical(pdu)).digest('hex').slice(0, 18)}:${server}`;
}

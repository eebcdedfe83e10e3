import { createHash } from 'node:crypto';
import type { UserId } from '#keys/ids.ts';
import type { Database } from '#storage/database.ts';
import { Lru } from '#storage/lru.ts';
import * as pushRules from '#storage/push-rules.ts';
import type { Streams } from '#storage/streams.ts';
import type { Placed } from '#storage/timeline.ts';
import { ignoredBy } from '../reading/ignored-users.ts';
import { ANY_OWNER } from './conditions.ts';
import type { DefaultRuleOptions } from './default-rules.ts';
import { type CompiledRules, compileRules, following, ownedBy } from './evaluate.ts';
import { type FollowedThreads, followedThreads } from './followed-threads.ts';
import { rulesetOf } from './ruleset.ts';
import { ServerRules } from './server-rules.ts';

/** What decides of which events a user is notified. */
export interface UserRules {
  readonly userId: UserId;
  /** Of the streams, for what concerns the user. */
  readonly userKey: string;
  readonly compiled: CompiledRules;
  /** Whose events never notify. */
  readonly ignored: ReadonlySet<string>;
  /** How long the rules are as text. */
  readonly characters: number;
  /** The position of the last change of the rules, or of the threads that they ask for; 0 where there was none. */
  readonly changedAt: number;
  /** Says for a room what is decided: the same as long as the same events of the room notify. */
  keyFor(roomId: string): string;
}

interface Known {
  /** `ofUser` with the threads that the user follows, where they are asked for. */
  readonly rules: UserRules;
  readonly ofUser: UserRules;
  readonly followed: FollowedThreads | undefined;
  asOf: number;
}

interface ReadRules {
  readonly own: pushRules.OwnRules;
  readonly position: number;
  readonly ignored: ReadonlySet<string>;
}

/** Those of everybody who has changed nothing. */
interface SharedRules {
  readonly compiled: CompiledRules;
  readonly key: string;
}

type RulesContext = { readonly db: Database; readonly streams: Streams };

const MOST_USERS = 5_000;
/** Of rules as text, in characters. */
const MOST_WEIGHT = 50_000_000;
const CHARACTERS_OF_ID = 50;
const KEY_CHARACTERS = 22;

/** The rules of users, prepared once and again after a change. */
export class RulesOfUsers {
  readonly options: DefaultRuleOptions;
  readonly #ctx: RulesContext;
  readonly #server: ServerRules;
  readonly #shared: SharedRules;
  readonly #known = new Lru<UserId, Known>({
    maxEntries: MOST_USERS,
    maxWeight: MOST_WEIGHT,
    weigh: ({ rules }) => rules.characters + CHARACTERS_OF_ID * rules.ignored.size,
  });

  constructor(ctx: RulesContext, options: DefaultRuleOptions) {
    this.#ctx = ctx;
    this.options = options;
    this.#server = new ServerRules(options);
    this.#shared = sharedRules(options, this.#server);
  }

  /** The user's rules, where they are in memory. */
  known(userId: UserId): UserRules | undefined {
    const { streams } = this.#ctx;
    const known = this.#known.get(userId);
    if (known === undefined || streams.mayConcern(known.rules.userKey, known.asOf)) return undefined;
    known.asOf = streams.upto();
    return known.rules;
  }

  async find(userId: UserId): Promise<UserRules> {
    const { db, streams } = this.#ctx;
    const current = this.known(userId);
    if (current !== undefined) return current;
    const known = this.#known.peek(userId);
    const upto = streams.upto();
    const { own, position } = await pushRules.get(db, userId);
    const ignored = await ignoredBy(db, userId);
    const isSame =
      known !== undefined &&
      known.ofUser.changedAt === position &&
      ignored.symmetricDifference(known.ofUser.ignored).size === 0;
    const ofUser = isSame ? known.ofUser : this.#rulesOf(userId, { own, position, ignored });
    const followed = ofUser.compiled.asksForThreads
      ? await followedThreads(db, userId, { known: known?.followed, upto })
      : undefined;
    const isUnchanged = isSame && followed === known.followed;
    const rules = isUnchanged ? known.rules : withThreads(ofUser, followed);
    this.#known.set(userId, { rules, ofUser, followed, asOf: upto });
    return rules;
  }

  #rulesOf(userId: UserId, read: ReadRules): UserRules {
    const { options } = this;
    // Those of before Matrix 1.17 name the user: each has their own.
    if (read.own === pushRules.NO_RULES && !options.legacyMentions)
      return sharedRulesOf(userId, read, this.#shared);
    const ruleset = rulesetOf(userId, read.own, options);
    const general = hashOf([{ ...ruleset, room: [] }, [...read.ignored].sort()]);
    const ofRooms = new Map(ruleset.room.map((rule) => [rule.rule_id, `${general} ${hashOf(rule)}`]));
    return {
      userId,
      userKey: `user:${userId}`,
      compiled: compileRules(userId, ruleset, this.#server),
      ignored: read.ignored,
      characters: JSON.stringify(ruleset).length,
      changedAt: read.position,
      keyFor: (roomId) => ofRooms.get(roomId) ?? general,
    };
  }
}

function sharedRules(options: DefaultRuleOptions, server: ServerRules): SharedRules {
  const defaults = rulesetOf(ANY_OWNER, pushRules.NO_RULES, options);
  return { compiled: compileRules(ANY_OWNER, defaults, server), key: hashOf(defaults) };
}

/** Most users have changed nothing: what they have in common is there once for all. */
function sharedRulesOf(
  userId: UserId,
  { ignored, position }: ReadRules,
  { compiled, key }: SharedRules,
): UserRules {
  const own = ignored.size === 0 ? key : `${key} ${hashOf([...ignored].sort())}`;
  return {
    userId,
    userKey: `user:${userId}`,
    compiled: ownedBy(compiled, userId),
    ignored,
    characters: CHARACTERS_OF_ID,
    changedAt: position,
    keyFor: () => own,
  };
}

/** Rules that ask which threads their owner follows, with these. */
function withThreads(rules: UserRules, followed: FollowedThreads | undefined): UserRules {
  if (followed === undefined) return rules;
  const { keys, changes } = followed;
  return {
    ...rules,
    compiled: following(rules.compiled, keys),
    changedAt: Math.max(rules.changedAt, followed.changedAt),
    characters: rules.characters + 2 * CHARACTERS_OF_ID * (keys.size + changes.size),
    keyFor: (roomId) => {
      const changed = changes.get(roomId);
      return changed === undefined ? rules.keyFor(roomId) : `${rules.keyFor(roomId)} ${changed}`;
    },
  };
}

function hashOf(value: object): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64url').slice(0, KEY_CHARACTERS);
}

/** Without what needs not even be loaded: by the default rules others' memberships notify nobody. */
export function relevantTo({ compiled, userId }: UserRules, events: readonly Placed[]): number[] {
  const nids: number[] = [];
  for (const { nid, member } of events) {
    if (member === undefined || member === userId || !compiled.isShared) nids.push(nid);
  }
  return nids;
}

import { createHash } from 'node:crypto';
import type { UserId } from '#keys/ids.ts';
import type { Database } from '#storage/database.ts';
import { Lru } from '#storage/lru.ts';
import * as pushRules from '#storage/push-rules.ts';
import type { Streams } from '#storage/streams.ts';
import { ignoredBy } from '../ignored-users.ts';
import { ANY_OWNER } from './conditions.ts';
import { type CompiledRules, compileRules, ownedBy } from './evaluate.ts';
import { rulesetOf } from './ruleset.ts';

/** What decides of which events a user is notified. */
export interface UserRules {
  readonly userId: UserId;
  readonly compiled: CompiledRules;
  /** Whose events never notify. */
  readonly ignored: ReadonlySet<string>;
  /** How long the rules are as text. */
  readonly characters: number;
  /** The position of the last change of the rules; 0 where there was none. */
  readonly changedAt: number;
  /** Says for a room what is decided: the same as long as the same events of the room notify. */
  keyFor(roomId: string): string;
}

type RulesContext = { readonly db: Database; readonly streams: Streams };

const MOST_USERS = 5_000;
/** Of rules as text, in characters. */
const MOST_WEIGHT = 50_000_000;
const CHARACTERS_OF_ID = 50;
const KEY_CHARACTERS = 22;

/** The rules of users, prepared once and again after a change. */
export class RulesOfUsers {
  /** Whether the rules of before Matrix 1.17 are among the server's. */
  readonly hasLegacyMentions: boolean;
  readonly #ctx: RulesContext;
  readonly #known = new Lru<UserId, { readonly rules: UserRules; asOf: number }>({
    maxEntries: MOST_USERS,
    maxWeight: MOST_WEIGHT,
    weigh: ({ rules }) => rules.characters + CHARACTERS_OF_ID * rules.ignored.size,
  });

  constructor(ctx: RulesContext, hasLegacyMentions: boolean) {
    this.#ctx = ctx;
    this.hasLegacyMentions = hasLegacyMentions;
  }

  /** The user's rules, where they are in memory. */
  known(userId: UserId): UserRules | undefined {
    const { streams } = this.#ctx;
    const known = this.#known.get(userId);
    if (known === undefined || streams.mayConcern(`user:${userId}`, known.asOf)) return undefined;
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
      known.rules.changedAt === position &&
      ignored.symmetricDifference(known.rules.ignored).size === 0;
    const rules = isSame
      ? known.rules
      : userRulesOf(userId, { own, position, ignored }, this.hasLegacyMentions);
    this.#known.set(userId, { rules, asOf: upto });
    return rules;
  }
}

function userRulesOf(
  userId: UserId,
  read: {
    readonly own: pushRules.OwnRules;
    readonly position: number;
    readonly ignored: ReadonlySet<string>;
  },
  hasLegacyMentions: boolean,
): UserRules {
  // Those of before Matrix 1.17 name the user: each has their own.
  if (read.own === pushRules.NO_RULES && !hasLegacyMentions) return defaultsOf(userId, read);
  const ruleset = rulesetOf(userId, read.own, hasLegacyMentions);
  const general = hashOf([{ ...ruleset, room: [] }, [...read.ignored].sort()]);
  const ofRooms = new Map(ruleset.room.map((rule) => [rule.rule_id, `${general} ${hashOf(rule)}`]));
  return {
    userId,
    compiled: compileRules(userId, ruleset),
    ignored: read.ignored,
    characters: JSON.stringify(ruleset).length,
    changedAt: read.position,
    keyFor: (roomId) => ofRooms.get(roomId) ?? general,
  };
}

const DEFAULTS = rulesetOf(ANY_OWNER, pushRules.NO_RULES);
const COMPILED = compileRules(ANY_OWNER, DEFAULTS);
const KEY = hashOf(DEFAULTS);

/** Most users have changed nothing: what they have in common is there once for all. */
function defaultsOf(
  userId: UserId,
  { ignored, position }: { readonly ignored: ReadonlySet<string>; readonly position: number },
): UserRules {
  const key = ignored.size === 0 ? KEY : `${KEY} ${hashOf([...ignored].sort())}`;
  return {
    userId,
    compiled: ownedBy(COMPILED, userId),
    ignored,
    characters: CHARACTERS_OF_ID,
    changedAt: position,
    keyFor: () => key,
  };
}

function hashOf(value: object): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64url').slice(0, KEY_CHARACTERS);
}

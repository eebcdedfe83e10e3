/**
 * Which push rule an event matches: https://spec.matrix.org/v1.19/client-server-api/#push-rules
 *
 * Pure. Rules are prepared once for each user (`compileRules`), and then asked for each event.
 */

import type { UserId } from '#keys/ids.ts';
import { isObject, type Json, objectAt, own } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import {
  ANY_OWNER,
  asksForThreads,
  BUDGET,
  bodyMatches,
  type Condition,
  conditionOf,
  type Facts,
  type Look,
  memberCountTest,
  threadKeyOf,
} from './conditions.ts';
import { type PushRule, type PushRuleset, type RulesetKind, rulesetKinds } from './ruleset.ts';

/** What a rule does, as far as it counts here; sounds and other tweaks are for those who show it. */
export interface Effect {
  readonly notify: boolean;
  readonly highlight: boolean;
}

interface CompiledRule {
  readonly rule: PushRule;
  readonly conditions: readonly Condition[];
  readonly effect: Effect;
}

/** The enabled rules, in the order in which they are checked. */
export interface CompiledRules {
  readonly userId: string;
  readonly rules: readonly CompiledRule[];
  /** What the rules ask of the number of members. */
  readonly memberCounts: readonly ((count: number) => boolean)[];
  /** Some rule asks which threads the user follows. */
  readonly asksForThreads: boolean;
  /** The threads that the user follows (`threadKey`), where some rule asks for them. */
  readonly followed?: ReadonlySet<string>;
  /** Of rules that many users share: what they make of events, without facts. */
  readonly offhand?: WeakMap<Event, Offhand>;
}

interface Offhand {
  /** For everybody whom the event does not name. */
  readonly effect: Effect | undefined;
  /** In lower case. */
  readonly named: ReadonlySet<string>;
}

const NOTHING: Effect = { notify: false, highlight: false };

/** Prepares a user's rules; those of `ANY_OWNER` for all users. "Disabled rules never match." */
export function compileRules(userId: UserId, ruleset: PushRuleset): CompiledRules {
  const isShared = userId === ANY_OWNER;
  const rules = rulesetKinds.flatMap((kind) =>
    ruleset[kind]
      .filter((rule) => rule.enabled)
      .map((rule) => ({
        rule,
        conditions: conditionsOf(kind, rule, isShared),
        effect: effectOfActions(rule.actions),
      })),
  );
  const asked = rules.flatMap(({ rule }) =>
    Array.isArray(rule.conditions) ? (rule.conditions as readonly Json[]) : [],
  );
  const memberCounts = asked.map(memberCountTest).filter((test) => test !== undefined);
  return {
    ...{ userId, rules, memberCounts, asksForThreads: asked.some(asksForThreads) },
    ...(isShared && { offhand: new WeakMap() }),
  };
}

/** Shared rules as those of one user. */
export function ownedBy(shared: CompiledRules, userId: UserId): CompiledRules {
  return { ...shared, userId };
}

/** Rules with the threads that their owner follows. */
export function following(compiled: CompiledRules, followed: ReadonlySet<string>): CompiledRules {
  return { ...compiled, followed };
}

/** What a number of members is to the rules: two numbers with the same answers are the same to them. */
export function memberCountKey({ memberCounts }: CompiledRules, count: number): string {
  return memberCounts.map((test) => (test(count) ? '1' : '0')).join('');
}

/**
 * What the rules make of an event. Undefined where that depends on a fact which was not looked up: most events are
 * decided without.
 */
export function effectOf(compiled: CompiledRules, event: Event, facts: Facts): Effect | undefined {
  const look = lookOf(compiled, event, facts);
  const { rules } = compiled;
  let possible: Effect | undefined;
  for (const { conditions, effect } of rules) {
    const matches = allHold(conditions, look);
    if (matches === false) continue;
    if (possible !== undefined && !isSame(possible, effect)) return undefined;
    if (matches === true) return effect;
    possible = effect;
  }
  return possible === undefined || isSame(possible, NOTHING) ? NOTHING : undefined;
}

/** `effectOf` without facts: where many share the rules it is known from the first who asked, unless the event names the user. */
export function effectOffhand(compiled: CompiledRules, event: Event): Effect | undefined {
  const { offhand, userId } = compiled;
  const isByThread = compiled.asksForThreads && threadKeyOf(event) !== undefined;
  if (offhand === undefined || isByThread) return effectOf(compiled, event, {});
  let known = offhand.get(event);
  if (known === undefined) {
    known = { effect: effectOf({ ...compiled, userId: ANY_OWNER }, event, {}), named: namedIn(event) };
    offhand.set(event, known);
  }
  const isNamed = known.named.size > 0 && known.named.has(userId.toLowerCase());
  return isNamed ? effectOf(compiled, event, {}) : known.effect;
}

/** All whom shared rules may ask for. */
function namedIn({ stateKey, content }: Event): ReadonlySet<string> {
  const mentioned = own(objectAt(content, 'm.mentions') ?? {}, 'user_ids');
  const named = Array.isArray(mentioned) ? mentioned.filter((userId) => typeof userId === 'string') : [];
  return new Set([...named, ...(stateKey === undefined ? [] : [stateKey])].map((id) => id.toLowerCase()));
}

/** The rule that an event matches, where all facts are known; undefined where it matches none. */
export function matchingRule(compiled: CompiledRules, event: Event, facts: Facts): PushRule | undefined {
  const look = lookOf(compiled, event, facts);
  return compiled.rules.find(({ conditions }) => allHold(conditions, look) === true)?.rule;
}

/** The same where facts may be missing: `unknown` where one of them decides. */
export function matchingRuleOffhand(
  compiled: CompiledRules,
  event: Event,
  facts: Facts,
): PushRule | 'none' | 'unknown' {
  const look = lookOf(compiled, event, facts);
  for (const { rule, conditions } of compiled.rules) {
    const matches = allHold(conditions, look);
    if (matches === undefined) return 'unknown';
    if (matches) return rule;
  }
  return 'none';
}

/** "Clients and homeservers MUST ignore" the actions `dont_notify` and `coalesce`. */
export function effectOfActions(actions: readonly Json[]): Effect {
  if (!actions.includes('notify')) return NOTHING;
  const highlights = actions.filter((action) => isObject(action) && action.set_tweak === 'highlight');
  const last = highlights.at(-1);
  // "If a `highlight` tweak is given with no value, its value is defined to be `true`."
  const highlight = isObject(last) && (own(last, 'value') ?? true) === true;
  return { notify: true, highlight };
}

function lookOf({ userId, followed }: CompiledRules, event: Event, facts: Facts): Look {
  return { event, userId, facts, followed, budget: BUDGET };
}

/** False as soon as one does not hold, else undefined where one is not known. */
function allHold(conditions: readonly Condition[], look: Look): boolean | undefined {
  let isKnown = true;
  for (const condition of conditions) {
    const holds = condition(look);
    if (holds === false) return false;
    if (holds === undefined) isKnown = false;
  }
  return isKnown ? true : undefined;
}

function isSame(a: Effect, b: Effect): boolean {
  return a.notify === b.notify && a.highlight === b.highlight;
}

/** "`room`, `sender` and `content` rules do not have conditions in the same way, but [...] predefined conditions." */
function conditionsOf(kind: RulesetKind, rule: PushRule, isShared: boolean): readonly Condition[] {
  switch (kind) {
    case 'room':
      return [({ event }) => event.roomId === rule.rule_id];
    case 'sender':
      return [({ event }) => event.sender === rule.rule_id];
    case 'content':
      return [bodyMatches(rule.pattern)];
    case 'override':
    case 'postcontent':
    case 'underride':
      return Array.isArray(rule.conditions)
        ? rule.conditions.map((condition) => conditionOf(condition, isShared))
        : [];
  }
}

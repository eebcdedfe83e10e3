/**
 * Which push rule an event matches: https://spec.matrix.org/v1.19/client-server-api/#push-rules
 *
 * Pure. Rules are prepared once for each user (`compileRules`), and then asked for each event.
 */

import type { UserId } from '#keys/ids.ts';
import { isObject, type Json, own } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { ANY_OWNER, asksForThreads, BUDGET, type Facts, type Look, memberCountTest } from './conditions.ts';
import { type Effect, type MatchedRule, type PlacedRule, type Step, stepOf } from './rule-steps.ts';
import { type PushRuleset, rulesetKinds } from './ruleset.ts';
import type { ServerRules } from './server-rules.ts';

/** The enabled rules, in the order in which they are checked. */
export interface CompiledRules {
  readonly userId: string;
  readonly steps: readonly Step[];
  /** What the rules ask of the number of members. */
  readonly memberCounts: readonly ((count: number) => boolean)[];
  /** Some rule asks which threads the user follows. */
  readonly asksForThreads: boolean;
  /** The threads that the user follows (`threadKey`), where some rule asks for them. */
  readonly followed?: ReadonlySet<string>;
  /** They are those of everybody who has changed nothing. */
  readonly isShared: boolean;
}

const NOTHING: Effect = { notify: false, highlight: false };
const NO_FACTS: Facts = {};

/**
 * Prepares a user's rules; those of `ANY_OWNER` for all users. "Disabled rules never match." `server` has what the rules
 * of all users have in common.
 */
export function compileRules(userId: UserId, ruleset: PushRuleset, server?: ServerRules): CompiledRules {
  const isShared = userId === ANY_OWNER;
  const rules = rulesetKinds.flatMap((kind) =>
    ruleset[kind]
      .filter(({ enabled }) => enabled)
      .map((rule) => ({ kind, rule, effect: effectOfActions(rule.actions) })),
  );
  const asked = rules.flatMap(({ rule }) =>
    Array.isArray(rule.conditions) ? (rule.conditions as readonly Json[]) : [],
  );
  const steps = runsOf(rules, server).map(({ ofServer, run }) => {
    const [first] = run;
    return ofServer !== undefined || first === undefined
      ? ofServer?.stepOf(run)
      : stepOf(first.kind, run, isShared);
  });
  return {
    ...{ userId, isShared, steps: steps.filter((step) => step !== undefined) },
    memberCounts: asked.map(memberCountTest).filter((test) => test !== undefined),
    asksForThreads: asked.some(asksForThreads),
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
  let possible: Effect | undefined;
  let isOpen = false;
  const isDecided = visitMatches(compiled, lookOf(compiled, event, facts), ({ effect }, isKnown) => {
    isOpen = possible !== undefined && !isSame(possible, effect);
    possible ??= effect;
    return isOpen || isKnown;
  });
  if (isOpen) return undefined;
  if (isDecided || possible === undefined) return possible ?? NOTHING;
  return isSame(possible, NOTHING) ? NOTHING : undefined;
}

/** `effectOf` without facts. */
export function effectOffhand(compiled: CompiledRules, event: Event): Effect | undefined {
  return effectOf(compiled, event, NO_FACTS);
}

/** The rule that an event matches, where all facts are known; undefined where it matches none. */
export function matchingRule(compiled: CompiledRules, event: Event, facts: Facts): MatchedRule | undefined {
  let found: MatchedRule | undefined;
  visitMatches(compiled, lookOf(compiled, event, facts), ({ rule }, isKnown) => {
    if (isKnown) found = rule;
    return isKnown;
  });
  return found;
}

/** The same where facts may be missing: `unknown` where one of them decides. */
export function matchingRuleOffhand(
  compiled: CompiledRules,
  event: Event,
  facts: Facts,
): MatchedRule | 'none' | 'unknown' {
  let found: MatchedRule | 'none' | 'unknown' = 'none';
  visitMatches(compiled, lookOf(compiled, event, facts), ({ rule }, isKnown) => {
    found = isKnown ? rule : 'unknown';
    return true;
  });
  return found;
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

/** The rules in order, cut where those of the server and of the user, or two kinds of the user's, meet. */
function runsOf(
  rules: readonly PlacedRule[],
  server: ServerRules | undefined,
): { readonly ofServer: ServerRules | undefined; readonly run: readonly PlacedRule[] }[] {
  const runs: { readonly ofServer: ServerRules | undefined; readonly run: PlacedRule[] }[] = [];
  for (const rule of rules) {
    const ofServer = server?.has(rule.kind, rule.rule) === true ? server : undefined;
    const last = runs.at(-1);
    const isSameRun =
      last?.ofServer === ofServer && (ofServer !== undefined || last?.run[0]?.kind === rule.kind);
    if (last !== undefined && isSameRun) last.run.push(rule);
    else runs.push({ ofServer, run: [rule] });
  }
  return runs;
}

function visitMatches({ steps }: CompiledRules, look: Look, visit: Parameters<Step>[1]): boolean {
  for (const step of steps) if (step(look, visit)) return true;
  return false;
}

function lookOf({ userId, followed }: CompiledRules, event: Event, facts: Facts): Look {
  return { event, userId, facts, followed, budget: BUDGET };
}

function isSame(a: Effect, b: Effect): boolean {
  return a.notify === b.notify && a.highlight === b.highlight;
}

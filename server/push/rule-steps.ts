/**
 * The rules of a user as steps, in the order in which they are checked. An event comes to all members of a room, and
 * the rules of each are far apart in memory: a step looks at no rule of which something simpler tells that it does not
 * match.
 */

import type { Json } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { globOf, matchesGlobInWords } from '#rooms/glob.ts';
import { bodyOf, type Condition, conditionOf, type Look, lowerCase, spend } from './conditions.ts';
import type { PushRule, RulesetKind } from './ruleset.ts';

/** What a rule does, as far as it counts here; sounds and other tweaks are for those who show it. */
export interface Effect {
  readonly notify: boolean;
  readonly highlight: boolean;
}

/** A rule that an event has matched, without what it has matched by. */
export interface MatchedRule {
  readonly rule_id: string;
  readonly actions: readonly Json[];
}

export interface CompiledRule {
  readonly rule: MatchedRule;
  readonly effect: Effect;
}

/** One that is to be put into a step. */
export interface PlacedRule extends CompiledRule {
  readonly rule: PushRule;
  readonly kind: RulesetKind;
}

/** Gets the rules that match; also those of which that is not known: `isKnown` is false. True: no more of them. */
export type Visit = (rule: CompiledRule, isKnown: boolean) => boolean;

/** Visits the rules of the step that match a look, in order; true where that is to end. */
export type Step = (look: Look, visit: Visit) => boolean;

/** The step of rules of one kind. `isShared`: `ANY_OWNER` in them stands for whose rules they are. */
export function stepOf(kind: RulesetKind, rules: readonly PlacedRule[], isShared: boolean): Step {
  switch (kind) {
    case 'room':
      return stepById(rules, (event) => event.roomId);
    case 'sender':
      return stepById(rules, (event) => event.sender);
    case 'content':
      return stepOfWords(rules);
    case 'override':
    case 'postcontent':
    case 'underride':
      return stepOfConditions(rules, isShared);
  }
}

/** "`room`, `sender` and `content` rules do not have conditions in the same way, but [...] predefined conditions." */
function stepById(rules: readonly CompiledRule[], idIn: (event: Event) => string): Step {
  const byId = new Map(rules.map((rule) => [rule.rule.rule_id, rule]));
  return ({ event }, visit) => {
    const rule = byId.get(idIn(event));
    return rule !== undefined && visit(rule, true);
  };
}

function stepOfConditions(rules: readonly PlacedRule[], isShared: boolean): Step {
  const prepared = rules.map((rule) => ({ rule, conditions: conditionsOf(rule.rule, isShared) }));
  return (look, visit) => {
    for (const { rule, conditions } of prepared) {
      const matches = allHold(conditions, look);
      if (matches !== false && visit(rule, matches === true)) return true;
    }
    return false;
  };
}

/** Mostly none of the words is in the text: this is told by the longest piece of each pattern. */
function stepOfWords(rules: readonly PlacedRule[]): Step {
  const words = rules.flatMap((rule) => {
    const { pattern } = rule.rule;
    return typeof pattern === 'string' ? [{ rule, glob: globOf(pattern.toLowerCase()) }] : [];
  });
  const weights = words.map(({ glob }) => glob.weight);
  const pieces = words.map(({ glob }) => longestOf(glob.parts.flatMap((part) => part.split('?'))));
  return (look, visit) => {
    const value = bodyOf(look.event);
    if (value === undefined) return false;
    const text = lowerCase(value);
    for (let index = 0; index < words.length; index++) {
      if (!spend(look, (weights[index] ?? 0) * value.length)) continue;
      if (!text.includes(pieces[index] ?? '')) continue;
      const word = words[index];
      if (word !== undefined && matchesGlobInWords(word.glob, text) && visit(word.rule, true)) return true;
    }
    return false;
  };
}

export function conditionsOf({ conditions }: PushRule, isShared: boolean): readonly Condition[] {
  if (!Array.isArray(conditions)) return [];
  return (conditions as readonly Json[]).map((condition) => conditionOf(condition, isShared));
}

/** False as soon as one does not hold, else undefined where one is not known. */
export function allHold(conditions: readonly Condition[], look: Look): boolean | undefined {
  let isKnown = true;
  for (const condition of conditions) {
    const holds = condition(look);
    if (holds === false) return false;
    if (holds === undefined) isKnown = false;
  }
  return isKnown ? true : undefined;
}

function longestOf(pieces: readonly string[]): string {
  return pieces.reduce((longest, piece) => (piece.length > longest.length ? piece : longest), '');
}

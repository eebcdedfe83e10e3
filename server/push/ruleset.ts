/**
 * A user's push rules, as clients see them: the user's own, and the server's defaults with what the user has changed
 * of them. "They operate at a lower priority than "user-defined rules", except for the `.m.rule.master` rule".
 */

import type { UserId } from '#keys/ids.ts';
import type { Json, JsonObject } from '#keys/json.ts';
import { type OwnRule, type OwnRules, type RuleKind, ruleKinds } from '#storage/push-rules.ts';
import { type DefaultRuleOptions, defaultRules, NO_OPTIONS } from './default-rules.ts';

export interface PushRule extends JsonObject {
  readonly rule_id: string;
  readonly default: boolean;
  readonly enabled: boolean;
  readonly actions: readonly Json[];
}

/** In the order in which they are checked; MSC4306 has that which "is ordered between `content` and `room`". */
export const rulesetKinds = ['override', 'content', 'postcontent', 'room', 'sender', 'underride'] as const;
export type RulesetKind = (typeof rulesetKinds)[number];

/** Of each kind the most important rule first. */
export type PushRuleset = Readonly<Record<RulesetKind, readonly PushRule[]>>;

const MASTER = '.m.rule.master';

/** All rules of a user; those that a new version of the server brings among them. */
export function rulesetOf(
  userId: UserId,
  own: OwnRules,
  options: DefaultRuleOptions = NO_OPTIONS,
): PushRuleset {
  const defaults = defaultRules(userId, options);
  const changed = new Map(own.defaults.map((change) => [`${change.kind} ${change.rule_id}`, change]));
  const ofKind = (kind: RulesetKind): readonly PushRule[] => {
    const ofUser = kind === 'postcontent' ? [] : own.rules[kind];
    const ofServer = defaults[kind].map((rule) => {
      const { enabled = rule.enabled, actions = rule.actions } = changed.get(`${kind} ${rule.rule_id}`) ?? {};
      return { ...rule, enabled, actions };
    });
    return [
      ...ofServer.filter((rule) => rule.rule_id === MASTER),
      ...ofUser.map((rule) => ({ ...rule, default: false })),
      ...ofServer.filter((rule) => rule.rule_id !== MASTER),
    ];
  };
  return {
    override: ofKind('override'),
    content: ofKind('content'),
    postcontent: ofKind('postcontent'),
    room: ofKind('room'),
    sender: ofKind('sender'),
    underride: ofKind('underride'),
  };
}

/** The content of `m.push_rules`. */
export function pushRulesContent(userId: UserId, own: OwnRules, options: DefaultRuleOptions): JsonObject {
  return { global: rulesetOf(userId, own, options) };
}

/** The rule of a kind and an id, as far as there is one. */
export function findRule(ruleset: PushRuleset, kind: string, ruleId: string): PushRule | undefined {
  const known = rulesetKinds.find((candidate) => candidate === kind);
  return known && ruleset[known].find((rule) => rule.rule_id === ruleId);
}

/** The rules with one of them changed: whether it is enabled, or its actions. Undefined where there is no such rule. */
export function withChange(
  userId: UserId,
  own: OwnRules,
  {
    kind,
    ruleId,
    options,
  }: { readonly kind: string; readonly ruleId: string; readonly options: DefaultRuleOptions },
  change: { readonly enabled: boolean } | { readonly actions: readonly Json[] },
): OwnRules | undefined {
  const known = rulesetKinds.find((candidate) => candidate === kind);
  if (known === undefined || findRule(rulesetOf(userId, own, options), known, ruleId) === undefined)
    return undefined;
  if (!ruleId.startsWith('.') && known !== 'postcontent') {
    const rules = own.rules[known].map((rule) => (rule.rule_id === ruleId ? { ...rule, ...change } : rule));
    return { ...own, rules: { ...own.rules, [known]: rules } };
  }
  const isThis = (changed: { kind: RulesetKind; rule_id: string }) =>
    changed.kind === known && changed.rule_id === ruleId;
  const before = own.defaults.find(isThis);
  const others = own.defaults.filter((changed) => !isThis(changed));
  return { ...own, defaults: [...others, { ...before, kind: known, rule_id: ruleId, ...change }] };
}

/** Where a rule is to stand among the user's own of its kind. */
export interface RulePlace {
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/**
 * The rules with one added, or put in place of that with its id. Undefined where there is no rule that `place` names.
 *
 * "If both `after` and `before` are provided, the new or updated rule must be the next most important rule with
 * respect to the rule identified by `before`. If neither [...] and the rule is created, it should be added as the most
 * important user defined rule among rules of the same kind."
 */
export function withRule(
  own: OwnRules,
  kind: RuleKind,
  rule: OwnRule,
  { before, after }: RulePlace,
): OwnRules | undefined {
  const present = own.rules[kind];
  const at = present.findIndex(({ rule_id }) => rule_id === rule.rule_id);
  const known = present[at];
  const placed = known === undefined ? rule : { ...rule, enabled: known.enabled };
  const anchor = before ?? after;
  if (anchor === undefined) {
    const rules = known === undefined ? [placed, ...present] : present.with(at, placed);
    return { ...own, rules: { ...own.rules, [kind]: rules } };
  }
  const others = present.filter(({ rule_id }) => rule_id !== rule.rule_id);
  const anchorAt = others.findIndex(({ rule_id }) => rule_id === anchor);
  if (anchorAt < 0) return undefined;
  const rules = others.toSpliced(before === undefined ? anchorAt + 1 : anchorAt, 0, placed);
  return { ...own, rules: { ...own.rules, [kind]: rules } };
}

/** The rules without one of the user's own; undefined where there is no such rule. */
export function withoutRule(own: OwnRules, kind: string, ruleId: string): OwnRules | undefined {
  const known = ruleKinds.find((candidate) => candidate === kind);
  if (known === undefined || !own.rules[known].some((rule) => rule.rule_id === ruleId)) return undefined;
  const rules = own.rules[known].filter((rule) => rule.rule_id !== ruleId);
  return { ...own, rules: { ...own.rules, [known]: rules } };
}

/**
 * The rules that everybody has from the server, prepared once for all, and what they say of an event whoever asks.
 */

import { objectAt, own } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { Lru } from '#storage/lru.ts';
import { ANY_OWNER, BUDGET, type Condition, type Look } from './conditions.ts';
import { type DefaultRuleOptions, defaultRules } from './default-rules.ts';
import {
  allHold,
  type CompiledRule,
  conditionsOf,
  type PlacedRule,
  type Step,
  type Visit,
} from './rule-steps.ts';
import { type PushRule, type RulesetKind, rulesetKinds } from './ruleset.ts';

interface ServerRule {
  readonly conditions: readonly Condition[];
  /** Its place in `Said.verdicts`. */
  readonly index: number;
}

/** What is known of an event. */
interface Said {
  readonly event: Event;
  /** By rule: whether it matches for those whom the event does not name; undefined where that depends on more. */
  readonly verdicts: readonly (boolean | undefined)[];
  /** All whom a rule may ask for. In lower case. */
  readonly named: ReadonlySet<string>;
}

interface Prepared extends ServerRule, CompiledRule {}

/** Users change which of the rules are enabled, and what they do: most do so alike. */
const MOST_RUNS = 1_000;

export class ServerRules {
  readonly #rules = new Map<string, ServerRule>();
  readonly #runs = new Lru<string, Step>({ maxEntries: MOST_RUNS });
  readonly #said = new WeakMap<Event, Said>();
  /** What was asked for last is mostly asked for next. */
  #last: Said | undefined;

  constructor(options: DefaultRuleOptions) {
    const ruleset = defaultRules(ANY_OWNER, options);
    for (const kind of rulesetKinds) {
      // What a content rule looks for may be the name of its owner.
      if (kind === 'content') continue;
      for (const rule of ruleset[kind]) {
        const conditions = conditionsOf(rule, true);
        this.#rules.set(keyOf(kind, rule), { conditions, index: this.#rules.size });
      }
    }
  }

  /** True for a rule of the server: users change no more of it than what it does, and whether it is enabled. */
  has(kind: RulesetKind, rule: PushRule): boolean {
    return rule.default && this.#rules.has(keyOf(kind, rule));
  }

  /** The step of some of these rules, which is the same for all users with the same ones. */
  stepOf(rules: readonly PlacedRule[]): Step {
    const key = JSON.stringify(rules.map(({ kind, rule }) => [kind, rule.rule_id, rule.actions]));
    const known = this.#runs.get(key);
    if (known !== undefined) return known;
    const prepared = rules.flatMap(({ kind, rule, effect }): Prepared[] => {
      const ofServer = this.#rules.get(keyOf(kind, rule));
      const { rule_id, actions } = rule;
      return ofServer === undefined ? [] : [{ rule: { rule_id, actions }, effect, ...ofServer }];
    });
    const step = this.#run(prepared);
    this.#runs.set(key, step);
    return step;
  }

  #run(rules: readonly Prepared[]): Step {
    let last: { readonly said: Said; readonly possible: readonly Prepared[] } | undefined;
    return (look, visit) => {
      const said = this.#saidOf(look.event);
      if (said.named.size > 0 && said.named.has(look.userId.toLowerCase()))
        return visitAll(rules, look, visit);
      if (last?.said !== said) {
        last = { said, possible: rules.filter(({ index }) => said.verdicts[index] !== false) };
      }
      for (const rule of last.possible) {
        const matches = said.verdicts[rule.index] ?? allHold(rule.conditions, look);
        if (matches !== false && visit(rule, matches === true)) return true;
      }
      return false;
    };
  }

  #saidOf(event: Event): Said {
    if (this.#last?.event === event) return this.#last;
    let said = this.#said.get(event);
    if (said === undefined) {
      const look = { event, userId: ANY_OWNER, facts: {}, budget: BUDGET };
      const verdicts = [...this.#rules.values()].map(({ conditions }) => allHold(conditions, look));
      said = { event, verdicts, named: namedIn(event) };
      this.#said.set(event, said);
    }
    this.#last = said;
    return said;
  }
}

function visitAll(rules: readonly Prepared[], look: Look, visit: Visit): boolean {
  for (const rule of rules) {
    const matches = allHold(rule.conditions, look);
    if (matches !== false && visit(rule, matches === true)) return true;
  }
  return false;
}

/** Whom an event mentions, and its state key; in lower case. */
export function namedIn({ stateKey, content }: Event): ReadonlySet<string> {
  const mentioned = own(objectAt(content, 'm.mentions') ?? {}, 'user_ids');
  const named = Array.isArray(mentioned) ? mentioned.filter((userId) => typeof userId === 'string') : [];
  return new Set([...named, ...(stateKey === undefined ? [] : [stateKey])].map((id) => id.toLowerCase()));
}

function keyOf(kind: RulesetKind, { rule_id: ruleId }: PushRule): string {
  return `${kind} ${ruleId}`;
}

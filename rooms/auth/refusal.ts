/** Why an event is not allowed, and by which rule: the numbers of the authorisation rules in every room version. */
import type { RoomVersionRules } from '../versions.ts';

/**
 * A numbered rule, as version 10 has it; `v1` and `v12` name rules that version 10 lacks. What number it has in
 * another version says `ruleNumber`.
 */
export type Rule = `${'v1' | 'v10' | 'v12'} ${number}${string}`;

export interface Refusal {
  /** Undefined for what the specification says outside its numbered rules. */
  readonly rule: Rule | undefined;
  /** One sentence for whoever sent the event. */
  readonly reason: string;
}

/** An event that a rule does not allow. */
export function refuse(rule: Rule | undefined, reason: string): Refusal {
  return { rule, reason };
}

/** What an event is in itself, or beside the create event, which never changes. */
const FIT = [
  'v10 1',
  'v10 8.1.1',
  'v10 8.1.2',
  'v10 8.2',
  'v10 9.1',
  'v10 9.2',
  'v10 9.3',
  'v12 1',
  'v12 10.4',
];

/** True where the event could be allowed to nobody at any time: its content is wrong, or the room has its create event. */
export function isUnfit({ rule }: Refusal): boolean {
  return FIT.some((fit) => rule === fit || rule?.startsWith(`${fit}.`) === true);
}

/** The number of a rule in a room version, as the specification's page of that version shows it. */
export function ruleNumber(rule: Rule, rules: RoomVersionRules): string {
  const [named, number = ''] = rule.split(' ');
  if (named !== 'v10') return number;
  const [first = 0, ...others] = number.split('.').map(Number);
  return [topRule(first, rules), ...innerRule(first, others, rules)].join('.');
}

function innerRule(first: number, others: number[], rules: RoomVersionRules): number[] {
  switch (first) {
    case 2:
      return authEventsRule(others, rules);
    case 4:
      return memberRule(others, rules);
    case 9:
      return powerLevelsRule(others, rules);
    default:
      return others;
  }
}

/** Version 12 begins with one rule more, and versions 1 to 5 have rule 4 for `m.room.aliases`. */
function topRule(first: number, rules: RoomVersionRules): number {
  if (rules.roomIdIsCreateHash && first >= 2) return first + 1;
  return rules.aliasesRule && first >= 4 ? first + 1 : first;
}

/** v12 has no 2.4: the create event is not named there. */
function authEventsRule([second = 0, ...rest]: number[], rules: RoomVersionRules): number[] {
  return [rules.createInAuthEvents || second < 4 ? second : second - 1, ...rest];
}

/** v10 4.2 and 4.3.5 came with restricted joins, 4.7 with knocking. */
function memberRule([second = 0, ...rest]: number[], rules: RoomVersionRules): number[] {
  if (rules.restrictedJoins) return [second, ...rest];
  const [third, ...deeper] = rest;
  const inner = second === 3 && third !== undefined && third > 5 ? [third - 1, ...deeper] : rest;
  if (second < 3) return [second, ...rest];
  return [second === 8 && !rules.knocking ? second - 2 : second - 1, ...inner];
}

/** v10 9.1 and 9.2 came with levels that are integers, and v12 10.4 with creators who stand above all levels. */
function powerLevelsRule([second = 0, ...rest]: number[], rules: RoomVersionRules): number[] {
  if (rules.powerLevels !== 'integers') return [second - 2, ...rest];
  return [rules.privilegedCreators && second >= 4 ? second + 1 : second, ...rest];
}

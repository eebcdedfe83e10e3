/** Tests by rule: each is named after the number and the sentence that the rule has in a room version. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Refusal, type Rule, ruleNumber } from '#rooms/auth/refusal.ts';
import { rulesOf } from '#rooms/versions.ts';

type Rules = Readonly<Record<string, string>>;

/** The sentences of the specification by number, for each version. */
const RULES = rulesByVersion();
/** Of the test that runs. */
const refusals = new Set<Rule>();
const tested = new Map<string, Set<string>>();

/**
 * Tests a rule in every version that has it. `path` is what the sentences above it and its own sentence say, from
 * the outermost: the number of the rule in each version follows from that.
 */
export function rule(path: readonly RegExp[], run: (version: string) => void): void {
  const versions = [...RULES].flatMap(([version, rules]) => {
    const number = numberOf(rules, path);
    return number === undefined ? [] : [{ version, number, sentence: rules[number] }];
  });
  assert.ok(versions.length > 0, `no version has the rule ${path.join(' > ')}`);
  for (const { version, number, sentence } of versions) {
    const numbers = tested.get(version) ?? new Set();
    assert.ok(!numbers.has(number), `v${version} ${number} is tested twice`);
    tested.set(version, numbers.add(number));
    test(`v${version} ${number}: ${sentence}`, () => {
      refusals.clear();
      run(version);
      // Refused for this very reason, and not for another that holds as well.
      if (/reject\.$/i.test(sentence ?? '')) assert.ok(refusedBy(version).has(number), [...refusals].join());
    });
  }
}

/** Takes down by which rule something was refused. */
export function noteRefusal(refusal: Refusal | undefined): void {
  if (refusal?.rule !== undefined) refusals.add(refusal.rule);
}

function refusedBy(version: string): Set<string> {
  const rules = rulesOf(version);
  assert.ok(rules);
  return new Set([...refusals].map((rule) => ruleNumber(rule, rules)));
}

/** The rules that have no test. What only introduces others needs none. */
export function untested(): string[] {
  return [...RULES].flatMap(([version, rules]) =>
    Object.entries(rules)
      .filter(([number, sentence]) => !(sentence.endsWith(':') && `${number}.1` in rules))
      .filter(([number]) => tested.get(version)?.has(number) !== true)
      .map(([number, sentence]) => `v${version} ${number}: ${sentence}`),
  );
}

/** How many rules a version has. */
export function countOf(version: string): number {
  return Object.keys(RULES.get(version) ?? {}).length;
}

function numberOf(rules: Rules, path: readonly RegExp[]): string | undefined {
  const numbers = Object.keys(rules).filter((number) => {
    const parts = number.split('.');
    return (
      parts.length === path.length &&
      path.every((says, index) => says.test(rules[parts.slice(0, index + 1).join('.')] ?? ''))
    );
  });
  assert.ok(numbers.length < 2, `${path.join(' > ')} is said by ${numbers.join(' and ')}`);
  return numbers[0];
}

function rulesByVersion(): Map<string, Rules> {
  const file = new URL('../../fixtures/auth-rules.json', import.meta.url);
  const written: Readonly<Record<string, Rules>> = JSON.parse(readFileSync(file, 'utf8'));
  const byVersion = new Map<string, Rules>();
  let rules: Rules = {};
  for (let version = 1; version <= 12; version++) {
    // "A version that is left out has the rules of the one before it."
    rules = written[version] ?? rules;
    byVersion.set(String(version), rules);
  }
  return byVersion;
}

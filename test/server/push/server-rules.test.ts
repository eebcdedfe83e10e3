/** Rules that are looked at once for all users say of every event what each user's own rules say by themselves. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { powerOf } from '#rooms/power.ts';
import { rulesOf } from '#rooms/versions.ts';
import { ANY_OWNER, type Facts, threadKey } from '#server/push/conditions.ts';
import { type DefaultRuleOptions, NO_OPTIONS } from '#server/push/default-rules.ts';
import {
  compileRules,
  effectOf,
  following,
  matchingRule,
  matchingRuleOffhand,
  ownedBy,
} from '#server/push/evaluate.ts';
import type { MatchedRule } from '#server/push/rule-steps.ts';
import { rulesetOf } from '#server/push/ruleset.ts';
import { ServerRules } from '#server/push/server-rules.ts';
import { NO_RULES, type OwnRule, type OwnRules } from '#storage/push-rules.ts';

const ROOM = '!r:kurir.test';
const USERS = ['@alice:kurir.test', '@Bob:kurir.test', '@carol:kurir.test'] as const;
const [ALICE, BOB, CAROL] = USERS;
const versionRules = rulesOf('11');
assert.ok(versionRules);

function eventOf(type: string, content: JsonObject, stateKey?: string): Event {
  const pdu = {
    type,
    sender: ALICE,
    room_id: ROOM,
    content,
    ...(stateKey !== undefined && { state_key: stateKey }),
  };
  const known = { eventId: '$e', roomId: ROOM, type, sender: ALICE, content, stateKey, pdu };
  return { ...known, rules: versionRules } as never;
}

const message = (body: unknown, more: JsonObject = {}) =>
  eventOf('m.room.message', { msgtype: 'm.text', body, ...more } as JsonObject);
const thread = { 'm.relates_to': { rel_type: 'm.thread', event_id: '$root' } };
const EVENTS: readonly Event[] = [
  message('hello'),
  message('Lunch at one, bob?'),
  message('@room'),
  message(5),
  message('x', { msgtype: 'm.notice' }),
  message('hello', { 'm.mentions': { user_ids: [BOB, 'x'] } }),
  message('hello', { 'm.mentions': { user_ids: [BOB.toLowerCase()], room: true } }),
  message('hello', { 'm.mentions': { room: true } }),
  message('* hello', { 'm.relates_to': { rel_type: 'm.replace', event_id: '$x' } }),
  message('lunch', thread),
  message('hello', { ...thread, 'm.mentions': { user_ids: [CAROL] } }),
  eventOf('m.room.encrypted', {}),
  eventOf('m.room.encrypted', thread),
  eventOf('m.reaction', {}),
  eventOf('m.call.invite', {}),
  eventOf('org.matrix.msc3381.poll.start', {}),
  eventOf('org.matrix.msc3381.poll.response', {}),
  eventOf('m.room.tombstone', {}, ''),
  eventOf('m.room.server_acl', {}, ''),
  eventOf('m.room.member', { membership: 'invite' }, BOB),
  eventOf('m.room.member', { membership: 'join' }, CAROL),
  eventOf('m.room.topic', { topic: 'lunch' }, ''),
];
const FACTS: readonly Facts[] = [
  {},
  { memberCount: 2 },
  { memberCount: 3 },
  { memberCount: 2, displayName: 'Bob', power: powerOf(undefined, undefined) },
  { memberCount: 3, displayName: null, power: powerOf(undefined, undefined) },
];

const NOTIFY = ['notify'];
const rule = (rule_id: string, actions: OwnRule['actions'], more: object = {}): OwnRule => ({
  ...{ rule_id, enabled: true, actions },
  ...more,
});
const about = (name: string, enabled: boolean, actions?: OwnRule['actions']) => ({
  ...{ kind: 'underride' as const, rule_id: name, enabled },
  ...(actions !== undefined && { actions }),
});
const none = NO_RULES.rules;
const words = (...patterns: string[]) => patterns.map((pattern) => rule(pattern, NOTIFY, { pattern }));
const topic = { kind: 'event_match', key: 'content.topic', pattern: 'lun*' };
const OWN: Readonly<Record<string, OwnRules>> = {
  nothing: NO_RULES,
  words: { ...NO_RULES, rules: { ...none, content: words('dinner', 'l?nch', 'b*b', '*', 'hello') } },
  'a silent room': {
    ...NO_RULES,
    rules: { ...none, room: [rule('!other:kurir.test', NOTIFY), rule(ROOM, [])] },
  },
  'a loud sender': {
    ...NO_RULES,
    rules: { ...none, sender: [rule(ALICE, ['notify', { set_tweak: 'highlight' }])] },
  },
  conditions: {
    ...NO_RULES,
    rules: {
      ...none,
      override: [
        rule('o', NOTIFY, { conditions: [topic] }),
        rule('all', [], { conditions: [], enabled: false }),
      ],
      underride: [rule('u', NOTIFY, { conditions: [{ kind: 'room_member_count', is: '>2' }] })],
    },
  },
  'other defaults': {
    ...NO_RULES,
    defaults: [
      about('.m.rule.message', true, []),
      about('.m.rule.room_one_to_one', false),
      { kind: 'override', rule_id: '.m.rule.is_user_mention', enabled: true, actions: [] },
      { kind: 'override', rule_id: '.m.rule.suppress_notices', enabled: false },
    ],
  },
  'all silent': {
    ...NO_RULES,
    defaults: [{ kind: 'override', rule_id: '.m.rule.master', enabled: true }],
  },
};
const OPTIONS: readonly DefaultRuleOptions[] = [
  NO_OPTIONS,
  { ...NO_OPTIONS, followedThreads: true },
  { legacyMentions: true, pushAllEncrypted: true, followedThreads: false },
];

/** Of a rule what it is called and what it does. */
function shown(rule: MatchedRule | string | undefined): unknown {
  return typeof rule === 'object' ? [rule.rule_id, rule.actions] : rule;
}

for (const [what, own] of Object.entries(OWN)) {
  test(`rules that are looked at for all users at once say what each by itself says: ${what}`, () => {
    let notified = 0;
    for (const options of OPTIONS) {
      const server = new ServerRules(options);
      for (const event of EVENTS) {
        for (const userId of USERS) {
          for (const followed of [[], [threadKey(ROOM, '$root')]]) {
            const threads = new Set(followed);
            const ruleset = rulesetOf(userId, own, options);
            const alone = following(compileRules(userId, ruleset), threads);
            const together = following(compileRules(userId, ruleset, server), threads);
            for (const facts of FACTS) {
              const effect = effectOf(alone, event, facts);
              const context = `${JSON.stringify(event.pdu)} ${userId} ${JSON.stringify(facts)}`;
              assert.deepEqual(effectOf(together, event, facts), effect, context);
              assert.deepEqual(
                shown(matchingRule(together, event, facts)),
                shown(matchingRule(alone, event, facts)),
                context,
              );
              assert.deepEqual(
                shown(matchingRuleOffhand(together, event, facts)),
                shown(matchingRuleOffhand(alone, event, facts)),
                context,
              );
              if (effect?.notify === true) notified += 1;
            }
          }
        }
      }
    }
    assert.ok(what === 'all silent' || notified > 100, `${notified}`);
  });
}

test('the rules of everybody are those of each user, whose name they stand for', () => {
  for (const options of OPTIONS.slice(0, 2)) {
    const server = new ServerRules(options);
    const shared = compileRules(ANY_OWNER, rulesetOf(ANY_OWNER, NO_RULES, options), server);
    for (const event of EVENTS) {
      for (const userId of USERS) {
        const alone = compileRules(userId, rulesetOf(userId, NO_RULES, options));
        for (const facts of FACTS) {
          assert.deepEqual(effectOf(ownedBy(shared, userId), event, facts), effectOf(alone, event, facts));
        }
      }
    }
  }
});

/** The rules against the text of the specification: each case is one of its sentences or examples. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json, JsonObject } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { powerOf } from '#rooms/power.ts';
import { rulesOf } from '#rooms/versions.ts';
import { ANY_OWNER, conditionOf, type Facts, THREAD_SUBSCRIPTION } from '#server/push/conditions.ts';
import { defaultRules, NO_OPTIONS } from '#server/push/default-rules.ts';
import {
  type CompiledRules,
  compileRules,
  effectOf,
  effectOfActions,
  effectOffhand,
  following,
  matchingRule,
  ownedBy,
} from '#server/push/evaluate.ts';
import { pathOf } from '#server/push/property-path.ts';
import { rulesetOf } from '#server/push/ruleset.ts';
import { NO_RULES, type OwnRules } from '#storage/push-rules.ts';

const ALICE = '@alice:kurir.test';
const BOB = '@bob:kurir.test';
const CAROL = '@carol:kurir.test';
const rules = rulesOf('11');
assert.ok(rules);

function eventOf(pdu: JsonObject): Event {
  const whole = { type: 'm.room.message', sender: ALICE, room_id: '!r:kurir.test', content: {}, ...pdu };
  const { type, sender, content, state_key: stateKey } = whole as JsonObject & { content: JsonObject };
  return {
    eventId: '$e',
    roomId: whole.room_id,
    type,
    sender,
    content,
    stateKey,
    pdu: whole,
    rules,
  } as never;
}

function holds(condition: Json, pdu: JsonObject, facts: Facts = {}): boolean | undefined {
  return conditionOf(condition)({ event: eventOf(pdu), userId: BOB, facts, budget: 1e6 });
}

const match = (key: string, pattern: Json) => ({ kind: 'event_match', key, pattern });
const topic = (value: Json) => ({ type: 'm.room.topic', state_key: '', content: { topic: value } });
const body = (text: Json) => ({ content: { body: text } });

test('event_match: the examples of the specification, and the whole of the value but for content.body', () => {
  const cases: readonly [condition: JsonObject, pdu: JsonObject, expected: boolean][] = [
    [match('content.topic', 'lunc?*'), topic('Lunch plans'), true],
    [match('content.topic', 'lunc?*'), topic('LUNCH'), true],
    [match('content.topic', 'lunc?*'), topic(' lunch'), false],
    [match('content.topic', 'lunc?*'), topic('lunc'), false],
    [match('content.topic', 'lunc?*'), topic(null), false],
    [match('content.topic', '*'), topic(5), false],
    [match('content.topic', '*'), { content: {} }, false],
    [match('content.topic', '*'), topic(''), true],
    [match('content.topic', 'lunch'), topic('lunch at one'), false],
    [match('content.body', 'ex*ple'), body('An example event.'), true],
    [match('content.body', 'ex*ple'), body('exple'), true],
    [match('content.body', 'ex*ple'), body('An exciting triple-whammy'), true],
    [match('content.body', 'ex*ple'), body('An examples'), false],
    [match('content.body', 'ex*ple'), body('simplex people'), false],
    [match('content.body', 'cake'), body('CAKE!'), true],
    [match('content.body', 'cake'), body('pancake'), false],
    [match('content.body', 'cake'), body('pancakes and cake'), true],
    [match('content.body', 'cake'), body('cake_2'), false],
    [match('content.body', 'cake'), body('café-cake'), true],
    // "Any character not in the sets": so is a letter with an accent.
    [match('content.body', 'caf'), body('café'), true],
    [match('content.body', 'c?ke'), body('some cake'), true],
    [match('content.body', 'c?ke'), body('some c\u{1f370}ke'), true],
    [match('content.body', 'a?'), body('a'), false],
    [match('content.body', '*cake'), body('pancake'), true],
    [match('content.body', 'pan*'), body('a pancake'), true],
    [match('content.body', ''), body('x'), false],
    [match('type', 'm.room.message'), {}, true],
    [match('sender', '@ALICE:*'), {}, true],
    [match('room_id', '!r:kurir.test'), {}, true],
    [match('event_id', '$e'), {}, true],
    [match('state_key', ''), topic('x'), true],
    [match('state_key', ''), {}, false],
    [match('auth_events', '*'), { auth_events: 'x' }, false],
    [match('content.__proto__', '*'), {}, false],
    [{ kind: 'event_match', key: 'type' }, {}, false],
    [{ kind: 'event_match', pattern: '*' }, {}, false],
    [match('type', 5), {}, false],
  ];
  for (const [condition, pdu, expected] of cases)
    assert.equal(holds(condition, pdu), expected, JSON.stringify([condition, pdu]));
});

test('paths: dots and backslashes are escaped, other escapes are left as they are', () => {
  assert.deepEqual(pathOf('content.body'), ['content', 'body']);
  assert.deepEqual(pathOf('content.m\\.relates_to'), ['content', 'm.relates_to']);
  assert.deepEqual(pathOf('content.m\\\\foo'), ['content', 'm\\foo']);
  assert.deepEqual(pathOf('content.a\\xb'), ['content', 'a\\xb']);
  assert.deepEqual(pathOf('content.a\\'), ['content', 'a\\']);
  assert.deepEqual(pathOf('a..b'), ['a', '', 'b']);
  assert.deepEqual(pathOf(''), ['']);
});

test('event_property_is: exact values, no casts, nothing compound', () => {
  const federate = (value: Json) => ({ content: { 'm.federate': value } });
  const is = (value: Json) => ({ kind: 'event_property_is', key: 'content.m\\.federate', value });
  assert.equal(holds(is(true), federate(true)), true);
  assert.equal(holds(is(true), federate('true')), false);
  assert.equal(holds(is(true), federate(1)), false);
  assert.equal(holds(is(1), federate(1)), true);
  assert.equal(holds(is(null), federate(null)), true);
  assert.equal(holds(is(null), { content: {} }), false);
  assert.equal(holds(is('a'), federate('A')), false);
  assert.equal(holds(is([]), federate([])), false);
  assert.equal(holds(is(1.5), federate(1.5)), false);
  assert.equal(holds({ kind: 'event_property_is', key: 'type' }, {}), false);
});

test('event_property_contains: a list that has exactly the value', () => {
  const aliases = (value: Json) => ({ content: { alt_aliases: value } });
  const has = (value: Json) => ({ kind: 'event_property_contains', key: 'content.alt_aliases', value });
  const list = ['#somewhere:example.org', 7, '#myroom:example.com', [1], null];
  assert.equal(holds(has('#myroom:example.com'), aliases(list)), true);
  assert.equal(holds(has(':example.com'), aliases(list)), false);
  assert.equal(holds(has(7), aliases(list)), true);
  assert.equal(holds(has(null), aliases(list)), true);
  assert.equal(holds(has('7'), aliases(list)), false);
  assert.equal(holds(has([1]), aliases(list)), false);
  assert.equal(holds(has('x'), aliases('x')), false);
  assert.equal(holds(has('x'), { content: {} }), false);
});

test('room_member_count: a number with or without ==, <, >, <= or >=', () => {
  const cases: readonly [is: Json, matching: readonly number[]][] = [
    ['2', [2]],
    ['==2', [2]],
    ['<2', [1]],
    ['>2', [3]],
    ['<=2', [1, 2]],
    ['>=2', [2, 3]],
    ['', []],
    ['=2', []],
    ['2.0', []],
    [' 2', []],
    ['-1', []],
    [2, []],
  ];
  for (const [is, matching] of cases) {
    const found = [1, 2, 3].filter((count) =>
      holds({ kind: 'room_member_count', is }, {}, { memberCount: count }),
    );
    assert.deepEqual(found, matching, String(is));
  }
});

test('sender_notification_permission: by the notifications of the power levels, 50 unless they say', () => {
  const create = eventOf({ type: 'm.room.create', state_key: '', sender: '@creator:kurir.test' });
  const levels = (content: JsonObject) => ({
    power: powerOf(create, eventOf({ type: 'm.room.power_levels', state_key: '', content })),
  });
  const permission = { kind: 'sender_notification_permission', key: 'room' };
  assert.equal(holds(permission, {}, levels({ users: { [ALICE]: 50 } })), true);
  assert.equal(holds(permission, {}, levels({ users: { [ALICE]: 49 } })), false);
  assert.equal(holds(permission, {}, levels({ notifications: { room: 0 } })), true);
  assert.equal(holds(permission, {}, levels({ users_default: 60, notifications: { room: 61 } })), false);
  assert.equal(holds({ kind: 'sender_notification_permission' }, {}, levels({})), false);
});

test('contains_display_name: the name as it is, without wildcards, at word boundaries', () => {
  const condition = { kind: 'contains_display_name' };
  assert.equal(holds(condition, body('hello Bob!'), { displayName: 'bob' }), true);
  assert.equal(holds(condition, body('hello bobby'), { displayName: 'bob' }), false);
  assert.equal(holds(condition, body('hello bob'), { displayName: 'b*' }), false);
  assert.equal(holds(condition, body('hello b*'), { displayName: 'B*' }), true);
  assert.equal(holds(condition, body('hello'), { displayName: null }), false);
  assert.equal(holds(condition, body('hello'), { displayName: '' }), false);
  assert.equal(holds(condition, { content: {} }, { displayName: 'bob' }), false);
});

test('"Unrecognised conditions MUST NOT match any events"', () => {
  for (const condition of [{ kind: 'device' }, { kind: 5 }, {}, null, 'x', []] as Json[])
    assert.equal(holds(condition, {}), false);
  const own = { rule_id: 'x', enabled: true, actions: ['notify'], conditions: [{ kind: 'org.example.new' }] };
  const compiled = rulesFor({ override: [own] });
  assert.equal(effectOf(compiled, eventOf({ type: 'org.example' }), {})?.notify, false);
});

function rulesFor(own: Partial<OwnRules['rules']> = {}): CompiledRules {
  return compileRules(BOB, rulesetOf(BOB, { ...NO_RULES, rules: { ...NO_RULES.rules, ...own } }));
}

const FACTS: Facts = { memberCount: 5, power: powerOf(undefined, undefined), displayName: 'Bob' };

test('the kinds are checked in their order: override, content, room, sender, underride', () => {
  const rule = (id: string, more: JsonObject = {}) => ({
    rule_id: id,
    enabled: true,
    actions: [{ set_tweak: 'by', value: id }],
    ...more,
  });
  const all: OwnRules['rules'] = {
    override: [rule('o', { conditions: [] })],
    content: [rule('c', { pattern: 'cake' }), rule('d', { pattern: 'cake' })],
    room: [rule('!r:kurir.test')],
    sender: [rule(ALICE)],
    underride: [rule('u', { conditions: [] })],
  };
  const left = { ...all };
  for (const [kind, id] of [
    ['override', 'o'],
    ['content', 'c'],
    ['room', '!r:kurir.test'],
    ['sender', ALICE],
    ['underride', 'u'],
  ] as const) {
    assert.equal(matchingRule(rulesFor(left), eventOf(body('cake')), FACTS)?.rule_id, id);
    // "Disabled rules never match."
    left[kind] = left[kind].map((known) => ({ ...known, enabled: false }));
  }
  assert.equal(matchingRule(rulesFor(left), eventOf(body('cake')), FACTS)?.rule_id, '.m.rule.message');
});

test('each default rule matches what it is for, with the actions of the specification', () => {
  const member = (membership: string) => ({
    type: 'm.room.member',
    state_key: BOB,
    content: { membership },
  });
  const cases: readonly [pdu: JsonObject, rule: string | undefined, notify: boolean, highlight: boolean][] = [
    [{ content: { msgtype: 'm.notice' } }, '.m.rule.suppress_notices', false, false],
    [member('invite'), '.m.rule.invite_for_me', true, false],
    [member('join'), '.m.rule.member_event', false, false],
    [{ ...member('invite'), state_key: ALICE }, '.m.rule.member_event', false, false],
    [{ content: { 'm.mentions': { user_ids: [BOB] } } }, '.m.rule.is_user_mention', true, true],
    [{ content: { 'm.mentions': { user_ids: [ALICE] } } }, '.m.rule.message', true, false],
    // Who may not notify the room is heard like anybody.
    [{ content: { 'm.mentions': { room: true } } }, '.m.rule.message', true, false],
    [{ type: 'm.room.tombstone', state_key: '' }, '.m.rule.tombstone', true, true],
    [{ type: 'm.room.tombstone' }, undefined, false, false],
    [{ type: 'm.reaction' }, '.m.rule.reaction', false, false],
    [{ type: 'm.room.server_acl', state_key: '' }, '.m.rule.room.server_acl', false, false],
    [{ content: { 'm.relates_to': { rel_type: 'm.replace' } } }, '.m.rule.suppress_edits', false, false],
    [{ type: 'm.call.invite' }, '.m.rule.call', true, false],
    [{}, '.m.rule.message', true, false],
    [{ type: 'm.room.encrypted' }, '.m.rule.encrypted', true, false],
    [{ type: 'm.room.topic', state_key: '' }, undefined, false, false],
  ];
  const compiled = rulesFor();
  // As they are kept once for all who have changed none: what another user asked before must not matter.
  const shared = compileRules(ANY_OWNER, rulesetOf(ANY_OWNER, NO_RULES));
  for (const [pdu, rule, notify, highlight] of cases) {
    const event = eventOf(pdu);
    for (const owner of [CAROL, BOB, CAROL] as const) {
      const own = compileRules(owner, rulesetOf(owner, NO_RULES));
      const known = ownedBy(shared, owner);
      assert.deepEqual(effectOffhand(known, event), effectOf(own, event, {}), JSON.stringify(pdu));
      assert.equal(matchingRule(known, event, FACTS)?.rule_id, matchingRule(own, event, FACTS)?.rule_id);
    }
    assert.equal(matchingRule(compiled, event, FACTS)?.rule_id, rule, JSON.stringify(pdu));
    assert.deepEqual(effectOf(compiled, event, FACTS), { notify, highlight }, JSON.stringify(pdu));
  }
  const powerful = powerOf(undefined, eventOf({ content: { users: { [ALICE]: 50 } } }));
  const toAll = eventOf({ content: { 'm.mentions': { room: true } } });
  assert.equal(
    matchingRule(compiled, toAll, { ...FACTS, power: powerful })?.rule_id,
    '.m.rule.is_room_mention',
  );
  const pair = { ...FACTS, memberCount: 2 };
  assert.equal(matchingRule(compiled, eventOf({}), pair)?.rule_id, '.m.rule.room_one_to_one');
  const secret = eventOf({ type: 'm.room.encrypted' });
  assert.equal(matchingRule(compiled, secret, pair)?.rule_id, '.m.rule.encrypted_room_one_to_one');
});

test('the default rules are those of the specification, in its order, and those of MSC3930 and MSC4306', () => {
  const ids = Object.entries(defaultRules(BOB, NO_OPTIONS)).map(([kind, list]) => [
    kind,
    list.map(({ rule_id: id }) => id.replace('.m.rule.', '')).join(' '),
  ]);
  assert.deepEqual(Object.fromEntries(ids), {
    override:
      'master suppress_notices invite_for_me member_event is_user_mention is_room_mention tombstone reaction ' +
      'room.server_acl suppress_edits .org.matrix.msc3930.rule.poll_response',
    content: '',
    postcontent: ['unsubscribed', 'subscribed']
      .map((name) => `.io.element.msc4306.rule.${name}_thread`)
      .join(' '),
    room: '',
    sender: '',
    underride:
      'call encrypted_room_one_to_one room_one_to_one message encrypted ' +
      ['start_one_to_one', 'start', 'end_one_to_one', 'end']
        .map((name) => `.org.matrix.msc3930.rule.poll_${name}`)
        .join(' '),
  });
});

test('actions: dont_notify and coalesce are as if they were not there, a highlight needs no value', () => {
  const effects: readonly [actions: readonly Json[], notify: boolean, highlight: boolean][] = [
    [[], false, false],
    [['dont_notify'], false, false],
    [['coalesce'], false, false],
    [['notify', 'dont_notify'], true, false],
    [['notify', { set_tweak: 'highlight' }], true, true],
    [['notify', { set_tweak: 'highlight', value: true }], true, true],
    [['notify', { set_tweak: 'highlight', value: false }], true, false],
    [['notify', { set_tweak: 'sound', value: 'default' }], true, false],
    [[{ set_tweak: 'highlight' }], false, false],
  ];
  for (const [actions, notify, highlight] of effects)
    assert.deepEqual(effectOfActions(actions), { notify, highlight }, JSON.stringify(actions));
});

test('MSC4306: thread_subscription holds for events of threads that the user follows, or does not follow', () => {
  const inThread = { content: { 'm.relates_to': { rel_type: 'm.thread', event_id: '$root' } } };
  const elsewhere = { content: { 'm.relates_to': { rel_type: 'm.reference', event_id: '$root' } } };
  const compiled = compileRules(BOB, rulesetOf(BOB, NO_RULES, { ...NO_OPTIONS, followedThreads: true }));
  const shared = compileRules(
    ANY_OWNER,
    rulesetOf(ANY_OWNER, NO_RULES, { ...NO_OPTIONS, followedThreads: true }),
  );
  const follows = new Set(['!r:kurir.test $root']);
  const room = { ...inThread, room_id: '!other:kurir.test' };
  const cases: readonly [pdu: JsonObject, followed: ReadonlySet<string>, notify: boolean][] = [
    [inThread, follows, true],
    [inThread, new Set(), false],
    [room, follows, false],
    [elsewhere, new Set(), true],
    [{}, new Set(), true],
    [{ ...inThread, content: { ...inThread.content, 'm.mentions': { user_ids: [BOB] } } }, new Set(), true],
  ];
  for (const [pdu, followed, notify] of cases) {
    const event = eventOf(pdu);
    assert.equal(effectOf(following(compiled, followed), event, {})?.notify, notify, JSON.stringify(pdu));
    const carol = following(ownedBy(shared, CAROL), follows);
    effectOffhand(carol, event);
    assert.equal(effectOffhand(following(ownedBy(shared, BOB), followed), event)?.notify, notify);
  }
  for (const condition of [{}, { subscribed: 'yes' }])
    assert.equal(holds({ kind: THREAD_SUBSCRIPTION, ...condition }, inThread), false);
  assert.equal(holds({ kind: THREAD_SUBSCRIPTION, subscribed: true }, inThread), undefined);
});

test('most events are decided without looking anything up', () => {
  const compiled = rulesFor();
  assert.deepEqual(effectOf(compiled, eventOf({}), {}), { notify: true, highlight: false });
  assert.deepEqual(effectOf(compiled, eventOf({ type: 'm.room.name' }), {}), {
    notify: false,
    highlight: false,
  });
  assert.equal(effectOf(compiled, eventOf({ content: { 'm.mentions': { room: true } } }), {}), undefined);
});

test('a default rule that the server did not have before is there for who has changed others', () => {
  const own: OwnRules = {
    ...NO_RULES,
    defaults: [
      { kind: 'underride', rule_id: '.m.rule.message', actions: [] },
      { kind: 'override', rule_id: '.m.rule.contains_display_name', enabled: false },
    ],
  };
  const ruleset = rulesetOf(BOB, own);
  const defaults = defaultRules(BOB, NO_OPTIONS);
  assert.deepEqual(ruleset.override, defaults.override);
  const changed = ruleset.underride.find(({ rule_id: id }) => id === '.m.rule.message');
  assert.deepEqual(changed?.actions, []);
  assert.equal(ruleset.underride.length, defaults.underride.length);
});

// CVE-2021-29471: patterns that take a regular expression years.
test('row 38: a thousand hostile patterns on the longest text end', () => {
  const patterns = [
    `${'*a'.repeat(50)}*b`,
    `${'a'.repeat(1_000)}b`,
    `b${'a'.repeat(240)}`,
    `${'?'.repeat(500)}b`,
    `${'a?'.repeat(300)}b`,
    'a',
  ];
  const content = Array.from({ length: 1_000 }, (_, index) => ({
    rule_id: `r${index}`,
    enabled: true,
    actions: ['notify', { set_tweak: 'highlight' }],
    pattern: patterns[index % patterns.length] ?? '',
  }));
  // Backtracking over a single one of them would not end.
  const compiled = rulesFor({ content });
  assert.deepEqual(effectOf(compiled, eventOf(body('a'.repeat(60_000))), {}), {
    notify: true,
    highlight: false,
  });
});

test('of a thousand words the last one is found in an ordinary message', () => {
  const content = Array.from({ length: 1_000 }, (_, index) => ({
    rule_id: `r${index}`,
    enabled: true,
    actions: ['notify', { set_tweak: 'highlight' }],
    pattern: `word${index}*end`,
  }));
  const event = eventOf(body(`${'x '.repeat(500)} word999 and the end`));
  assert.deepEqual(effectOf(rulesFor({ content }), event, {}), { notify: true, highlight: true });
});

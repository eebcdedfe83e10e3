/** The rules for m.room.power_levels. Numbers are those of version 10; version 12 has them under 10. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json, JsonObject } from '#keys/json.ts';
import { powerOf } from '#rooms/power.ts';
import { roomOf } from '#test/harness/room-builder.ts';

const ALICE = '@alice:a.test';
const BOB = '@bob:b.test';
const CAROL = '@carol:c.test';
const VERSIONS = ['10', '11', '12'];
const LEVELS = ['users_default', 'events_default', 'state_default', 'ban', 'redact', 'kick', 'invite'];

/** Bob, at level 50, changes the power levels from one content to another. */
function changes(version: string, before: JsonObject, after: JsonObject): string | undefined {
  const creators = version === '12' ? {} : { [ALICE]: 100 };
  const whole = (content: JsonObject): JsonObject => ({
    events: { 'm.room.power_levels': 50 },
    ...content,
    users: { ...creators, [BOB]: 50, ...(content.users as JsonObject) },
  });
  const room = roomOf(ALICE, { version, members: [BOB, CAROL], power_levels: whole(before) });
  return room.verdict(BOB, { type: 'm.room.power_levels', state_key: '', content: whole(after) });
}

/** The creator writes the first power levels of a room. */
function first(version: string, content: JsonObject): string | undefined {
  const room = roomOf(ALICE, { version, power_levels: null });
  return room.verdict(ALICE, { type: 'm.room.power_levels', state_key: '', content });
}

const NOT_INTEGERS: readonly Json[] = ['50', '', 50.5, null, true, [50], { x: 50 }];

for (const version of VERSIONS) {
  const rule = version === '12' ? '10' : '9';
  const shift = version === '12' ? 1 : 0;

  test(`v${version} ${rule}.1: levels that are not integers are rejected`, () => {
    for (const key of LEVELS) {
      assert.equal(first(version, { [key]: -5 }), undefined);
      for (const value of NOT_INTEGERS) {
        assert.notEqual(first(version, { [key]: value }), undefined, `${key} ${JSON.stringify(value)}`);
      }
    }
  });

  test(`v${version} ${rule}.2: events and notifications are objects of integers`, () => {
    for (const key of ['events', 'notifications']) {
      assert.equal(first(version, { [key]: { x: 5 } }), undefined);
      for (const value of NOT_INTEGERS) {
        assert.notEqual(
          first(version, { [key]: { x: value } }),
          undefined,
          `${key} ${JSON.stringify(value)}`,
        );
      }
      for (const value of [null, 5, 'x', [5], []] as const) {
        assert.notEqual(first(version, { [key]: value }), undefined, `${key} ${JSON.stringify(value)}`);
      }
    }
  });

  test(`v${version} ${rule}.3: users is an object of integers by user id`, () => {
    assert.equal(first(version, { users: { [BOB]: 5, '@Grüße:b.test': 1 } }), undefined);
    assert.equal(first(version, {}), undefined);
    for (const value of NOT_INTEGERS) {
      assert.notEqual(first(version, { users: { [BOB]: value } }), undefined, JSON.stringify(value));
    }
    for (const value of [null, 5, 'x', []] as const) {
      assert.notEqual(first(version, { users: value }), undefined, JSON.stringify(value));
    }
    for (const key of ['bob', '@bob', '', '*', '@bob:', '#a:b.test']) {
      assert.notEqual(first(version, { users: { [key]: 5 } }), undefined, key);
    }
  });

  test(`v${version} ${rule}.${4 + shift}: the first power levels may say anything`, () => {
    assert.equal(first(version, { users: { [BOB]: 1_000 }, ban: 1_000, events: { x: 1_000 } }), undefined);
  });

  for (const key of LEVELS) {
    test(`v${version} ${rule}.${5 + shift}: ${key} changes only within the power of the sender`, () => {
      assert.equal(changes(version, { [key]: 40 }, { [key]: 50 }), undefined);
      assert.equal(changes(version, { [key]: 50 }, { [key]: 40 }), undefined);
      assert.equal(changes(version, {}, { [key]: 50 }), undefined);
      assert.equal(changes(version, { [key]: 50 }, {}), undefined);
      assert.notEqual(changes(version, { [key]: 40 }, { [key]: 51 }), undefined);
      assert.notEqual(changes(version, {}, { [key]: 51 }), undefined);
      assert.notEqual(changes(version, { [key]: 51 }, { [key]: 40 }), undefined);
      assert.notEqual(changes(version, { [key]: 51 }, {}), undefined);
      assert.equal(changes(version, { [key]: 51 }, { [key]: 51 }), undefined);
    });
  }

  for (const key of ['events', 'notifications']) {
    test(`v${version} ${rule}.${6 + shift}: ${key} above the sender's power are not changed or removed`, () => {
      const with_ = (levels: JsonObject) => ({ [key]: { 'm.room.power_levels': 50, ...levels } });
      assert.equal(changes(version, with_({ x: 50 }), with_({ x: 20 })), undefined);
      assert.equal(changes(version, with_({ x: 50 }), with_({})), undefined);
      assert.equal(changes(version, with_({ x: 51 }), with_({ x: 51 })), undefined);
      assert.notEqual(changes(version, with_({ x: 51 }), with_({ x: 20 })), undefined);
      assert.notEqual(changes(version, with_({ x: 51 }), with_({})), undefined);
      assert.notEqual(
        changes(version, with_({ x: 51 }), { events: { 'm.room.power_levels': 50 } }),
        undefined,
      );
    });

    test(`v${version} ${rule}.${7 + shift}: ${key} are not set above the sender's power`, () => {
      const with_ = (levels: JsonObject) => ({ [key]: { 'm.room.power_levels': 50, ...levels } });
      assert.equal(changes(version, with_({}), with_({ x: 50 })), undefined);
      assert.notEqual(changes(version, with_({}), with_({ x: 51 })), undefined);
      assert.notEqual(changes(version, with_({ x: 20 }), with_({ x: 51 })), undefined);
    });
  }

  test(`v${version} ${rule}.${8 + shift}: only entries of users below the sender are changed or removed`, () => {
    const users = (level?: number): JsonObject => ({ users: level === undefined ? {} : { [CAROL]: level } });
    assert.equal(changes(version, users(49), users(0)), undefined);
    assert.equal(changes(version, users(49), users()), undefined);
    assert.notEqual(changes(version, users(50), users(0)), undefined);
    assert.notEqual(changes(version, users(50), users()), undefined);
    assert.notEqual(changes(version, users(51), users(50)), undefined);
    assert.equal(changes(version, users(51), users(51)), undefined);
    // The sender's own entry may go down, and not up.
    assert.equal(changes(version, {}, { users: { [BOB]: 20 } }), undefined);
    assert.notEqual(changes(version, {}, { users: { [BOB]: 51 } }), undefined);
  });

  test(`v${version} ${rule}.${9 + shift}: nobody is lifted above the sender`, () => {
    const users = (level: number): JsonObject => ({ users: { [CAROL]: level } });
    assert.equal(changes(version, {}, users(50)), undefined);
    assert.notEqual(changes(version, {}, users(51)), undefined);
    assert.equal(changes(version, users(20), users(50)), undefined);
    assert.notEqual(changes(version, users(20), users(51)), undefined);
  });
}

test('v12 10.4: power levels that name a creator are rejected', () => {
  const room = roomOf(ALICE, {
    version: '12',
    create: { additional_creators: [CAROL] },
    members: [CAROL, BOB],
  });
  const verdict = (users: JsonObject) =>
    room.verdict(ALICE, { type: 'm.room.power_levels', state_key: '', content: { users } });
  assert.equal(verdict({ [BOB]: 100 }), undefined);
  assert.match(verdict({ [ALICE]: 100 }) ?? '', /creator/);
  assert.match(verdict({ [CAROL]: 0 }) ?? '', /creator/);
  assert.equal(first('11', { users: { [ALICE]: 100 } }), undefined);
});

test('v12: a creator is above every level', () => {
  const room = roomOf(ALICE, {
    version: '12',
    create: { additional_creators: [CAROL] },
    members: [CAROL],
    power_levels: {
      users: { [BOB]: Number.MAX_SAFE_INTEGER },
      ban: Number.MAX_SAFE_INTEGER,
      users_default: -1,
    },
  });
  const power = powerOf(room.create, room.get('m.room.power_levels'));
  assert.equal(power.of(ALICE), Number.POSITIVE_INFINITY);
  assert.equal(power.of(CAROL), Number.POSITIVE_INFINITY);
  assert.equal(power.of('@nobody:x.test'), -1);
  for (const creator of [ALICE, CAROL] as const) {
    const content = { users: { [BOB]: 0 }, ban: 0 };
    assert.equal(room.verdict(creator, { type: 'm.room.power_levels', state_key: '', content }), undefined);
  }
});

test('v11: additional_creators gives no power', () => {
  const room = roomOf(ALICE, { version: '11', create: { additional_creators: [CAROL] } });
  assert.equal(powerOf(room.create, room.get('m.room.power_levels')).of(CAROL), 0);
});

test('power levels have the defaults of the specification, with the event and without', () => {
  for (const version of VERSIONS) {
    for (const power_levels of [null, {}]) {
      const room = roomOf(ALICE, { version, power_levels });
      const power = powerOf(room.create, room.get('m.room.power_levels'));
      assert.deepEqual(
        [power.invite, power.kick, power.ban, power.redact, power.of(BOB)],
        [0, 50, 50, 50, 0],
      );
      assert.equal(power.required('m.room.message', 'message'), 0);
      assert.equal(power.required('m.room.topic', 'state'), 50);
      assert.equal(power.of(ALICE), version === '12' ? Number.POSITIVE_INFINITY : 100);
    }
  }
});

test('v10 takes the creator from content.creator, v11 from the sender', () => {
  const v10 = roomOf(ALICE, { version: '10', create: { creator: BOB }, power_levels: null });
  assert.equal(powerOf(v10.create, undefined).of(BOB), 100);
  assert.equal(powerOf(v10.create, undefined).of(ALICE), 0);
  const v11 = roomOf(ALICE, { version: '11', create: { creator: BOB }, power_levels: null });
  assert.equal(powerOf(v11.create, undefined).of(ALICE), 100);
  assert.equal(powerOf(v11.create, undefined).of(BOB), 0);
});

test('levels are read from the object itself, not from its prototype', () => {
  const room = roomOf(ALICE, { version: '11' });
  const power = powerOf(room.create, room.get('m.room.power_levels'));
  assert.equal(power.required('constructor', 'message'), 0);
  assert.equal(power.of('toString'), 0);
});

test('v9: levels may be integers in strings, with white space, a sign and leading zeroes', () => {
  const level = (value: Json, version: string) => {
    const room = roomOf(ALICE, { version, power_levels: { users: { [ALICE]: 100, [BOB]: value } } });
    return powerOf(room.create, room.get('m.room.power_levels')).of(BOB);
  };
  for (const value of ['50', ' 0050 ', '+50', '\t50\n']) assert.equal(level(value, '9'), 50, value);
  assert.equal(level('-50', '9'), -50);
  for (const value of ['50.5', '5e1', '', '- 50', 'x']) {
    assert.equal(first('9', { users: { [BOB]: value } }) === undefined, false, value);
  }
  assert.equal(first('9', { users: { [BOB]: '50' } }), undefined);
  assert.equal(first('9', { ban: 'not a level' }), undefined);
});

test('v5: notifications are not protected; from version 6 they are', () => {
  const before = { notifications: { room: 60 } };
  assert.equal(changes('5', before, {}), undefined);
  assert.notEqual(changes('6', before, {}), undefined);
});

/** What power levels say. The rules for their changes are in `numbered/power-levels.ts`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseStrict } from '#keys/canonical-json.ts';
import { isObject, type Json, type JsonObject } from '#keys/json.ts';
import { powerOf } from '#rooms/power.ts';
import { roomOf } from '#test/harness/room-builder.ts';

const ALICE = '@alice:a.test';
const BOB = '@bob:b.test';
const CAROL = '@carol:c.test';
const VERSIONS = ['10', '11', '12'];

/** The creator writes the first power levels of a room. */
function first(version: string, content: JsonObject): string | undefined {
  const room = roomOf(ALICE, { version, power_levels: null });
  return room.verdict(ALICE, { type: 'm.room.power_levels', state_key: '', content });
}

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

test('v5: a level outside of the range of doubles makes the event invalid; an integer beyond 2^53 is a level', () => {
  const verdict = (content: string) => {
    const parsed = parseStrict(content, { anyNumbers: true });
    assert.ok(parsed.kind === 'ok' && isObject(parsed.value), content);
    return first('5', parsed.value);
  };
  const huge = '9'.repeat(400);
  for (const content of [
    `{"ban":${huge}}`,
    `{"events":{"x":-${huge}}}`,
    `{"notifications":{"room":${huge}}}`,
  ]) {
    assert.match(verdict(content) ?? '', /range of numbers/);
  }
  assert.match(verdict(`{"users":{"${BOB}":${huge}}}`) ?? '', /users is not/);
  for (const level of ['9007199254740993', '1e22', '50.0']) {
    assert.equal(verdict(`{"ban":${level},"users":{"${BOB}":${level}}}`), undefined);
  }
});

test('a level that is not given counts as its default: who is below it neither gives nor takes it', () => {
  // "Power levels are inferred from defaults when not explicitly supplied."
  const changes = (before: JsonObject, after: JsonObject): string | undefined => {
    const whole = (content: JsonObject): JsonObject => ({
      users: { [ALICE]: 100, [BOB]: 30 },
      events: { 'm.room.power_levels': 30 },
      ...content,
    });
    const room = roomOf(ALICE, { version: '11', members: [BOB], power_levels: whole(before) });
    return room.verdict(BOB, { type: 'm.room.power_levels', state_key: '', content: whole(after) });
  };
  for (const key of ['state_default', 'ban', 'redact', 'kick']) {
    assert.notEqual(changes({}, { [key]: 20 }), undefined, key);
    assert.notEqual(changes({ [key]: 20 }, {}), undefined, key);
    assert.equal(changes({ [key]: 20 }, { [key]: 30 }), undefined, key);
  }
  for (const key of ['users_default', 'events_default', 'invite']) {
    assert.equal(changes({}, { [key]: 20 }), undefined, key);
    assert.equal(changes({ [key]: 20 }, {}), undefined, key);
  }
});

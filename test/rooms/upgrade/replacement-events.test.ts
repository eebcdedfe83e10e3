import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { replacementEvents } from '#rooms/upgrade/replacement-events.ts';
import { rulesOf } from '#rooms/versions.ts';
import { roomOf } from '#test/harness/room-builder.ts';

const ALICE = '@alice:a.test';

function replaced(from: string, to: string, state: Record<string, JsonObject>): Map<string, JsonObject> {
  const room = roomOf(ALICE, { version: from });
  const events = Object.entries(state).map(([type, content]) => room.state(ALICE, type, '', content));
  const rules = rulesOf(to);
  const all = [...room.events.values()];
  const [create, member] = all;
  if (rules === undefined || create === undefined || member === undefined) throw new Error('no such room');
  const old = {
    ...{ create, member, children: [], bans: [], localAliases: undefined },
    powerLevels: events.find(({ type }) => type === 'm.room.power_levels'),
    state: events.filter(({ type }) => type !== 'm.room.power_levels'),
  };
  const how = {
    rules,
    creator: ALICE,
    additionalCreators: [],
    predecessor: { room_id: '!old:a.test' },
  } as const;
  return new Map(replacementEvents(old, how).map(({ type, content }) => [type, content]));
}

test('a join rule that the new version lacks becomes invite; one that it has stays', () => {
  const cases = [
    ['6', 'knock', 'invite'],
    ['7', 'knock', 'knock'],
    ['7', 'restricted', 'invite'],
    ['8', 'restricted', 'restricted'],
    ['9', 'knock_restricted', 'invite'],
    ['10', 'knock_restricted', 'knock_restricted'],
    ['6', 'public', 'public'],
  ] as const;
  for (const [version, before, after] of cases) {
    const events = replaced('10', version, { 'm.room.join_rules': { join_rule: before } });
    assert.equal(events.get('m.room.join_rules')?.join_rule, after, `${before} in ${version}`);
  }
});

test('levels that are strings become integers from v10 on; what is no level goes', () => {
  const levels = {
    ban: '50',
    kick: ' +60 ',
    invite: 'many',
    events: { 'm.room.name': '70', 'm.room.topic': 1 },
    users: { [ALICE]: '100' },
    'org.example.key': 'stays',
  };
  const content = replaced('9', '11', { 'm.room.power_levels': levels }).get('m.room.power_levels');
  assert.deepEqual(content, {
    ban: 50,
    kick: 60,
    events: { 'm.room.name': 70, 'm.room.topic': 1 },
    users: { [ALICE]: 100 },
    'org.example.key': 'stays',
  });
});

test('content that canonical JSON cannot hold is left behind', () => {
  const events = replaced('5', '11', {
    'm.room.name': { name: 'n', 'org.example.size': 1.5 },
    'm.room.topic': { topic: 't' },
  });
  assert.deepEqual([events.get('m.room.name'), events.get('m.room.topic')], [undefined, { topic: 't' }]);
});

test('without power levels in the old room the one who makes the new room has power in it', () => {
  const of = (version: string) => replaced('10', version, {}).get('m.room.power_levels');
  assert.deepEqual(of('11')?.users, { [ALICE]: 100 });
  assert.deepEqual(of('12')?.users, {});
  assert.deepEqual(of('12')?.events, { 'm.room.tombstone': 150 });
});

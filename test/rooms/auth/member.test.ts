/** What several of the membership rules say together. Each by itself is in `numbered/member.ts`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';

const ADMIN = '@admin:a.test';
const SENDER = '@sender:s.test';
const TARGET = '@target:t.test';
type Membership = undefined | 'join' | 'invite' | 'leave' | 'ban' | 'knock';

interface Setting {
  readonly version: string;
  readonly join_rule?: string;
  readonly sender?: Membership;
  readonly target?: Membership | undefined;
  readonly levels?: JsonObject;
  readonly senderLevel?: number;
  readonly targetLevel?: number;
}

function roomWith(setting: Setting): TestRoom {
  const { version, join_rule = 'invite', senderLevel = 0, targetLevel = 0 } = setting;
  const users = {
    ...(version !== '12' && { [ADMIN]: 100 }),
    [SENDER]: senderLevel,
    [TARGET]: targetLevel,
  };
  const room = roomOf(ADMIN, { version, join_rule, power_levels: { users, ...setting.levels } });
  if (setting.sender !== undefined) room.member(ADMIN, SENDER, setting.sender);
  if (setting.target !== undefined) room.member(ADMIN, TARGET, setting.target);
  return room;
}

function change(
  room: TestRoom,
  users: [UserId, UserId],
  membership: JsonObject[string],
  more: JsonObject = {},
) {
  const [sender, target] = users;
  return room.verdict(sender, {
    type: 'm.room.member',
    state_key: target,
    content: { membership, ...more },
  });
}

test('to invite takes the invite level, which is 0 unless given; to lift a ban the kick level too', () => {
  const invites = (senderLevel: number) =>
    change(roomWith({ version: '11', sender: 'join', senderLevel }), [SENDER, TARGET], 'invite');
  assert.equal(invites(0), undefined);
  assert.notEqual(invites(-1), undefined);
  const unbans = (senderLevel: number, levels: JsonObject) =>
    change(
      roomWith({ version: '11', sender: 'join', target: 'ban', senderLevel, levels }),
      [SENDER, TARGET],
      'leave',
    );
  assert.notEqual(unbans(50, { ban: 10, kick: 60 }), undefined);
  assert.equal(unbans(60, { ban: 60, kick: 60 }), undefined);
});

test('the user who authorises a join counts for nothing under other join rules, and lets no banned user in', () => {
  const more = { join_authorised_via_users_server: SENDER };
  const setting = { version: '11', sender: 'join', senderLevel: 100 } as const;
  for (const [join_rule, target] of [
    ['invite', undefined],
    ['restricted', 'ban'],
  ] as const) {
    const room = roomWith({ ...setting, join_rule, target });
    assert.notEqual(change(room, [TARGET, TARGET], 'join', more), undefined);
  }
});

test('v7: no knocking before version 7, no restricted joins before 8, no knock_restricted before 10', () => {
  const knocks = (version: string, join_rule: string) =>
    change(roomWith({ version, join_rule }), [TARGET, TARGET], 'knock');
  assert.notEqual(knocks('6', 'knock'), undefined);
  assert.equal(knocks('7', 'knock'), undefined);
  assert.notEqual(knocks('9', 'knock_restricted'), undefined);
  assert.equal(knocks('10', 'knock_restricted'), undefined);
  const joins = (version: string, join_rule: string) =>
    change(roomWith({ version, join_rule, sender: 'join', senderLevel: 100 }), [TARGET, TARGET], 'join', {
      join_authorised_via_users_server: SENDER,
    });
  assert.notEqual(joins('7', 'restricted'), undefined);
  assert.equal(joins('8', 'restricted'), undefined);
  assert.notEqual(joins('9', 'knock_restricted'), undefined);
});

test('v12: nobody removes or bans a creator, not even another one; creators remove anybody else', () => {
  const room = roomOf(ADMIN, {
    version: '12',
    create: { additional_creators: [SENDER] },
    power_levels: { users: { [TARGET]: Number.MAX_SAFE_INTEGER } },
  });
  for (const user of [SENDER, TARGET] as const) room.member(ADMIN, user, 'join');
  for (const membership of ['leave', 'ban']) {
    assert.notEqual(change(room, [TARGET, ADMIN], membership), undefined);
    assert.notEqual(change(room, [TARGET, SENDER], membership), undefined);
    assert.notEqual(change(room, [SENDER, ADMIN], membership), undefined);
    assert.notEqual(change(room, [ADMIN, SENDER], membership), undefined);
    assert.equal(change(room, [ADMIN, TARGET], membership), undefined);
    assert.equal(change(room, [SENDER, TARGET], membership), undefined);
  }
});

test("v12 5.3.1: the first join is the creator's, not that of an additional creator", () => {
  const room = roomOf(ADMIN, { version: '12', create: { additional_creators: [SENDER] } });
  room.stateMap.clear();
  room.stateMap.set('m.room.create\0', room.create);
  const join = (user: UserId) => ({
    type: 'm.room.member',
    state_key: user,
    content: { membership: 'join' },
    prev_events: [room.create.eventId],
    auth_events: [],
  });
  assert.equal(room.check(room.draft(ADMIN, join(ADMIN))), undefined);
  assert.notEqual(room.check(room.draft(SENDER, join(SENDER))), undefined);
});

test('of a room without a join rule invited users are members; one whose join rule is no text lets nobody in', () => {
  for (const version of ['1', '7', '10', '12']) {
    for (const [content, allowed] of [
      [{}, true],
      [{ join_rule: 42 }, false],
      [{ join_rule: null }, false],
    ] as const) {
      const room = roomWith({ version, target: 'invite' });
      room.state(ADMIN, 'm.room.join_rules', '', content);
      const verdict = change(room, [TARGET, TARGET], 'join');
      // "Otherwise, reject."
      assert.equal(verdict === undefined, allowed, `v${version} ${JSON.stringify(content)}`);
    }
  }
});

/**
 * The membership rules as matrices: who may do what, by the memberships, join rules and power levels. Numbers are
 * those of versions 10 and 11; in version 12 they begin with 5 instead of 4.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';

const ADMIN = '@admin:a.test';
const SENDER = '@sender:s.test';
const TARGET = '@target:t.test';
const VERSIONS = ['10', '11', '12'];
const MEMBERSHIPS = [undefined, 'join', 'invite', 'leave', 'ban', 'knock'] as const;
type Membership = (typeof MEMBERSHIPS)[number];

interface Setting {
  readonly version: string;
  readonly join_rule?: string;
  readonly sender?: Membership;
  readonly target?: Membership;
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

/** Checks that exactly these memberships allow the change, all others not. */
function assertAllowed(
  version: string,
  allowed: readonly Membership[],
  verdict: (membership: Membership) => string | undefined,
): void {
  for (const membership of MEMBERSHIPS) {
    const reason = verdict(membership);
    const expected = allowed.includes(membership);
    assert.equal(reason === undefined, expected, `v${version}, membership ${membership}: ${reason}`);
  }
}

for (const version of VERSIONS) {
  const rule = version === '12' ? '5' : '4';
  const name = (number: string, sentence: string) => `v${version} ${rule}.${number}: ${sentence}`;

  test(name('1', 'a membership event without state key or membership is rejected'), () => {
    const room = roomOf(ADMIN, { version, join_rule: 'public' });
    const member = { type: 'm.room.member' };
    assert.match(room.verdict(ADMIN, { ...member, content: { membership: 'join' } }) ?? '', /state key/);
    for (const content of [{}, { membership: 1 }, { membership: null }]) {
      assert.notEqual(room.verdict(ADMIN, { ...member, state_key: ADMIN, content }), undefined);
    }
  });

  test(name('2', 'join_authorised_via_users_server that is no user id is rejected'), () => {
    const room = roomWith({ version, join_rule: 'public' });
    for (const authoriser of ['a.test', '', 5, null, '@nobody']) {
      const more = { join_authorised_via_users_server: authoriser };
      assert.notEqual(change(room, [TARGET, TARGET], 'join', more), undefined, JSON.stringify(authoriser));
    }
  });

  test(name('3.1', "the creator's join straight after the create event is allowed"), () => {
    const room = roomOf(ADMIN, { version });
    const first = {
      type: 'm.room.member',
      state_key: ADMIN,
      content: { membership: 'join' },
      prev_events: [room.create.eventId],
      auth_events: version === '12' ? [] : [room.create.eventId],
    };
    const empty = roomOf(ADMIN, { version });
    empty.stateMap.clear();
    empty.stateMap.set('m.room.create\0', empty.create);
    assert.equal(empty.check(empty.draft(ADMIN, first)), undefined);
    const later = { ...first, prev_events: [room.create.eventId, room.last.eventId] };
    assert.notEqual(empty.check(empty.draft(ADMIN, later)), undefined);
    const other = { ...first, state_key: TARGET };
    assert.notEqual(empty.check(empty.draft(TARGET, other)), undefined);
  });

  test(name('3.2', 'nobody joins for another user'), () => {
    const room = roomWith({ version, join_rule: 'public', sender: 'join', senderLevel: 100 });
    assert.notEqual(change(room, [SENDER, TARGET], 'join'), undefined);
    assert.equal(change(room, [TARGET, TARGET], 'join'), undefined);
  });

  const joinable: readonly [string, readonly Membership[], string][] = [
    ['public', [undefined, 'join', 'invite', 'leave', 'knock'], '3.3 and 3.6'],
    ['invite', ['join', 'invite'], '3.4'],
    ['knock', ['join', 'invite'], '3.4'],
    ['restricted', ['join', 'invite'], '3.5.1'],
    ['knock_restricted', ['join', 'invite'], '3.5.1'],
    ['private', [], '3.7'],
    ['unheard_of', [], '3.7'],
  ];
  for (const [join_rule, allowed, number] of joinable) {
    test(name(number, `who may join under the join rule ${join_rule}`), () => {
      assertAllowed(version, allowed, (target) =>
        change(roomWith({ version, join_rule, target }), [TARGET, TARGET], 'join'),
      );
    });
  }

  test(name('3.4', 'a room without join rules takes invited users only'), () => {
    assertAllowed(version, ['join', 'invite'], (target) => {
      const room = roomWith({ version, target });
      room.stateMap.delete('m.room.join_rules\0');
      return change(room, [TARGET, TARGET], 'join');
    });
  });

  for (const join_rule of ['restricted', 'knock_restricted']) {
    test(name('3.5.2', `${join_rule}: the user who authorises must be joined and may invite`), () => {
      const more = { join_authorised_via_users_server: SENDER };
      const levels = { invite: 30 };
      const joins = (setting: Partial<Setting>) =>
        change(roomWith({ version, join_rule, levels, ...setting }), [TARGET, TARGET], 'join', more);
      assert.equal(joins({ sender: 'join', senderLevel: 30 }), undefined);
      assert.notEqual(joins({ sender: 'join', senderLevel: 29 }), undefined);
      for (const sender of [undefined, 'invite', 'leave', 'ban', 'knock'] as const) {
        assert.notEqual(joins({ sender, senderLevel: 100 }), undefined, sender);
      }
      assert.notEqual(joins({ sender: 'join', senderLevel: 30, target: 'ban' }), undefined);
    });

    test(name('3.5.2', `${join_rule}: without an authorising user nobody gets in`), () => {
      assert.notEqual(change(roomWith({ version, join_rule }), [TARGET, TARGET], 'join'), undefined);
    });
  }

  test(name('3.5', 'the authorising user counts for nothing under other join rules'), () => {
    const room = roomWith({ version, join_rule: 'invite', sender: 'join', senderLevel: 100 });
    const more = { join_authorised_via_users_server: SENDER };
    assert.notEqual(change(room, [TARGET, TARGET], 'join', more), undefined);
  });

  test(name('4.2', 'only a joined user invites'), () => {
    assertAllowed(version, ['join'], (sender) =>
      change(roomWith({ version, sender, senderLevel: 100 }), [SENDER, TARGET], 'invite'),
    );
  });

  test(name('4.3', 'a joined or banned user is not invited'), () => {
    assertAllowed(version, [undefined, 'invite', 'leave', 'knock'], (target) =>
      change(roomWith({ version, sender: 'join', senderLevel: 100, target }), [SENDER, TARGET], 'invite'),
    );
  });

  test(name('4.4', 'to invite takes the invite level, which is 0 unless given'), () => {
    const invites = (senderLevel: number, levels: JsonObject) =>
      change(roomWith({ version, sender: 'join', senderLevel, levels }), [SENDER, TARGET], 'invite');
    assert.equal(invites(0, {}), undefined);
    assert.notEqual(invites(-1, {}), undefined);
    assert.equal(invites(20, { invite: 20 }), undefined);
    assert.notEqual(invites(19, { invite: 20 }), undefined);
  });

  test(name('5.1', 'whoever is joined, invited or has knocked may leave'), () => {
    assertAllowed(version, ['join', 'invite', 'knock'], (target) =>
      change(roomWith({ version, target }), [TARGET, TARGET], 'leave'),
    );
  });

  test(name('5.2', 'only a joined user removes others'), () => {
    assertAllowed(version, ['join'], (sender) =>
      change(roomWith({ version, sender, senderLevel: 100, target: 'join' }), [SENDER, TARGET], 'leave'),
    );
  });

  test(name('5.3', 'to lift a ban takes both the ban level and the kick level'), () => {
    const unbans = (senderLevel: number, levels: JsonObject) =>
      change(
        roomWith({ version, sender: 'join', target: 'ban', senderLevel, levels }),
        [SENDER, TARGET],
        'leave',
      );
    assert.equal(unbans(50, {}), undefined);
    assert.notEqual(unbans(49, {}), undefined);
    assert.notEqual(unbans(50, { ban: 60, kick: 10 }), undefined);
    assert.notEqual(unbans(50, { ban: 10, kick: 60 }), undefined);
    assert.equal(unbans(60, { ban: 60, kick: 60 }), undefined);
  });

  for (const [membership, level] of [
    ['leave', 'kick'],
    ['ban', 'ban'],
  ] as const) {
    const number = membership === 'leave' ? '5.4' : '6.2';
    test(name(number, `to ${level} takes the ${level} level, and more power than the target has`), () => {
      const acts = (senderLevel: number, targetLevel: number, levels: JsonObject = {}) =>
        change(
          roomWith({ version, sender: 'join', target: 'join', senderLevel, targetLevel, levels }),
          [SENDER, TARGET],
          membership,
        );
      assert.equal(acts(50, 0), undefined);
      assert.notEqual(acts(49, 0), undefined);
      assert.equal(acts(50, 49), undefined);
      assert.notEqual(acts(50, 50), undefined);
      assert.notEqual(acts(50, 51), undefined);
      assert.equal(acts(10, 9, { [level]: 10 }), undefined);
      assert.notEqual(acts(9, 0, { [level]: 10 }), undefined);
    });
  }

  test(name('6.1', 'only a joined user bans, whatever the target is'), () => {
    assertAllowed(version, ['join'], (sender) =>
      change(roomWith({ version, sender, senderLevel: 100 }), [SENDER, TARGET], 'ban'),
    );
    assertAllowed(version, MEMBERSHIPS, (target) =>
      change(roomWith({ version, sender: 'join', senderLevel: 100, target }), [SENDER, TARGET], 'ban'),
    );
  });

  for (const [join_rule, allowed] of [
    ['knock', [undefined, 'leave', 'knock']],
    ['knock_restricted', [undefined, 'leave', 'knock']],
    ['invite', []],
    ['public', []],
    ['restricted', []],
  ] as const) {
    test(name('7.1 and 7.3', `who may knock under the join rule ${join_rule}`), () => {
      assertAllowed(version, allowed, (target) =>
        change(roomWith({ version, join_rule, target }), [TARGET, TARGET], 'knock'),
      );
    });
  }

  test(name('7.2', 'nobody knocks for another user'), () => {
    const room = roomWith({ version, join_rule: 'knock', sender: 'leave' });
    assert.notEqual(change(room, [SENDER, TARGET], 'knock'), undefined);
  });

  test(name('8', 'an unknown membership is rejected'), () => {
    const room = roomWith({ version, join_rule: 'public', target: 'join' });
    for (const membership of ['', 'JOIN', 'peek', 'constructor']) {
      assert.notEqual(change(room, [TARGET, TARGET], membership), undefined, membership);
    }
  });
}

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

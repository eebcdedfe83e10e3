/** Membership events. */
import assert from 'node:assert/strict';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { requiredSigners } from '#rooms/sign-event.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { rule } from './rule.ts';
import {
  ADMIN,
  admins,
  allowed,
  allowedOnlyTo,
  type Membership,
  membership,
  refused,
  roomWith,
  rules,
  SENDER,
  TARGET,
} from './setting.ts';

const MEMBER = /^If type is `m.room.member`/;
const JOIN = /^If `membership` is `join`/;
const RESTRICTED = /^If the `join_rule` is `restricted`/;
const INVITE = /^If `membership` is `invite`/;
const LEAVE = /^If `membership` is `leave`/;
const BAN = /^If `membership` is `ban`/;
const KNOCK = /^If `membership` is `knock`/;
const SENDER_NOT_JOINED = /^If the `sender`'s current membership state is not `join`, reject/;

rule([MEMBER, /no `state_key` property, or no `membership` property in `content`, reject/], (version) => {
  const room = roomWith(version, { join_rule: 'public' });
  const event = { type: 'm.room.member', content: { membership: 'join' } };
  refused(room.refusalOf(TARGET, event), /has a state key/);
  for (const content of [{}, { membership: 1 }, { membership: null }]) {
    refused(room.refusalOf(TARGET, { ...event, state_key: TARGET, content }), /has a membership/);
  }
  allowed(room.refusalOf(TARGET, { ...event, state_key: TARGET }));
});

rule(
  [MEMBER, /`join_authorised_via_users_server`/, /not validly signed by the homeserver of the user ID/],
  (version) => {
    const room = roomWith(version, { join_rule: 'public' });
    const join = (authoriser: JsonObject[string]) => {
      const content = { membership: 'join', join_authorised_via_users_server: authoriser };
      return room.draft(TARGET, { type: 'm.room.member', state_key: TARGET, content });
    };
    // What lacks a signature of one of these is dropped on receipt.
    assert.deepEqual(requiredSigners(join(SENDER).pdu, rules(version)), ['t.test', 's.test']);
    for (const nobody of ['s.test', '', 5, null, '@nobody']) {
      refused(room.refusal(join(nobody)), /not a user id/, JSON.stringify(nobody));
    }
    allowed(room.refusal(join(ADMIN)));
  },
);

rule([MEMBER, JOIN, /only previous event is an `m.room.create`/], (version) => {
  const room = roomOf(ADMIN, { version });
  const { create } = room;
  room.stateMap.clear();
  room.stateMap.set('m.room.create\0', create);
  const auth_events = version === '12' ? [] : [create.eventId];
  const join = (user: UserId, prev_events = [create.eventId]) =>
    room.refusalOf(user, {
      ...{ type: 'm.room.member', state_key: user, content: { membership: 'join' } },
      ...{ prev_events, auth_events },
    });
  allowed(join(ADMIN));
  refused(join(ADMIN, [create.eventId, room.last.eventId]), /invited users only/);
  refused(join(ADMIN, [room.last.eventId]), /invited users only/);
  refused(join(TARGET), /invited users only/);
  if (rules(version).creatorInContent) {
    // Until version 10 the creator is whom `content.creator` names.
    const made = roomOf(ADMIN, { version, create: { creator: SENDER } });
    made.stateMap.clear();
    made.stateMap.set('m.room.create\0', made.create);
    const first = (user: UserId) =>
      made.refusalOf(user, {
        ...{ type: 'm.room.member', state_key: user, content: { membership: 'join' } },
        ...{ prev_events: [made.create.eventId], auth_events: [made.create.eventId] },
      });
    allowed(first(SENDER));
    refused(first(ADMIN), /invited users only/);
  }
});

rule([MEMBER, JOIN, /^If the `sender` does not match `state_key`, reject/], (version) => {
  const room = roomWith(version, { join_rule: 'public', sender: 'join', senderLevel: 100 });
  refused(membership(room, [SENDER, TARGET], 'join'), /for themselves only/);
  allowed(membership(room, [TARGET, TARGET], 'join'));
});

rule([MEMBER, JOIN, /^If the `sender` is banned, reject/], (version) => {
  const verdict = (target: Membership) =>
    membership(roomWith(version, { join_rule: 'public', target }), [TARGET, TARGET], 'join');
  refused(verdict('ban'), /banned/);
  allowed(verdict('leave'));
});

rule(
  [MEMBER, JOIN, /^If the `join_rule` is `invite`( or `knock`)? then allow if membership state is/],
  (version) => {
    const joinRules = ['invite', ...(rules(version).knocking ? ['knock'] : [])];
    for (const join_rule of joinRules) {
      allowedOnlyTo(['join', 'invite'], /invited users only|banned/, (target) =>
        membership(roomWith(version, { join_rule, target }), [TARGET, TARGET], 'join'),
      );
    }
    // "invite" where the room has no join rules.
    const room = roomWith(version);
    room.stateMap.delete('m.room.join_rules\0');
    refused(membership(room, [TARGET, TARGET], 'join'), /invited users only/);
  },
);

/** The join rules that others may let users in by. */
function restrictedRules(version: string): string[] {
  return rules(version).knockRestrictedJoins ? ['restricted', 'knock_restricted'] : ['restricted'];
}

rule([MEMBER, JOIN, RESTRICTED, /^If membership state is `join` or `invite`, allow/], (version) => {
  for (const join_rule of restrictedRules(version)) {
    allowedOnlyTo(['join', 'invite'], /not authorised|banned/, (target) =>
      membership(roomWith(version, { join_rule, target }), [TARGET, TARGET], 'join'),
    );
  }
});

rule(
  [MEMBER, JOIN, RESTRICTED, /is not a user with sufficient permission to invite other users/],
  (version) => {
    const more = { join_authorised_via_users_server: SENDER };
    for (const join_rule of restrictedRules(version)) {
      const verdict = (sender: Membership, senderLevel: number) => {
        const setting = { join_rule, sender, senderLevel, levels: { invite: 50 } };
        return membership(roomWith(version, setting), [TARGET, TARGET], 'join', more);
      };
      allowed(verdict('join', 50));
      refused(verdict('join', 49), /may not invite/);
      allowedOnlyTo(['join'], /is not in the room/, (sender) => verdict(sender, 50));
    }
  },
);

rule([MEMBER, JOIN, RESTRICTED, /^Otherwise, allow/], (version) => {
  for (const join_rule of restrictedRules(version)) {
    for (const target of [undefined, 'leave', 'knock'] as const) {
      const room = roomWith(version, { join_rule, target });
      allowed(membership(room, [TARGET, TARGET], 'join', { join_authorised_via_users_server: ADMIN }));
    }
  }
});

rule([MEMBER, JOIN, /^If the `join_rule` is `public`, allow/], (version) => {
  allowedOnlyTo([undefined, 'join', 'invite', 'leave', 'knock'], /banned/, (target) =>
    membership(roomWith(version, { join_rule: 'public', target }), [TARGET, TARGET], 'join'),
  );
});

rule([MEMBER, JOIN, /^Otherwise, reject/], (version) => {
  const { knocking, restrictedJoins, knockRestrictedJoins } = rules(version);
  const unknown = [
    'private',
    'unheard_of',
    // Not before the version that brought them.
    ...(knocking ? [] : ['knock']),
    ...(restrictedJoins ? [] : ['restricted']),
    ...(knockRestrictedJoins ? [] : ['knock_restricted']),
  ];
  for (const join_rule of unknown) {
    allowedOnlyTo([], /lets nobody join|banned/, (target) =>
      membership(roomWith(version, { join_rule, target }), [TARGET, TARGET], 'join', {
        join_authorised_via_users_server: ADMIN,
      }),
    );
  }
});

rule([MEMBER, INVITE, SENDER_NOT_JOINED], (version) => {
  allowedOnlyTo(['join'], /The sender is not in the room/, (sender) =>
    membership(roomWith(version, { sender }), [SENDER, TARGET], 'invite'),
  );
});

rule([MEMBER, INVITE, /current membership state is `join` or `ban`, reject/], (version) => {
  allowedOnlyTo([undefined, 'invite', 'leave', 'knock'], /in the room already|banned/, (target) =>
    membership(roomWith(version, { sender: 'join', target }), [SENDER, TARGET], 'invite'),
  );
});

rule([MEMBER, INVITE, /greater than or equal to the \*invite level\*, allow/], (version) => {
  const room = roomWith(version, { sender: 'join', senderLevel: 20, levels: { invite: 20 } });
  allowed(membership(room, [SENDER, TARGET], 'invite'));
});

rule([MEMBER, INVITE, /^Otherwise, reject/], (version) => {
  const room = roomWith(version, { sender: 'join', senderLevel: 19, levels: { invite: 20 } });
  refused(membership(room, [SENDER, TARGET], 'invite'), /may not invite/);
});

rule([MEMBER, LEAVE, /^If the `sender` matches `state_key`, allow if and only if/], (version) => {
  const who: Membership[] = ['invite', 'join', ...(rules(version).knocking ? (['knock'] as const) : [])];
  allowedOnlyTo(who, /The user is not in the room/, (target) =>
    membership(roomWith(version, { target }), [TARGET, TARGET], 'leave'),
  );
});

rule([MEMBER, LEAVE, SENDER_NOT_JOINED], (version) => {
  allowedOnlyTo(['join'], /The sender is not in the room/, (sender) =>
    membership(roomWith(version, { sender, senderLevel: 60, target: 'join' }), [SENDER, TARGET], 'leave'),
  );
});

rule(
  [MEMBER, LEAVE, /state is `ban`, and the `sender`'s power level is less than the \*ban level\*, reject/],
  (version) => {
    const verdict = (target: Membership, senderLevel: number) => {
      const setting = { sender: 'join', senderLevel, target, levels: { ban: 70, kick: 20 } } as const;
      return membership(roomWith(version, setting), [SENDER, TARGET], 'leave');
    };
    refused(verdict('ban', 69), /may not lift a ban/);
    allowed(verdict('ban', 70));
    allowed(verdict('join', 69));
  },
);

rule(
  [
    MEMBER,
    LEAVE,
    /greater than or equal to the \*kick level\*, and the \*target user\*'s power level is less/,
  ],
  (version) => {
    for (const target of ['join', 'invite', 'knock', 'leave', undefined] as const) {
      const setting = {
        sender: 'join',
        senderLevel: 30,
        target,
        targetLevel: 29,
        levels: { kick: 30 },
      } as const;
      allowed(membership(roomWith(version, setting), [SENDER, TARGET], 'leave'), target);
    }
  },
);

rule([MEMBER, LEAVE, /^Otherwise, reject/], (version) => {
  const verdict = (senderLevel: number, targetLevel: number) => {
    const setting = {
      sender: 'join',
      senderLevel,
      target: 'join',
      targetLevel,
      levels: { kick: 30 },
    } as const;
    return membership(roomWith(version, setting), [SENDER, TARGET], 'leave');
  };
  refused(verdict(29, 0), /may not remove users/);
  refused(verdict(30, 30), /not below the sender/);
  refused(verdict(30, 31), /not below the sender/);
});

rule([MEMBER, BAN, SENDER_NOT_JOINED], (version) => {
  allowedOnlyTo(['join'], /The sender is not in the room/, (sender) =>
    membership(roomWith(version, { sender, senderLevel: 60 }), [SENDER, TARGET], 'ban'),
  );
});

rule(
  [MEMBER, BAN, /greater than or equal to the \*ban level\*, and the \*target user\*'s power level is less/],
  (version) => {
    for (const target of ['join', 'invite', 'knock', 'leave', 'ban', undefined] as const) {
      const setting = {
        sender: 'join',
        senderLevel: 30,
        target,
        targetLevel: 29,
        levels: { ban: 30 },
      } as const;
      allowed(membership(roomWith(version, setting), [SENDER, TARGET], 'ban'), target);
    }
  },
);

rule([MEMBER, BAN, /^Otherwise, reject/], (version) => {
  const verdict = (senderLevel: number, targetLevel: number) => {
    const setting = {
      sender: 'join',
      senderLevel,
      target: 'join',
      targetLevel,
      levels: { ban: 30 },
    } as const;
    return membership(roomWith(version, setting), [SENDER, TARGET], 'ban');
  };
  refused(verdict(29, 0), /may not ban users/);
  refused(verdict(30, 30), /not below the sender/);
});

/** The join rules that let users knock. */
function knockRules(version: string): string[] {
  return rules(version).knockRestrictedJoins ? ['knock', 'knock_restricted'] : ['knock'];
}

rule(
  [MEMBER, KNOCK, /^If the `join_rule` is anything other than `knock`( or `knock_restricted`)?, reject/],
  (version) => {
    const all = ['public', 'invite', 'restricted', 'private', 'knock', 'knock_restricted'];
    for (const join_rule of all) {
      const verdict = membership(roomWith(version, { join_rule }), [TARGET, TARGET], 'knock');
      if (knockRules(version).includes(join_rule)) allowed(verdict, join_rule);
      else refused(verdict, /does not let users knock/, join_rule);
    }
  },
);

rule([MEMBER, KNOCK, /^If `sender` does not match `state_key`, reject/], (version) => {
  const room = roomWith(version, { join_rule: 'knock', sender: 'join', senderLevel: 100 });
  refused(membership(room, [SENDER, TARGET], 'knock'), /for themselves only/);
});

rule([MEMBER, KNOCK, /current membership is not `ban`, `invite`, or `join`, allow/], (version) => {
  for (const join_rule of knockRules(version)) {
    for (const target of [undefined, 'leave', 'knock'] as const) {
      allowed(membership(roomWith(version, { join_rule, target }), [TARGET, TARGET], 'knock'), target);
    }
  }
});

rule([MEMBER, KNOCK, /^Otherwise, reject/], (version) => {
  for (const join_rule of knockRules(version)) {
    for (const target of ['ban', 'invite', 'join'] as const) {
      const verdict = membership(roomWith(version, { join_rule, target }), [TARGET, TARGET], 'knock');
      refused(verdict, /banned|invited already|in the room already/, target);
    }
  }
});

rule([MEMBER, /the membership is unknown. Reject/], (version) => {
  const room = roomOf(ADMIN, { version, join_rule: 'knock', power_levels: { users: admins(version) } });
  const unknown = ['', 'JOIN', 'peek', 'constructor', ...(rules(version).knocking ? [] : ['knock'])];
  for (const value of unknown) {
    refused(membership(room, [TARGET, TARGET], value), /not a known one/, value);
    refused(membership(room, [ADMIN, TARGET], value), /not a known one/, value);
  }
});

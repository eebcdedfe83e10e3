/** Power levels events. */

import type { Json, JsonObject } from '#keys/json.ts';
import { keepNumber } from '#keys/json-number.ts';
import type { Refusal } from '#rooms/auth/check.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { rule } from './rule.ts';
import { ADMIN, admins, allowed, refused, rules, SENDER, TARGET } from './setting.ts';

const POWER_LEVELS = /^If type is `m.room.power_levels`/;
const LEVELS = ['users_default', 'events_default', 'state_default', 'ban', 'redact', 'kick', 'invite'];
const NO_INTEGERS: readonly Json[] = ['50', '', 50.5, null, true, [50], { x: 50 }];

/** The creator writes the first power levels of a room. */
function first(version: string, content: JsonObject): Refusal | undefined {
  const room = roomOf(ADMIN, { version, power_levels: null });
  return room.refusalOf(ADMIN, { type: 'm.room.power_levels', state_key: '', content });
}

/** The sender, at level 50, changes the power levels from one content to another. */
function changes(version: string, before: JsonObject, after: JsonObject): Refusal | undefined {
  const whole = (content: JsonObject): JsonObject => ({
    ...content,
    events: { 'm.room.power_levels': 50, ...(content.events as JsonObject) },
    users: { ...admins(version), [SENDER]: 50, ...(content.users as JsonObject) },
  });
  const room = roomOf(ADMIN, { version, members: [SENDER, TARGET], power_levels: whole(before) });
  return room.refusalOf(SENDER, { type: 'm.room.power_levels', state_key: '', content: whole(after) });
}

rule(
  [POWER_LEVELS, /^If any of the properties `users_default`.* present and not an integer, reject/],
  (version) => {
    for (const key of LEVELS) {
      allowed(first(version, { [key]: -5 }));
      for (const value of NO_INTEGERS) {
        refused(first(version, { [key]: value }), /is not an integer/, `${key} ${JSON.stringify(value)}`);
      }
    }
  },
);

rule(
  [POWER_LEVELS, /properties `events` or `notifications` in `content` are present and not an object/],
  (version) => {
    for (const key of ['events', 'notifications']) {
      allowed(first(version, { [key]: { x: 5 } }));
      const wrong = [...NO_INTEGERS.map((value) => ({ x: value })), null, 5, 'x', [5], []];
      for (const value of wrong) {
        refused(first(version, { [key]: value }), /object of integers/, `${key} ${JSON.stringify(value)}`);
      }
    }
  },
);

rule(
  [POWER_LEVELS, /`users` property in `content` is not an object with keys that are valid user IDs/],
  (version) => {
    allowed(first(version, { users: { [SENDER]: 5, '@Grüße:b.test': 1 } }));
    allowed(first(version, {}));
    const { powerLevels } = rules(version);
    // "(or a string that is an integer)": until version 9; "accept values as floats": until version 5.
    const asStrings: Json[] = ['50', ' 0050 ', '+50', '\t-50\n'];
    const asFloats: Json[] = [
      50.5,
      -0.5,
      JSON.parse('5.114698E4', keepNumber),
      JSON.parse('50.0', keepNumber),
    ];
    const never: Json[] = ['', '50.5', '5e1', '- 50', 'x', null, true, [50], { x: 50 }];
    for (const value of asStrings) {
      const verdict = first(version, { users: { [SENDER]: value } });
      if (powerLevels === 'integers') refused(verdict, /users is not/, JSON.stringify(value));
      else allowed(verdict, JSON.stringify(value));
    }
    for (const value of asFloats) {
      const verdict = first(version, { users: { [SENDER]: value } });
      if (powerLevels === 'integersStringsAndFloats') allowed(verdict, JSON.stringify(value));
      else refused(verdict, /users is not/, JSON.stringify(value));
    }
    for (const value of never) refused(first(version, { users: { [SENDER]: value } }), /users is not/);
    for (const value of [null, 5, 'x', []]) refused(first(version, { users: value }), /users is not/);
    for (const key of ['bob', '@bob', '', '*', '@bob:', '#a:b.test']) {
      refused(first(version, { users: { [key]: 5 } }), /not a user id/, key);
    }
  },
);

rule(
  [POWER_LEVELS, /`users` property in `content` contains the `sender` of the `m.room.create` event/],
  (version) => {
    const room = roomOf(ADMIN, { version, create: { additional_creators: [TARGET] }, members: [TARGET] });
    const verdict = (users: JsonObject) =>
      room.refusalOf(ADMIN, { type: 'm.room.power_levels', state_key: '', content: { users } });
    allowed(verdict({ [SENDER]: 100 }));
    refused(verdict({ [ADMIN]: 100 }), /names a creator/);
    refused(verdict({ [TARGET]: 0 }), /names a creator/);
  },
);

rule([POWER_LEVELS, /no previous `m.room.power_levels` event in the room, allow/], (version) => {
  allowed(first(version, { users: { [SENDER]: 1_000 }, ban: 1_000, events: { x: 1_000 } }));
  refused(changes(version, {}, { ban: 1_000 }), /ban is above/);
});

const CHANGED_LEVELS = /^For the properties `users_default`.* check if they were added, changed or removed/;

rule([POWER_LEVELS, CHANGED_LEVELS, /^If the current value is (greater|higher) than/], (version) => {
  for (const key of LEVELS) {
    allowed(changes(version, { [key]: 50 }, { [key]: 40 }), key);
    allowed(changes(version, { [key]: 50 }, {}), key);
    refused(changes(version, { [key]: 51 }, { [key]: 40 }), /above the power of the sender/, key);
    refused(changes(version, { [key]: 51 }, {}), /above the power of the sender/, key);
    // Not touched.
    if (key !== 'state_default') allowed(changes(version, { [key]: 51 }, { [key]: 51 }), key);
  }
});

rule([POWER_LEVELS, CHANGED_LEVELS, /^If the new value is (greater|higher) than/], (version) => {
  for (const key of LEVELS) {
    allowed(changes(version, { [key]: 40 }, { [key]: 50 }), key);
    allowed(changes(version, {}, { [key]: 50 }), key);
    refused(changes(version, { [key]: 40 }, { [key]: 51 }), /above the power of the sender/, key);
    refused(changes(version, {}, { [key]: 51 }), /above the power of the sender/, key);
  }
});

/** The properties whose entries the version protects; and one that it does not. */
function protectedIn(version: string): { yes: string[]; no: string[] } {
  // v6: "the authorisation rules for events of type m.room.power_levels now include a notifications property".
  return Number(version) >= 6
    ? { yes: ['events', 'notifications'], no: [] }
    : { yes: ['events'], no: ['notifications'] };
}

rule(
  [POWER_LEVELS, /changed in, or removed from, the `events`/, /^If the current value is greater than/],
  (version) => {
    const { yes, no } = protectedIn(version);
    for (const key of yes) {
      allowed(changes(version, { [key]: { x: 50 } }, { [key]: { x: 20 } }), key);
      allowed(changes(version, { [key]: { x: 50 } }, {}), key);
      allowed(changes(version, { [key]: { x: 51 } }, { [key]: { x: 51 } }), key);
      refused(changes(version, { [key]: { x: 51 } }, { [key]: { x: 20 } }), /above the power/, key);
      refused(changes(version, { [key]: { x: 51 } }, {}), /above the power/, key);
    }
    for (const key of no) allowed(changes(version, { [key]: { x: 51 } }, {}), key);
  },
);

rule(
  [POWER_LEVELS, /being added to, or changed in,? the `events`/, /^If the new value is greater than/],
  (version) => {
    const { yes, no } = protectedIn(version);
    for (const key of yes) {
      allowed(changes(version, {}, { [key]: { x: 50 } }), key);
      refused(changes(version, {}, { [key]: { x: 51 } }), /above the power/, key);
      refused(changes(version, { [key]: { x: 20 } }, { [key]: { x: 51 } }), /above the power/, key);
    }
    for (const key of no) allowed(changes(version, {}, { [key]: { x: 51 } }), key);
  },
);

const users = (level?: number): JsonObject => ({ users: level === undefined ? {} : { [TARGET]: level } });

rule(
  [POWER_LEVELS, /removed from, the `users` property/, /greater than or equal to the `sender`'s/],
  (version) => {
    allowed(changes(version, users(49), users(0)));
    allowed(changes(version, users(49), users()));
    allowed(changes(version, users(51), users(51)));
    for (const level of [50, 51]) {
      refused(changes(version, users(level), users(0)), /not below the power/);
      refused(changes(version, users(level), users()), /not below the power/);
    }
    // "other than the sender's own entry".
    allowed(changes(version, {}, { users: { [SENDER]: 20 } }));
  },
);

rule(
  [POWER_LEVELS, /being added to, or changed in, the `users` property/, /^If the new value is greater/],
  (version) => {
    allowed(changes(version, users(), users(50)));
    allowed(changes(version, users(20), users(50)));
    refused(changes(version, users(), users(51)), /lifts/);
    refused(changes(version, users(20), users(51)), /lifts/);
    refused(changes(version, {}, { users: { [SENDER]: 51 } }), /lifts/);
  },
);

rule([POWER_LEVELS, /^Otherwise, allow/], (version) => {
  const before = { ban: 40, events: { x: 10 }, users: { [TARGET]: 10 }, unknown_key: 1 };
  const after = { ban: 41, events: { x: 11, y: 50 }, users: { [TARGET]: 11 }, unknown_key: 'anything' };
  allowed(changes(version, before, after));
  allowed(changes(version, before, before));
});

/** What members of a room may send: all but membership events and power levels. */

import type { EventId, UserId } from '#keys/ids.ts';
import type { Refusal } from '#rooms/auth/check.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { rule } from './rule.ts';
import { ADMIN, admins, allowed, allowedOnlyTo, refused, roomWith, SENDER, TARGET } from './setting.ts';

const ALIASES = /^If type is `m.room.aliases`/;
const REDACTION = /^If type is `m.room.redaction`/;

rule([ALIASES, /no `state_key`, reject/], (version) => {
  refused(roomWith(version).refusalOf(SENDER, { type: 'm.room.aliases' }), /has a state key/);
});

rule([ALIASES, /sender's domain doesn't match `state_key`, reject/], (version) => {
  for (const state_key of ['a.test', '', 's.test:8448']) {
    const verdict = roomWith(version).refusalOf(SENDER, { type: 'm.room.aliases', state_key });
    refused(verdict, /server of the sender/, state_key);
  }
});

rule([ALIASES, /^Otherwise, allow/], (version) => {
  // Whether the sender is in the room or not.
  allowed(roomWith(version).refusalOf(SENDER, { type: 'm.room.aliases', state_key: 's.test' }));
});

rule([/^If the `sender`'s current membership state is not `join`, reject/], (version) => {
  allowedOnlyTo(['join'], /not in the room/, (sender) =>
    roomWith(version, { sender }).refusalOf(SENDER, { type: 'm.room.message' }),
  );
});

rule(
  [/^If type is `m.room.third_party_invite`/, /greater than or equal to the \*invite level\*/],
  (version) => {
    const event = { type: 'm.room.third_party_invite', state_key: 'token' };
    const verdict = (senderLevel: number, invite: number) =>
      roomWith(version, {
        sender: 'join',
        senderLevel,
        // What is needed for the type does not matter.
        levels: { invite, events: { 'm.room.third_party_invite': 100 } },
      }).refusalOf(SENDER, event);
    allowed(verdict(50, 50));
    refused(verdict(49, 50), /may not invite/);
    allowed(
      roomWith(version, { sender: 'join' }).refusalOf(SENDER, event),
      'the invite level is 0 unless given',
    );
  },
);

rule([/^If the event type's \*required power level\* is greater than/], (version) => {
  const room = roomWith(version, {
    sender: 'join',
    senderLevel: 30,
    levels: { state_default: 40, events_default: 20, events: { low: 30, high: 31 } },
  });
  allowed(room.refusalOf(SENDER, { type: 'm.room.message' }));
  refused(room.refusalOf(SENDER, { type: 'm.room.topic', state_key: '' }), /40 is needed/);
  allowed(room.refusalOf(SENDER, { type: 'low', state_key: '' }));
  refused(room.refusalOf(SENDER, { type: 'high' }), /31 is needed/);
  const usual = roomWith(version, { sender: 'join', senderLevel: 49 });
  refused(usual.refusalOf(SENDER, { type: 'm.room.topic', state_key: '' }), /50 is needed/);
  allowed(usual.refusalOf(SENDER, { type: 'constructor' }));
});

rule([/has a `state_key` that starts with an `@` and does not match the `sender`, reject/], (version) => {
  const room = roomWith(version);
  const verdict = (state_key: string) => room.refusalOf(ADMIN, { type: 'm.x', state_key });
  refused(verdict(SENDER), /another user/);
  refused(verdict('@'), /another user/);
  allowed(verdict(ADMIN));
  allowed(verdict('sender'));
});

/** Whether a user of a level may redact an event. */
function redaction(version: string, level: number, redacts: EventId): Refusal | undefined {
  const levels = { users: { ...admins(version), [SENDER]: level }, redact: 60 };
  const room = roomOf(ADMIN, { version, members: [SENDER], power_levels: levels });
  return room.refusalOf(SENDER, { type: 'm.room.redaction', pdu: { redacts } });
}

rule([REDACTION, /power level is greater than or equal to the \*redact level\*, allow/], (version) => {
  allowed(redaction(version, 60, '$x:t.test'));
  refused(redaction(version, 59, '$x:t.test'), /may not redact/);
});

rule([REDACTION, /domain of the `event_id` of the event being redacted is the same/], (version) => {
  allowed(redaction(version, 0, '$x:s.test'));
  refused(redaction(version, 0, '$x:s.test:1'), /may not redact/);
});

rule([REDACTION, /^Otherwise, reject/], (version) => {
  for (const redacts of ['$x:a.test', '$nodomain', '$x:'] as const) {
    refused(redaction(version, 0, redacts), /may not redact/, redacts);
  }
});

rule([/^Otherwise, allow/], (version) => {
  const users: readonly UserId[] = [ADMIN, SENDER, TARGET];
  const room = roomOf(ADMIN, { version, members: users.slice(1) });
  for (const user of users)
    allowed(room.refusalOf(user, { type: 'org.example.anything', content: { x: 1 } }));
  if (Number(version) >= 3) {
    // Whether it redacts is another question.
    const content = { redacts: room.create.eventId };
    allowed(room.refusalOf(SENDER, { type: 'm.room.redaction', content, pdu: { redacts: '$x' } }));
  }
  if (Number(version) >= 6) {
    // `m.room.aliases` is a state event as any other.
    const aliases = { type: 'm.room.aliases', state_key: 'a.test' };
    allowed(room.refusalOf(ADMIN, aliases));
    refused(room.refusalOf(SENDER, { ...aliases, state_key: 's.test' }), /50 is needed/);
    refused(room.refusalOf('@eve:e.test', { ...aliases, state_key: 'e.test' }), /not in the room/);
  }
});

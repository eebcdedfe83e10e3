/** Create events, the events that an event is authorised by, and who may be in the room at all. */
import type { EventId } from '#keys/ids.ts';
import { checkStateIndependent } from '#rooms/auth/check.ts';
import type { Event } from '#rooms/event.ts';
import { createEventIdOf } from '#rooms/hashes.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { rule } from './rule.ts';
import {
  ADMIN,
  allowed,
  checkCreate,
  cite,
  createWith,
  membership,
  refused,
  SENDER,
  TARGET,
} from './setting.ts';

const CREATE = /^If type is `m.room.create`/;
const AUTH_EVENTS = /^Considering the event's `auth_events`/;

rule([CREATE, /has any `prev_events`, reject/], (version) => {
  refused(checkCreate(createWith(version, { prev_events: cite(version, ['$x:a.test']) })), /prev_events/);
  allowed(checkCreate(createWith(version, { prev_events: [] })));
});

rule([CREATE, /domain of the `room_id` does not match the domain of the `sender`, reject/], (version) => {
  for (const room_id of ['!r:b.test', '!r:a.test:8448', `!${'a'.repeat(43)}`]) {
    refused(
      checkCreate(createWith(version, { room_id })),
      /room id is not of the server of the sender/,
      room_id,
    );
  }
  allowed(checkCreate(createWith(version, { room_id: '!another:a.test' })));
});

rule([CREATE, /has a `room_id`, reject/], (version) => {
  refused(checkCreate(createWith(version, { room_id: '!r:a.test' })), /no room_id/);
  allowed(checkCreate(createWith(version, { room_id: undefined })));
});

rule([CREATE, /`content.room_version` is present and is not a recognised version, reject/], (version) => {
  const { content } = createWith(version, {});
  for (const room_version of ['x', '13', '', Number(version), null, '__proto__']) {
    const event = createWith(version, { content: { ...content, room_version } });
    refused(checkCreate(event), /not a recognised one/, JSON.stringify(room_version));
  }
  const { room_version: _, ...unversioned } = content;
  const verdict = checkCreate(createWith(version, { content: unversioned }));
  // "Defaults to "1" if the key does not exist."
  if (version === '1') allowed(verdict);
  else refused(verdict, /another room version/);
});

rule([CREATE, /has no `creator` property, reject/], (version) => {
  refused(checkCreate(createWith(version, { content: { room_version: version } })), /no creator/);
  allowed(checkCreate(createWith(version, { content: { room_version: version, creator: ADMIN } })));
});

rule([CREATE, /`additional_creators` is present in `content` and is not an array/], (version) => {
  const withCreators = (additional_creators: string | null | readonly (string | number)[]) =>
    checkCreate(createWith(version, { content: { room_version: version, additional_creators } }));
  for (const wrong of [SENDER, null, [1], ['bob'], [SENDER, '@nobody'], [`@${'x'.repeat(250)}:a.test`]]) {
    refused(withCreators(wrong), /additional_creators/, JSON.stringify(wrong));
  }
  for (const right of [[], [SENDER], [SENDER, SENDER, ADMIN]]) allowed(withCreators(right));
});

rule([CREATE, /^Otherwise, allow/], (version) => {
  allowed(checkCreate(createWith(version, {})));
});

rule([/^If the event's `room_id` is not an event ID for an accepted \(not rejected\)/], (version) => {
  const room = roomOf(ADMIN, { version });
  const other = roomOf(ADMIN, { version, create: { type: 'm.space' } });
  const message = room.draft(ADMIN, { type: 'm.room.message' });
  const authEvents = new Map(room.events);
  allowed(checkStateIndependent(message, authEvents, room.create));
  // Undefined: rejected, or not there.
  refused(checkStateIndependent(message, authEvents, undefined), /accepted create event/);
  refused(checkStateIndependent(message, authEvents, other.create), /accepted create event/);
  refused(checkStateIndependent(message, authEvents, room.last), /accepted create event/);
});

rule([AUTH_EVENTS, /duplicate entries for a given `type` and `state_key` pair, reject/], (version) => {
  const room = roomOf(ADMIN, { version });
  const { authEvents } = room.draft(ADMIN, { type: 'm.x' });
  const again = room.join(ADMIN, { displayname: 'another join of the same user' });
  const verdict = (auth_events: readonly EventId[]) => room.refusalOf(ADMIN, { type: 'm.x', auth_events });
  refused(verdict([...authEvents, again.eventId]), /duplicate/);
  refused(verdict([...authEvents, ...authEvents.slice(-1)]), /duplicate/);
  allowed(verdict(authEvents));
});

rule([AUTH_EVENTS, /don't match those specified by the auth events selection algorithm/], (version) => {
  const room = roomOf(ADMIN, { version, members: [SENDER] });
  const { authEvents } = room.draft(ADMIN, { type: 'm.x' });
  const message = room.message(ADMIN, 'no state event');
  const others = [room.get('m.room.join_rules'), room.get('m.room.member', SENDER)];
  for (const other of others) {
    const auth_events = [...authEvents, other?.eventId ?? '$'];
    refused(room.refusalOf(ADMIN, { type: 'm.x', auth_events }), /not one that authorises/);
  }
  const auth_events = [...authEvents, message.eventId];
  refused(room.refusalOf(ADMIN, { type: 'm.x', auth_events }), /not a state event/);
  const create = [...new Set([...authEvents, room.create.eventId])];
  const verdict = room.refusalOf(ADMIN, { type: 'm.x', auth_events: create });
  // v12: the create event is not selected.
  if (version === '12') refused(verdict, /not one that authorises/);
  else allowed(verdict);
});

rule([AUTH_EVENTS, /entries which were themselves rejected/], (version) => {
  const room = roomOf(ADMIN, { version });
  const event = room.draft(ADMIN, { type: 'm.x' });
  for (const eventId of event.authEvents) {
    const events = new Map<EventId, Event | 'rejected'>([...room.events, [eventId, 'rejected']]);
    refused(checkStateIndependent(event, events, room.create), /was rejected/);
  }
  allowed(checkStateIndependent(event, room.events, room.create));
});

rule([AUTH_EVENTS, /no `m.room.create` event among the entries, reject/], (version) => {
  const room = roomOf(ADMIN, { version });
  const { authEvents } = room.draft(ADMIN, { type: 'm.x' });
  const auth_events = authEvents.filter((eventId) => eventId !== room.create.eventId);
  refused(room.refusalOf(ADMIN, { type: 'm.x', auth_events }), /create event is not among/);
  allowed(room.refusalOf(ADMIN, { type: 'm.x', auth_events: authEvents }));
});

rule([AUTH_EVENTS, /has a `room_id` which does not match that of the event being authorised/], (version) => {
  const room = roomOf(ADMIN, { version });
  const other = roomOf('@admin:other.test', { version });
  const foreign = other.state('@admin:other.test', 'm.room.member', ADMIN, { membership: 'join' });
  const own = room.get('m.room.member', ADMIN)?.eventId;
  const { authEvents } = room.draft(ADMIN, { type: 'm.x' });
  const auth_events = authEvents.map((eventId) => (eventId === own ? foreign.eventId : eventId));
  const event = room.draft(ADMIN, { type: 'm.x', auth_events });
  const known = new Map([...room.events, ...other.events]);
  refused(checkStateIndependent(event, known, room.create), /another room/);
  if (version === '12') {
    // The create event of another room is not even one that may be cited.
    const { roomId } = other;
    refused(room.refusalOf(ADMIN, { type: 'm.x', auth_events: [createEventIdOf(roomId)] }), /not known/);
  }
});

rule(
  [/has the property `m.federate` set to `false`, and the `sender` domain of the event does not/],
  (version) => {
    const closed = roomOf(ADMIN, { version, create: { 'm.federate': false }, join_rule: 'public' });
    refused(membership(closed, [TARGET, TARGET], 'join'), /not federated/);
    allowed(membership(closed, ['@local:a.test', '@local:a.test'], 'join'));
    for (const federate of [true, 'false', 0]) {
      const open = roomOf(ADMIN, { version, create: { 'm.federate': federate }, join_rule: 'public' });
      allowed(membership(open, [TARGET, TARGET], 'join'), JSON.stringify(federate));
    }
  },
);

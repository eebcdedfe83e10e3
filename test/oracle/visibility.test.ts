import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, UserId } from '#keys/ids.ts';
import { loadEvents } from '#rooms/load.ts';
import { visibleTo } from '#rooms/visibility.ts';
import { tryOn } from '#test/harness/rounds.ts';
import { type PlainTimeline, plainServerSees, plainUserSees } from './plain-visibility.ts';
import { type RandomRoom, randomRoom } from './random-room.ts';
import { checkedEvents, deliver, Fleet, IN_ORDER } from './replica.ts';
import { USERS } from './room-drafts.ts';

const cases = randomRoom({
  steps: 30,
  forks: false,
  flaws: false,
  actions: [
    'visibility',
    'visibility',
    'message',
    'message',
    'join',
    'join',
    'leave',
    'invite',
    'invite',
    'kick',
    'ban',
    'redact',
  ],
});
const SERVERS = ['a.example', 'b.example', 'c.example', 'd.example', 'here.test'];
function timelineOf({ roomId, plain }: RandomRoom): PlainTimeline {
  return [...plain.events.values()].flatMap((event) => {
    const [before, after] = [plain.stateBefore(event.id), plain.stateAfter(event.id)];
    if (event.roomId !== roomId || !plain.isAccepted(event.id) || !before || !after) return [];
    return [{ event, before, after }];
  });
}

test('3.12: users and servers see the events that the plain implementation lets them see', async (t) => {
  await using fleet = new Fleet(['here.test']);
  let [seen, hidden] = [0, 0];
  await tryOn(t, cases, { usual: 60, inLongRun: 100, of: 'rooms' }, async (room) => {
    const [server] = await fleet.servers(room);
    assert.ok(server);
    const events = await checkedEvents(server, room);
    // In the order in which they were made: in one line nothing is soft-failed.
    const { roomNid } = await deliver(server, room, events, IN_ORDER);
    const timeline = timelineOf(room);
    const ids = timeline.map(({ event }) => event.id as EventId);
    const found = await loadEvents(server.ctx, ids);
    const stored = ids.map((id) => found.get(id)).filter((one) => one !== undefined);
    assert.equal(stored.length, ids.length);
    assert.ok(stored.every(({ status }) => status === 'accepted'));
    for (const userId of [...USERS, '@stranger:c.example'] as UserId[]) {
      const visible = await visibleTo(server.ctx, roomNid, { userId }, stored);
      const plainly = timeline.map((_, index) => plainUserSees(timeline, index, userId));
      assert.deepEqual(visible, plainly, userId);
      seen += plainly.filter(Boolean).length;
      hidden += plainly.filter((sees) => !sees).length;
    }
    for (const name of SERVERS) {
      const visible = await visibleTo(server.ctx, roomNid, { server: name }, stored);
      assert.deepEqual(
        visible,
        timeline.map((_, index) => plainServerSees(timeline, index, name)),
        name,
      );
    }
  });
  // Much is to be seen, and much is not.
  assert.ok(seen > hidden / 4 && hidden > seen / 4, `${seen} seen, ${hidden} hidden`);
});

/** matrix-js-sdk, which Element is built on, at work on two servers that federate. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Direction, EventType, MsgType, Preset, RelationType } from 'matrix-js-sdk';
import { startFleet } from '#test/harness/fleet.ts';
import { until } from '#test/harness/until.ts';
import { signIn, signUp } from './js-sdk-client.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const fleet = resources.use(await startFleet(2));
const alice = resources.use(await signUp({ server: fleet.at(0), name: 'alice' }));
const bob = resources.use(await signUp({ server: fleet.at(1), name: 'bob' }));
const notes = Array.from({ length: 40 }, (_, count) => `note ${count}`);
let roomId = '';

test('it signs in', async () => {
  assert.equal(alice.userId, `@alice:${fleet.at(0).serverName}`);
  assert.deepEqual(await alice.client.whoami(), {
    user_id: alice.userId,
    device_id: alice.client.getDeviceId(),
    is_guest: false,
  });
});

test('it creates a room, and sends before anybody else is there', async () => {
  const created = await alice.client.createRoom({
    preset: Preset.PrivateChat,
    name: 'Permit 2207',
    topic: 'Bridge over the canal',
  });
  roomId = created.room_id;
  await until(() => alice.client.getRoom(roomId)?.name === 'Permit 2207', 'the room');
  assert.equal(alice.room(roomId).getVersion(), '12');
  for (const note of notes) await alice.say(roomId, note);
});

test('it invites a user of the other server, who sees what the room is and joins', async () => {
  await alice.client.invite(roomId, bob.userId);
  await bob.untilMembership(roomId, 'invite');
  assert.equal(bob.room(roomId).name, 'Permit 2207');
  await bob.client.joinRoom(roomId);
  await bob.untilMembership(roomId, 'join');
  await alice.untilMembership(roomId, 'join', bob.userId);
});

test('it talks both ways, and shows the other typing and reading', async () => {
  const said = ['Good morning', 'Good morning to you', 'The plans are here', 'I have them'];
  for (const [index, body] of said.entries()) {
    const [speaker, listener] = index % 2 === 0 ? [alice, bob] : [bob, alice];
    await speaker.say(roomId, body);
    await listener.untilSees(roomId, body);
  }
  for (const user of [alice, bob]) assert.deepEqual(user.messages(roomId).slice(-4), said);

  await bob.client.sendTyping(roomId, true, 20_000);
  await until(() => alice.room(roomId).getMember(bob.userId)?.typing === true, 'typing');
  const last = alice.room(roomId).getLastLiveEvent();
  assert.ok(last);
  const eventId = last.getId() ?? '';
  await bob.client.sendReadReceipt(bob.room(roomId).findEventById(eventId) ?? last);
  await until(() => alice.room(roomId).hasUserReadEvent(bob.userId, eventId), 'a receipt');
});

test('it edits, reacts and redacts, and the other side shows it so', async () => {
  const { event_id: eventId } = await alice.say(roomId, 'on Monday');
  await alice.client.sendMessage(roomId, {
    msgtype: MsgType.Text,
    body: '* on Tuesday',
    'm.new_content': { msgtype: MsgType.Text, body: 'on Tuesday' },
    'm.relates_to': { rel_type: RelationType.Replace, event_id: eventId },
  });
  const shown = () => bob.room(roomId).findEventById(eventId);
  await until(() => shown()?.getContent().body === 'on Tuesday', 'the edit');
  await bob.client.sendEvent(roomId, EventType.Reaction, {
    'm.relates_to': { rel_type: RelationType.Annotation, event_id: eventId, key: '👍' },
  });
  await until(() => {
    const { relations } = alice.room(roomId);
    const found = relations.getChildEventsForEvent(eventId, RelationType.Annotation, EventType.Reaction);
    return found?.getSortedAnnotationsByKey()?.[0]?.[0] === '👍';
  }, 'the reaction');
  await alice.client.redactEvent(roomId, eventId);
  await until(() => shown()?.isRedacted() === true, 'the redaction');
});

test('it reads the history back to its beginning, on the other server too', async () => {
  // A client that has just been opened.
  using reader = await signIn({ server: fleet.at(1), name: 'bob' });
  const room = reader.room(roomId);
  assert.ok(!reader.messages(roomId).includes('note 0'), 'it begins with the newest events only');
  while (room.oldState.paginationToken !== null) {
    // Page by page, as one scrolls.
    await reader.client.scrollback(room, 30);
  }
  const read = reader.messages(roomId).filter((body) => body?.startsWith('note '));
  assert.deepEqual(read, notes);
  assert.equal(room.getLiveTimeline().getEvents()[0]?.getType(), EventType.RoomCreate);
});

test('it changes the name of a room and of a user, and the other side shows them', async () => {
  await alice.client.setRoomName(roomId, 'Permit 2207: granted');
  await until(() => bob.room(roomId).name === 'Permit 2207: granted', 'the name');
  await bob.client.setDisplayName('Bob of the water board');
  const nameOfBob = () => alice.room(roomId).getMember(bob.userId)?.name;
  await until(() => nameOfBob() === 'Bob of the water board', 'the display name');
  assert.equal((await alice.client.getProfileInfo(bob.userId)).displayname, 'Bob of the water board');
  const members = alice.room(roomId).getJoinedMembers();
  assert.deepEqual(members.map(({ userId }) => userId).sort(), [alice.userId, bob.userId].sort());
});

test('it leaves, and the other side sees it', async () => {
  await bob.client.leave(roomId);
  await alice.untilMembership(roomId, 'leave', bob.userId);
});

test('it goes on by itself after its server was restarted', async () => {
  const { room_id: id } = await alice.client.createRoom({ preset: Preset.PublicChat, name: 'Notices' });
  await bob.client.joinRoom(id, { viaServers: [fleet.at(0).serverName] });
  await bob.untilMembership(id, 'join');
  await fleet.at(1).restart();
  await alice.say(id, 'after the restart');
  await bob.untilSees(id, 'after the restart');
});

test('it encrypts: users of one server read each other, and the server has the ciphertext only', async () => {
  using carol = await signUp({ server: fleet.at(0), name: 'carol', encrypts: true });
  using dave = await signUp({ server: fleet.at(0), name: 'dave', encrypts: true });
  const { room_id: id } = await carol.client.createRoom({
    preset: Preset.TrustedPrivateChat,
    invite: [dave.userId],
    initial_state: [
      { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
    ],
  });
  await dave.untilMembership(id, 'invite');
  await dave.client.joinRoom(id);
  await carol.untilMembership(id, 'join', dave.userId);
  await carol.say(id, 'only for us');
  await dave.untilSees(id, 'only for us');
  await dave.say(id, 'and only for you');
  await carol.untilSees(id, 'and only for you');
  const { chunk } = await carol.client.createMessagesRequest(id, null, 100, Direction.Backward);
  assert.deepEqual(
    chunk.filter((event) => event.type === 'm.room.message'),
    [],
  );
});

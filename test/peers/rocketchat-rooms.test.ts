/** Kurir and Rocket.Chat's own federation SDK, over TLS on loopback: what users of the two do in a room. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Body, register } from '#test/harness/client.ts';
import { inRoom, messagesOf, untilInvited, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { until } from '#test/harness/until.ts';
import { startPair } from './rocketchat-pair.ts';
import { RocketChatUser } from './rocketchat-user.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const { kurir, rocketChat } = resources.use(await startPair(['rita', 'ruth']));
const alice = await register(kurir, 'alice');
const rita = new RocketChatUser(rocketChat, 'rita');
const ruth = new RocketChatUser(rocketChat, 'ruth');

/** Rocket.Chat makes rooms of version 11; older releases of it know version 10 only. */
const homes = [
  { home: 'a room of Kurir, version 10', version: '10' },
  { home: 'a room of Kurir, version 11', version: '11' },
  { home: 'a room of Rocket.Chat', version: undefined },
] as const;

for (const { home, version } of homes) {
  test(`${home}: an invitation says what the room is, and is accepted`, async () => {
    if (version === undefined) {
      const roomId = await rita.createRoom('Case 7');
      await rita.invite(roomId, alice.userId);
      const stripped = await untilInvited(alice, roomId);
      assert.equal(stripped.find(({ type }) => type === 'm.room.name')?.content.name, 'Case 7');
      await alice.join(roomId);
      await rita.untilMember(roomId, alice.userId, 'join');
    } else {
      const roomId = await createRoom(version);
      await alice.post(`${inRoom(roomId)}/invite`, { user_id: rita.userId });
      const event = await rita.untilInvited(roomId);
      assert.equal(event.sender, alice.userId);
      await rita.accept(roomId);
      await untilMember(alice, roomId, rita.userId, 'join');
      assert.equal((await rocketChat.call('state', roomId)).name, 'Case 7');
    }
  });

  test(`${home}: messages of both are seen by both, in order`, async () => {
    const roomId = await sharedRoom(version);
    const said: string[] = [];
    for (let round = 0; round < 3; round++) {
      for (const speaker of [alice, rita]) {
        const body = `${round} says ${speaker.userId}`;
        await (speaker === alice ? alice.send(roomId, body) : rita.say(roomId, body));
        await (speaker === alice ? rita : { untilMessages: untilAliceSees }).untilMessages(roomId, [body]);
        said.push(body);
      }
    }
    assert.deepEqual(await messagesOf(alice, roomId), said);
    const own = said.filter((body) => body.endsWith(alice.userId));
    assert.deepEqual(rocketChat.messages(roomId), own, 'Rocket.Chat shows each message of others once');
    assert.deepEqual(await rita.members(roomId), [alice.userId, rita.userId].sort());
  });

  test(`${home}: a thread, an edit, a reaction and a redaction of Kurir are shown at Rocket.Chat`, async () => {
    const roomId = await sharedRoom(version);
    const root = await rita.say(roomId, 'the plans');
    await untilAliceSees(roomId, ['the plans']);

    const answer = await alice.sendEvent(roomId, 'm.room.message', {
      msgtype: 'm.text',
      body: 'in the thread',
      'm.relates_to': {
        rel_type: 'm.thread',
        event_id: root,
        is_falling_back: true,
        'm.in_reply_to': { event_id: root },
      },
    });
    const inThread = await rita.untilShown('message', roomId, answer);
    assert.equal(inThread.content['m.relates_to'].rel_type, 'm.thread');
    assert.equal(inThread.content['m.relates_to'].event_id, root);

    const edit = await alice.sendEvent(roomId, 'm.room.message', {
      msgtype: 'm.text',
      body: '* in the thread, edited',
      'm.new_content': { msgtype: 'm.text', body: 'in the thread, edited' },
      'm.relates_to': { rel_type: 'm.replace', event_id: answer },
    });
    const edited = await rita.untilShown('message', roomId, edit);
    assert.equal(edited.content['m.new_content'].body, 'in the thread, edited');

    const reaction = await alice.sendEvent(roomId, 'm.reaction', {
      'm.relates_to': { rel_type: 'm.annotation', event_id: root, key: '👍' },
    });
    const shown = await rita.untilShown('reaction', roomId, reaction);
    assert.deepEqual(shown.content['m.relates_to'], { rel_type: 'm.annotation', event_id: root, key: '👍' });

    const { event_id: redaction } = await alice.put(
      `${inRoom(roomId)}/redact/${encodeURIComponent(answer)}/redact`,
      { reason: 'a test' },
    );
    const redacted = await rita.untilShown('redaction', roomId, redaction);
    assert.equal(redacted.redacts ?? redacted.content.redacts, answer);
  });

  test(`${home}: a thread, an edit, a reaction and a redaction of Rocket.Chat are shown at Kurir`, async () => {
    const roomId = await sharedRoom(version);
    const root = await alice.send(roomId, 'the plans');
    await rita.untilMessages(roomId, ['the plans']);

    const answer = await rita.sayInThread(roomId, 'in the thread', root);
    await untilSeen(roomId, answer, ({ content }) => content.body === 'in the thread');
    const thread = (path: string) => alice.get(`/_matrix/client/v1${inRoom(roomId)}${path}`);
    const { chunk } = await thread(`/relations/${encodeURIComponent(root)}/m.thread`);
    assert.deepEqual(
      chunk.map((event: Body) => event.event_id),
      [answer],
    );

    await rita.edit(roomId, answer, 'in the thread, edited');
    const isEdited = async () => {
      const { content, unsigned } = await eventOf(roomId, answer);
      const latest = unsigned?.['m.relations']?.['m.replace'];
      return (
        content.body === 'in the thread' &&
        latest?.content['m.new_content'].body === `${content.body}, edited`
      );
    };
    await until(isEdited, 'that Kurir bundles the edit');

    const reaction = await rita.react(roomId, root, '👍');
    await untilSeen(roomId, reaction, ({ content }) => content['m.relates_to'].key === '👍');
    await rita.redact(roomId, answer);
    await untilSeen(roomId, answer, ({ content }) => Object.keys(content).length === 0);
  });

  test(`${home}: a guest leaves, is invited again, is kicked, and comes back once more`, async () => {
    const roomId = await sharedRoom(version);
    if (version === undefined) {
      await alice.post(`${inRoom(roomId)}/leave`);
      await rita.untilMember(roomId, alice.userId, 'leave');
      await rita.say(roomId, 'while alice is away');
      for (const left of ['kicked', 'not']) {
        await rita.invite(roomId, alice.userId);
        await untilInvited(alice, roomId);
        await alice.join(roomId);
        await rita.untilMember(roomId, alice.userId, 'join');
        if (left === 'not') break;
        await rita.kick(roomId, alice.userId);
        await until(async () => !(await joinedRooms()).includes(roomId), 'that alice is out');
      }
    } else {
      await rita.leave(roomId);
      await untilMember(alice, roomId, rita.userId, 'leave');
      await alice.send(roomId, 'while rita is away');
      for (const left of ['kicked', 'not']) {
        await alice.post(`${inRoom(roomId)}/invite`, { user_id: rita.userId });
        await rita.untilInvited(roomId);
        await rita.accept(roomId);
        await untilMember(alice, roomId, rita.userId, 'join');
        if (left === 'not') break;
        await alice.post(`${inRoom(roomId)}/kick`, { user_id: rita.userId, reason: 'a test' });
        await rita.untilMember(roomId, rita.userId, 'leave');
      }
    }
    await rita.say(roomId, 'rita is here');
    await untilAliceSees(roomId, ['rita is here']);
    await alice.send(roomId, 'alice is here');
    await rita.untilMessages(roomId, ['alice is here']);
    assert.deepEqual(await rita.members(roomId), [alice.userId, rita.userId].sort());
  });

  test(`${home}: an invitation is declined`, async () => {
    if (version === undefined) {
      const roomId = await rita.createRoom('Case 8');
      await rita.invite(roomId, alice.userId);
      await untilInvited(alice, roomId);
      await alice.post(`${inRoom(roomId)}/leave`);
      await rita.untilMember(roomId, alice.userId, 'leave');
    } else {
      const roomId = await createRoom(version);
      await alice.post(`${inRoom(roomId)}/invite`, { user_id: rita.userId });
      await rita.untilInvited(roomId);
      await rita.decline(roomId);
      await untilMember(alice, roomId, rita.userId, 'leave');
    }
  });

  test(`${home}: an invitation is taken back`, async () => {
    if (version === undefined) {
      const roomId = await rita.createRoom('Case 9');
      await rita.invite(roomId, alice.userId);
      await untilInvited(alice, roomId);
      const { next_batch: since } = await alice.sync();
      await rita.kick(roomId, alice.userId);
      await alice.syncUntil((answer) => answer.rooms?.leave?.[roomId] !== undefined, { since });
    } else {
      const roomId = await createRoom(version);
      await alice.post(`${inRoom(roomId)}/invite`, { user_id: rita.userId });
      await rita.untilInvited(roomId);
      await alice.post(`${inRoom(roomId)}/kick`, { user_id: rita.userId });
      await rita.untilMember(roomId, rita.userId, 'leave');
    }
  });

  test(`${home}: a second user of the guest's server is invited by the first and joins`, async () => {
    const roomId = await sharedRoom(version);
    await rita.invite(roomId, ruth.userId);
    await untilMember(alice, roomId, ruth.userId, 'invite');
    await ruth.accept(roomId);
    await untilMember(alice, roomId, ruth.userId, 'join');
    await ruth.say(roomId, 'ruth is here');
    await untilAliceSees(roomId, ['ruth is here']);
    await ruth.leave(roomId);
    await untilMember(alice, roomId, ruth.userId, 'leave');
  });

  test(`${home}: who is typing and what was read is shown on the other side, both ways`, async () => {
    const roomId = await sharedRoom(version);
    const { next_batch: since } = await alice.sync();
    const asked = await alice.send(roomId, 'read this');
    await rita.untilMessages(roomId, ['read this']);
    await rita.setTyping(roomId, true);
    await rita.read(roomId, asked);
    await untilEphemeral(roomId, since, 'm.typing', ({ user_ids: users }) => users.includes(rita.userId));
    await untilEphemeral(
      roomId,
      since,
      'm.receipt',
      (content) => rita.userId in (content[asked]?.['m.read'] ?? {}),
    );

    const answer = await rita.say(roomId, 'and this');
    await untilAliceSees(roomId, ['and this']);
    const typing = `${inRoom(roomId)}/typing/${encodeURIComponent(alice.userId)}`;
    await alice.put(typing, { typing: true, timeout: 20_000 });
    await alice.post(`${inRoom(roomId)}/receipt/m.read/${encodeURIComponent(answer)}`);
    await until(
      () => rocketChat.shown(['typing'], roomId).some(({ user_id: userId }) => userId === alice.userId),
      'that Rocket.Chat shows alice typing',
    );
    await until(
      () => rocketChat.shown(['receipt'], roomId).some(({ event_ids: ids }) => ids.includes(answer)),
      'that Rocket.Chat shows what alice has read',
    );
  });

  test(`${home}: the host names it and gives the guest power, who sets the topic`, async () => {
    const roomId = await sharedRoom(version);
    if (version === undefined) {
      await rocketChat.call('updateRoomName', roomId, 'Case 7: granted', rita.userId);
      await rocketChat.call('setPowerLevelForUser', roomId, rita.userId, alice.userId, 50);
      const mayTopic = async () =>
        (await stateOf(roomId, 'm.room.power_levels')).users?.[alice.userId] === 50;
      await until(mayTopic, 'the power of alice');
      await alice.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: 'by the guest' });
    } else {
      await alice.put(`${inRoom(roomId)}/state/m.room.name/`, { name: 'Case 7: granted' });
      const levels = await stateOf(roomId, 'm.room.power_levels');
      const users = { ...levels.users, [rita.userId]: 50 };
      await alice.put(`${inRoom(roomId)}/state/m.room.power_levels/`, { ...levels, users });
      const mayTopic = async () =>
        (await rocketChat.call('state', roomId)).powerLevels.users[rita.userId] === 50;
      await until(mayTopic, 'the power of rita');
      await rocketChat.call('setRoomTopic', roomId, rita.userId, 'by the guest');
    }
    const isKnown = async () => {
      const { name, topic } = await rocketChat.call('state', roomId);
      const ours = [await stateOf(roomId, 'm.room.name'), await stateOf(roomId, 'm.room.topic')];
      const all = [name, ours[0].name, topic, ours[1].topic];
      return all.join() === 'Case 7: granted,Case 7: granted,by the guest,by the guest';
    };
    await until(isKnown, 'that both have the name and the topic');
  });

  test(`${home}: a guest who is banned is out, and cannot come back`, async () => {
    const roomId = await sharedRoom(version);
    if (version === undefined) {
      await rocketChat.call('banUser', roomId, alice.userId, rita.userId, 'a test');
      await until(async () => !(await joinedRooms()).includes(roomId), 'that alice is out');
      const path = `/join/${encodeURIComponent(roomId)}?via=${rocketChat.serverName}`;
      // It answers 500 to whom it does not let in.
      assert.ok((await alice.try('POST', path, {})).status >= 400);
      assert.ok(!(await joinedRooms()).includes(roomId));
    } else {
      await alice.post(`${inRoom(roomId)}/ban`, { user_id: rita.userId });
      await rita.untilMember(roomId, rita.userId, 'ban');
      await assert.rejects(rita.accept(roomId), /403/);
    }
  });
}

test('a display name is seen on the other side, and its changes', async () => {
  const roomId = await sharedRoom('10');
  const path = `/profile/${encodeURIComponent(alice.userId)}/displayname`;
  await alice.put(path, { displayname: 'Alice of the water board' });
  await until(
    () =>
      rocketChat
        .shown(['membership'], roomId)
        .some(({ event }) => event.content.displayname === 'Alice of the water board'),
    'that Rocket.Chat shows the name',
  );
  const { displayname } = await alice.get(`/profile/${encodeURIComponent(rita.userId)}`);
  assert.equal(displayname, 'rita');
  await rocketChat.call('updateUserProfile', roomId, rita.userId, { displayname: 'Rita of the roads' });
  const member = `m.room.member/${encodeURIComponent(rita.userId)}`;
  await until(
    async () => (await stateOf(roomId, member)).displayname === 'Rita of the roads',
    'that Kurir shows the name',
  );
});

test('Rocket.Chat is told that somebody whom it invites is not there', async () => {
  const roomId = await rita.createRoom('Case 10');
  await assert.rejects(rita.invite(roomId, `@nobody:${kurir.serverName}`));
});

test('a direct message of Kurir: an invitation that says so, and messages both ways', async () => {
  const roomId = await alice.createRoom({
    preset: 'trusted_private_chat',
    room_version: '10',
    is_direct: true,
    invite: [rita.userId],
  });
  const event = await rita.untilInvited(roomId);
  assert.equal(event.content.is_direct, true);
  await rita.accept(roomId);
  await rita.say(roomId, 'only you');
  await untilAliceSees(roomId, ['only you']);
  await alice.send(roomId, 'and only you');
  await rita.untilMessages(roomId, ['and only you']);
});

test('a direct message of Rocket.Chat: an invitation that says so, and messages both ways', async () => {
  const roomId = await rita.createDirectMessage(alice.userId);
  const stripped = await untilInvited(alice, roomId);
  const own = stripped.find(({ state_key: key }) => key === alice.userId);
  assert.equal(own?.content.is_direct, true);
  await alice.join(roomId);
  await alice.send(roomId, 'only you');
  await rita.untilMessages(roomId, ['only you']);
  await rita.say(roomId, 'and only you');
  await untilAliceSees(roomId, ['and only you']);
});

test('a room of Rocket.Chat: who joins late reads what was said before', async () => {
  const roomId = await rita.createRoom('Archive');
  const old = Array.from({ length: 15 }, (_, count) => `old ${count}`);
  for (const body of old) await rita.say(roomId, body);
  await rita.invite(roomId, alice.userId);
  await untilInvited(alice, roomId);
  await alice.join(roomId);
  await rita.say(roomId, 'new');
  await untilAliceSees(roomId, ['new']);
  assert.deepEqual(await messagesOf(alice, roomId), [...old, 'new']);
});

function createRoom(version: string): Promise<string> {
  return alice.createRoom({ preset: 'private_chat', room_version: version, name: 'Case 7' });
}

/** A room with alice and rita in it: of Kurir in a version, or of Rocket.Chat. */
async function sharedRoom(version: string | undefined): Promise<string> {
  if (version === undefined) {
    const roomId = await rita.createRoom('Case 7');
    await rita.invite(roomId, alice.userId);
    await untilInvited(alice, roomId);
    await alice.join(roomId);
    await rita.untilMember(roomId, alice.userId, 'join');
    return roomId;
  }
  const roomId = await createRoom(version);
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: rita.userId });
  await rita.untilInvited(roomId);
  await rita.accept(roomId);
  await untilMember(alice, roomId, rita.userId, 'join');
  return roomId;
}

/** The content of a state event, empty while there is none; `key` is its type, and the state key after a slash. */
async function stateOf(roomId: string, key: string): Promise<Body> {
  const answer = await alice.try('GET', `${inRoom(roomId)}/state/${key}`);
  return answer.status === 200 ? answer.body : {};
}

/** Waits until alice gets an ephemeral event of a type with such content. */
async function untilEphemeral(
  roomId: string,
  since: string,
  type: string,
  isSo: (content: Body) => boolean,
): Promise<void> {
  await alice.syncUntil(
    ({ rooms }) =>
      rooms?.join?.[roomId]?.ephemeral?.events.some(
        (event: Body) => event.type === type && isSo(event.content),
      ),
    { since },
  );
}

async function joinedRooms(): Promise<string[]> {
  return (await alice.get('/joined_rooms')).joined_rooms;
}

function untilAliceSees(roomId: string, wanted: readonly string[]): Promise<string[]> {
  return untilMessages(alice, roomId, wanted);
}

async function eventOf(roomId: string, eventId: string): Promise<Body> {
  const answer = await alice.try('GET', `${inRoom(roomId)}/event/${encodeURIComponent(eventId)}`);
  return answer.status === 200 ? answer.body : { content: {} };
}

/** Waits until alice sees an event so. */
async function untilSeen(roomId: string, eventId: string, isSo: (event: Body) => boolean): Promise<void> {
  const path = `${inRoom(roomId)}/event/${encodeURIComponent(eventId)}`;
  await until(async () => {
    const answer = await alice.try('GET', path);
    return answer.status === 200 && isSo(answer.body);
  }, `that alice sees ${eventId}`);
}

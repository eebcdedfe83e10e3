/** Rooms that users of Rocket.Chat cannot be in: Kurir says so, before anything is sent, and says what would do. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Answer, register } from '#test/harness/client.ts';
import { inRoom, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { startPair } from './rocketchat-pair.ts';
import { RocketChatUser } from './rocketchat-user.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const { kurir, rocketChat } = resources.use(await startPair(['rita'], { isPartner: true }));
const alice = await register(kurir, 'alice');
const rita = new RocketChatUser(rocketChat, 'rita');

test('a room made with its user has version 10, and 11 once its release has said that it knows 11', async () => {
  // It says so by what it asks for as it joins.
  for (const version of ['10', '11']) {
    const roomId = await alice.createRoom({ preset: 'private_chat', invite: [rita.userId] });
    assert.equal((await alice.get(`${inRoom(roomId)}/state/m.room.create/`)).room_version, version);
    await rita.untilInvited(roomId);
    await rita.accept(roomId);
    await untilMember(alice, roomId, rita.userId, 'join');
    await rita.say(roomId, `in version ${version}`);
    await untilMessages(alice, roomId, [`in version ${version}`]);
  }
});

test('an invitation to a room of version 12 is refused, and a room of version 12 with its user is not made', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat', room_version: '12' });
  assertRefused(await invite(roomId), /version 12\. Make a new room/);
  const before = await alice.get('/joined_rooms');
  const made = await alice.try('POST', '/createRoom', { room_version: '12', invite: [rita.userId] });
  assertRefused(made, /can be in rooms of version .*10 or 11 only/);
  assert.deepEqual(await alice.get('/joined_rooms'), before);
});

test('an invitation to an encrypted room is refused, and so is encryption where its user is', async () => {
  const algorithm = { algorithm: 'm.megolm.v1.aes-sha2' };
  const encrypted = await alice.createRoom({
    preset: 'private_chat',
    room_version: '11',
    initial_state: [{ type: 'm.room.encryption', state_key: '', content: algorithm }],
  });
  assertRefused(await invite(encrypted), /cannot read encrypted messages.*Make a room without encryption/);
  const roomId = await roomWithRita();
  const encryption = await alice.try('PUT', `${inRoom(roomId)}/state/m.room.encryption/`, algorithm);
  assertRefused(encryption, /cannot read encrypted messages/);
});

test('an invitation to a room for the members of another room is refused, and so is that rule where its user is', async () => {
  const club = await alice.createRoom();
  const content = { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: club }] };
  const restricted = await alice.createRoom({
    preset: 'private_chat',
    room_version: '11',
    initial_state: [{ type: 'm.room.join_rules', state_key: '', content }],
  });
  assertRefused(await invite(restricted), /join rule "restricted"\. Use "invite"/);
  const roomId = await roomWithRita();
  const rule = await alice.try('PUT', `${inRoom(roomId)}/state/m.room.join_rules/`, content);
  assertRefused(rule, /join rule "restricted"/);
});

test('a room with its user is not upgraded to version 12, and goes on as it is', async () => {
  const roomId = await roomWithRita();
  const upgrade = await alice.try('POST', `${inRoom(roomId)}/upgrade`, { new_version: '12' });
  assertRefused(upgrade, /Leave the room as it is/);
  await alice.send(roomId, 'as it was');
  await rita.untilMessages(roomId, ['as it was']);
});

function invite(roomId: string): Promise<Answer> {
  return alice.try('POST', `${inRoom(roomId)}/invite`, { user_id: rita.userId });
}

/** Refused, in words that name the server, and nothing of it has come to Rocket.Chat. */
function assertRefused(answer: Answer, words: RegExp): void {
  assert.ok([400, 403].includes(answer.status), JSON.stringify(answer.body));
  assert.match(answer.body.error, words);
  assert.ok(answer.body.error.includes(rocketChat.serverName), answer.body.error);
}

async function roomWithRita(): Promise<string> {
  const roomId = await alice.createRoom({ preset: 'private_chat', invite: [rita.userId] });
  await rita.untilInvited(roomId);
  await rita.accept(roomId);
  await untilMember(alice, roomId, rita.userId, 'join');
  return roomId;
}

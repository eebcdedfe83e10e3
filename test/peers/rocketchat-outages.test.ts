/** Kurir and Rocket.Chat's own federation SDK, of which one is away for a while: nothing that Kurir has is lost. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { inRoom, untilInvited, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { until } from '#test/harness/until.ts';
import { startPair } from './rocketchat-pair.ts';
import { RocketChatUser } from './rocketchat-user.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const { kurir, rocketChat } = resources.use(await startPair(['rita']));
const alice = await register(kurir, 'alice');
const rita = new RocketChatUser(rocketChat, 'rita');

for (const version of ['10', '11']) {
  test(`v${version}: Rocket.Chat dies in the middle of a conversation, and shows all of it when it is back`, async () => {
    const roomId = await roomOfKurir(version);
    const said = numbered('word', 30);
    for (const [index, body] of said.entries()) {
      await alice.send(roomId, body);
      if (index === 15) await rita.untilMessages(roomId, said.slice(0, 5));
      if (index === 15) await rocketChat.kill();
    }
    await rocketChat.start();
    await rita.untilMessages(roomId, said);
    // In which order it shows what it had begun with when it died is its own affair.
    assert.deepEqual(shownOnce(roomId).sort(), said.toSorted());
    await rita.say(roomId, 'all of it');
    await untilMessages(alice, roomId, ['all of it']);
  });

  test(`v${version}: what Kurir says while Rocket.Chat is away reaches it in order, more than 10 events of it`, async () => {
    // It asks for 10 missing events and no more: what comes after a greater gap it drops.
    const roomId = await roomOfKurir(version);
    await rocketChat.kill();
    const said = numbered('missed', 55);
    for (const body of said) await alice.send(roomId, body);
    await alice.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: 'Meanwhile' });
    await rocketChat.start();
    await rita.untilMessages(roomId, said);
    assert.deepEqual(shownOnce(roomId), said);
    const isKnown = async () => (await rocketChat.call('state', roomId)).topic === 'Meanwhile';
    await until(isKnown, 'that Rocket.Chat has the topic');
    assert.deepEqual(await rita.members(roomId), [alice.userId, rita.userId].sort());
  });
}

test('what Rocket.Chat says while Kurir is away reaches it in order, once', async () => {
  const roomId = await roomOfKurir('11');
  await kurir.stop();
  const said = numbered('missed', 25);
  for (const body of said) await rita.say(roomId, body);
  await kurir.start();
  assert.deepEqual(await untilMessages(alice, roomId, said), said);
});

test('Kurir restarts in the middle of a conversation, and has all of it', async () => {
  const roomId = await roomOfKurir('10');
  const said = numbered('word', 30);
  for (const [index, body] of said.entries()) {
    await rita.say(roomId, body);
    if (index === 15) await kurir.restart();
  }
  assert.deepEqual(await untilMessages(alice, roomId, said), said);
});

for (const home of ['Kurir, version 10', 'Rocket.Chat']) {
  test(`a room of ${home}: what Rocket.Chat loses with its memory Kurir fetches, as soon as a later event cites it`, async () => {
    // It keeps what it has yet to send in memory only.
    const roomId = home === 'Rocket.Chat' ? await roomOfRocketChat() : await roomOfKurir('10');
    await kurir.stop();
    const lost = numbered('never sent', 25);
    for (const body of lost) await rita.say(roomId, body);
    await rocketChat.kill();
    await kurir.start();
    await rocketChat.start();
    await rita.say(roomId, 'sent');
    assert.deepEqual(await untilMessages(alice, roomId, ['sent']), [...lost, 'sent']);
  });
}

test('a restart of Rocket.Chat while both talk: each message is everywhere, once', async () => {
  const roomId = await roomOfRocketChat();
  const said = { alice: numbered('alice', 20), rita: numbered('rita', 20) };
  for (let index = 0; index < 20; index++) {
    const bodies = { alice: said.alice[index] ?? '', rita: said.rita[index] ?? '' };
    await rita.say(roomId, bodies.rita);
    // What it has not sent yet would be lost with its memory: the test before is about that.
    if (index === 10) await untilMessages(alice, roomId, said.rita.slice(0, 11));
    if (index === 10) await rocketChat.kill();
    await alice.send(roomId, bodies.alice);
    if (index === 10) await rocketChat.start();
  }
  const seen = await untilMessages(alice, roomId, [...said.alice, ...said.rita]);
  assert.equal(seen.length, 40, 'each message once');
  await rita.untilMessages(roomId, said.alice);
  assert.deepEqual(shownOnce(roomId), said.alice);
});

function numbered(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${name} ${index}`);
}

/** What Rocket.Chat showed of a room; an event that it showed before and after its restart counts once. */
function shownOnce(roomId: string): string[] {
  const events = new Map(rocketChat.shown(['message'], roomId).map((shown) => [shown.event_id, shown.event]));
  return [...events.values()].map(({ content }) => content.body);
}

async function roomOfKurir(version: string): Promise<string> {
  const roomId = await alice.createRoom({ preset: 'private_chat', room_version: version, name: 'Case 7' });
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: rita.userId });
  await rita.untilInvited(roomId);
  await rita.accept(roomId);
  await untilMember(alice, roomId, rita.userId, 'join');
  return roomId;
}

async function roomOfRocketChat(): Promise<string> {
  const roomId = await rita.createRoom('Case 7');
  await rita.invite(roomId, alice.userId);
  await untilInvited(alice, roomId);
  await alice.join(roomId);
  await rita.untilMember(roomId, alice.userId, 'join');
  return roomId;
}

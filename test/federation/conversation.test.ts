import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { type Body, register } from '#test/harness/client.ts';
import { bringIn, inRoom, messagesOf, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(3);
after(() => fleet[Symbol.asyncDispose]());
const alice = await register(fleet.at(0), 'alice');
const bob = await register(fleet.at(1), 'bob');
const carol = await register(fleet.at(2), 'carol');

for (const version of SUPPORTED_VERSIONS) {
  test(`v${version}: messages go both ways, in order, and a redaction takes one back everywhere`, async () => {
    const roomId = await alice.createRoom({ preset: 'private_chat', room_version: version });
    await bringIn(alice, bob, roomId);
    for (let count = 0; count < 5; count++) await alice.send(roomId, `a${count}`);
    await untilMessages(bob, roomId, ['a4']);
    for (let count = 0; count < 5; count++) await bob.send(roomId, `b${count}`);
    const expected = ['a0', 'a1', 'a2', 'a3', 'a4', 'b0', 'b1', 'b2', 'b3', 'b4'];
    assert.deepEqual(await untilMessages(alice, roomId, ['b4']), expected);
    assert.deepEqual(await messagesOf(bob, roomId), expected);

    const secret = await bob.send(roomId, 'oops');
    await untilMessages(alice, roomId, ['oops']);
    await bob.put(`${inRoom(roomId)}/redact/${encodeURIComponent(secret)}/r${version}`, {});
    const path = `${inRoom(roomId)}/event/${encodeURIComponent(secret)}`;
    await until(async () => (await alice.get(path)).content.body === undefined, 'the redaction');
  });
}

test('many who write at once on three servers see the same in the end', async () => {
  const roomId = await alice.createRoom();
  await bob.join(roomId, [fleet.at(0).serverName]);
  await carol.join(roomId, [fleet.at(1).serverName]);
  await untilMember(alice, roomId, carol.userId, 'join');
  await untilMember(bob, roomId, carol.userId, 'join');
  const all: string[] = [];
  await Promise.all(
    [alice, bob, carol].map(async (user, who) => {
      for (let count = 0; count < 10; count++) {
        all.push(`${who}-${count}`);
        await user.send(roomId, `${who}-${count}`);
      }
    }),
  );
  for (const user of [alice, bob, carol]) {
    const seen = await untilMessages(user, roomId, all);
    assert.deepEqual([...seen].sort(), [...all].sort(), 'each message once');
    const own = (who: number) => seen.filter((body) => body.startsWith(`${who}-`));
    for (const who of [0, 1, 2])
      assert.deepEqual(
        own(who),
        all.filter((body) => body.startsWith(`${who}-`)),
      );
  }
});

test('typing and read receipts are seen on the other server', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await bringIn(alice, bob, roomId);
  const eventId = await alice.send(roomId, 'read this');
  await untilMessages(bob, roomId, ['read this']);
  await untilMember(alice, roomId, bob.userId, 'join');
  await bob.put(`${inRoom(roomId)}/typing/${encodeURIComponent(bob.userId)}`, {
    typing: true,
    timeout: 30_000,
  });
  await alice.syncUntil((answer: Body) =>
    ephemeral(answer, roomId, 'm.typing')?.user_ids?.includes(bob.userId),
  );
  await bob.post(`${inRoom(roomId)}/receipt/m.read/${encodeURIComponent(eventId)}`, {});
  await alice.syncUntil(
    (answer: Body) =>
      ephemeral(answer, roomId, 'm.receipt')?.[eventId]?.['m.read']?.[bob.userId] !== undefined,
  );
});

test('what a server has missed while it was down arrives afterwards, once and in order', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await bringIn(alice, bob, roomId);
  await bob.send(roomId, 'before');
  await untilMessages(alice, roomId, ['before']);
  await fleet.at(1).stop();
  const missed = Array.from({ length: 30 }, (_, count) => `missed ${count}`);
  for (const body of missed) await alice.send(roomId, body);
  await fleet.at(1).start();
  assert.deepEqual(await untilMessages(bob, roomId, [...missed]), ['before', ...missed]);
  await bob.send(roomId, 'after');
  assert.deepEqual(await untilMessages(alice, roomId, ['after']), ['before', ...missed, 'after']);
});

test('a server that is restarted goes on where it was', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await bringIn(alice, bob, roomId);
  await alice.send(roomId, 'one');
  await fleet.at(0).restart();
  await bob.send(roomId, 'two');
  await untilMessages(alice, roomId, ['two']);
  await alice.send(roomId, 'three');
  const seen = await untilMessages(bob, roomId, ['three']);
  assert.deepEqual([...seen].sort(), ['one', 'three', 'two']);
});

test('history from before the join is fetched when somebody reads back', async () => {
  const roomId = await alice.createRoom();
  const old = Array.from({ length: 60 }, (_, count) => `old ${count}`);
  for (const body of old) await alice.send(roomId, body);
  await bob.join(roomId, [fleet.at(0).serverName]);
  await alice.send(roomId, 'new');
  await untilMessages(bob, roomId, ['new']);
  const seen: string[] = [];
  let from = '';
  for (let page = 0; page < 20; page++) {
    const query = `dir=b&limit=25${from === '' ? '' : `&from=${encodeURIComponent(from)}`}`;
    const answer = await bob.get(`${inRoom(roomId)}/messages?${query}`);
    const messages = answer.chunk.filter((event: Body) => event.type === 'm.room.message');
    seen.unshift(...messages.map((event: Body) => event.content.body).reverse());
    if (answer.end === undefined) break;
    from = answer.end;
  }
  assert.deepEqual(seen, [...old, 'new']);
});

function ephemeral(answer: Body, roomId: string, type: string): Body {
  const events = answer.rooms?.join?.[roomId]?.ephemeral?.events ?? [];
  return events.findLast((event: Body) => event.type === type)?.content;
}

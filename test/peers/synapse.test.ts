/** Kurir and a real Synapse, over TLS on loopback: what users of the two see of each other. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import {
  bringIn,
  inRoom,
  messagesOf,
  untilInvited,
  untilMember,
  untilMessages,
} from '#test/harness/conversation.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { until } from '#test/harness/until.ts';
import { Synapse } from './synapse.ts';
import { registerAtSynapse } from './synapse-user.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const fleet = resources.use(await startFleet(2));
const folder = resources.use(await temporaryFolder());
const kurir = fleet.at(0);
const synapse = resources.use(await Synapse.create({ folder: folder.path, authority: fleet.authority }));
const alice = await register(kurir, 'alice');
const bob = await registerAtSynapse(synapse, 'bob');
const carol = await register(fleet.at(1), 'carol');

/** The one who makes the room first. */
const pairs = [
  { home: 'Kurir', host: alice, guest: bob },
  { home: 'Synapse', host: bob, guest: alice },
] as const;

for (const { home, host, guest } of pairs) {
  for (const version of ['10', '11', '12']) {
    test(`v${version}, a room of ${home}: invite, join, messages, edits, reactions, redactions`, async () => {
      const roomId = await host.createRoom({ preset: 'private_chat', room_version: version, name: 'Case 7' });
      await host.post(`${inRoom(roomId)}/invite`, { user_id: guest.userId });
      const stripped = await untilInvited(guest, roomId);
      assert.ok(
        stripped.some((event) => event.type === 'm.room.name' && event.content.name === 'Case 7'),
        'the invitation names the room',
      );
      await guest.join(roomId);
      await untilMember(host, roomId, guest.userId, 'join');
      await talk(host, guest, roomId);
      for (const [one, other] of [
        [host, guest],
        [guest, host],
      ] as const) {
        await editAndRedact(one, other, roomId);
      }
      await untilSameState(host, guest, roomId);
    });
  }

  for (const version of ['1', '2', '10', '11', '12']) {
    test(`v${version}, a room of ${home}: both change its state at once, and come to agree`, async () => {
      const roomId = await host.createRoom({ preset: 'trusted_private_chat', room_version: version });
      await bringIn(host, guest, roomId);
      await untilMember(host, roomId, guest.userId, 'join');
      await letChangeState(host, guest, roomId);
      for (let round = 0; round < 5; round++) {
        await Promise.all(
          [host, guest].map((user) =>
            user.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: `${round} by ${user.userId}` }),
          ),
        );
      }
      await untilSameState(host, guest, roomId);
    });
  }

  for (const version of ['1', '2', '3', '4', '5', '6', '7', '8', '9']) {
    test(`v${version}, a room of ${home}: invite, join, messages, a redaction and a state change of each`, async () => {
      const roomId = await host.createRoom({ preset: 'private_chat', room_version: version, topic: '' });
      await bringIn(host, guest, roomId);
      await untilMember(host, roomId, guest.userId, 'join');
      await letChangeState(host, guest, roomId);
      for (const [one, other] of [
        [host, guest],
        [guest, host],
      ] as const) {
        const body = `of ${one.userId}`;
        const eventId = await one.send(roomId, body);
        await untilMessages(other, roomId, [body]);
        await redactSeenBy(one, other, roomId, eventId);
        await one.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: body });
        const seesTopic = async () =>
          (await other.get(`${inRoom(roomId)}/state/m.room.topic/`)).topic === body;
        await until(seesTopic, `that ${other.userId} sees the topic ${body}`);
      }
      await untilSameState(host, guest, roomId);
    });
  }

  test(`a public room of ${home} is joined by its alias`, async () => {
    const name = `open-${home.toLowerCase()}`;
    const roomId = await host.createRoom({ room_alias_name: name });
    const alias = `#${name}:${host.userId.slice(host.userId.indexOf(':') + 1)}`;
    const { room_id: joined } = await guest.join(alias);
    assert.equal(joined, roomId);
    await untilMember(host, roomId, guest.userId, 'join');
    await talk(host, guest, roomId);
  });

  test(`a room of ${home} for the members of another room lets them in, and nobody else`, async () => {
    const club = await host.createRoom();
    const roomId = await host.createRoom({
      preset: 'private_chat',
      initial_state: [
        {
          type: 'm.room.join_rules',
          state_key: '',
          content: { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: club }] },
        },
      ],
    });
    const via = `?via=${encodeURIComponent(serverOf(host))}`;
    const refused = await guest.try('POST', `/join/${encodeURIComponent(roomId)}${via}`, {});
    assert.equal(refused.status, 403, JSON.stringify(refused.body));
    await guest.join(club, [serverOf(host)]);
    await guest.join(roomId, [serverOf(host)]);
    await untilMember(host, roomId, guest.userId, 'join');
    await talk(host, guest, roomId);
  });

  test(`a room of ${home}: leave, join again, kick, ban, and an invitation declined`, async () => {
    const roomId = await host.createRoom();
    await guest.join(roomId, [serverOf(host)]);
    await untilMember(host, roomId, guest.userId, 'join');
    await guest.post(`${inRoom(roomId)}/leave`);
    await untilMember(host, roomId, guest.userId, 'leave');

    await host.send(roomId, 'while the guest is away');
    await guest.join(roomId, [serverOf(host)]);
    await untilMember(host, roomId, guest.userId, 'join');
    await talk(host, guest, roomId);

    await host.post(`${inRoom(roomId)}/kick`, { user_id: guest.userId, reason: 'a test' });
    await untilLeft(guest, roomId);
    await host.post(`${inRoom(roomId)}/ban`, { user_id: guest.userId });
    const path = `/join/${encodeURIComponent(roomId)}?via=${encodeURIComponent(serverOf(host))}`;
    assert.equal((await guest.try('POST', path, {})).status, 403);
    await host.post(`${inRoom(roomId)}/unban`, { user_id: guest.userId });

    await host.post(`${inRoom(roomId)}/invite`, { user_id: guest.userId });
    await untilInvited(guest, roomId);
    await guest.post(`${inRoom(roomId)}/leave`);
    await untilMember(host, roomId, guest.userId, 'leave');
  });

  test(`an invitation from ${home} is taken back`, async () => {
    const roomId = await host.createRoom({ preset: 'private_chat', invite: [guest.userId] });
    await untilInvited(guest, roomId);
    const { next_batch: since } = await guest.sync();
    await host.post(`${inRoom(roomId)}/kick`, { user_id: guest.userId });
    await guest.syncUntil((answer) => answer.rooms?.leave?.[roomId] !== undefined, { since });
    assert.equal((await guest.sync({ since })).rooms.invite?.[roomId], undefined);
  });

  test(`a room of ${home}: typing and read receipts reach the other side, both ways`, async () => {
    const roomId = await host.createRoom({ preset: 'private_chat' });
    await bringIn(host, guest, roomId);
    await untilMember(host, roomId, guest.userId, 'join');
    for (const [one, other] of [
      [host, guest],
      [guest, host],
    ] as const) {
      const eventId = await one.send(roomId, 'read this');
      await untilMessages(other, roomId, ['read this']);
      const { next_batch: since } = await one.sync();
      const typing = `${inRoom(roomId)}/typing/${encodeURIComponent(other.userId)}`;
      await other.put(typing, { typing: true, timeout: 30_000 });
      await one.syncUntil(
        (answer) => ephemeral(answer, roomId, 'm.typing')?.user_ids.includes(other.userId),
        { since },
      );
      await other.put(typing, { typing: false });
      await one.syncUntil((answer) => ephemeral(answer, roomId, 'm.typing')?.user_ids.length === 0, {
        since,
      });
      await other.post(`${inRoom(roomId)}/receipt/m.read/${encodeURIComponent(eventId)}`);
      await one.syncUntil(
        (answer) =>
          ephemeral(answer, roomId, 'm.receipt')?.[eventId]?.['m.read']?.[other.userId]?.ts !== undefined,
        { since },
      );
    }
  });

  test(`a room of ${home}: who joins late reads all of its history`, async () => {
    const roomId = await host.createRoom({ name: 'Archive' });
    const old = Array.from({ length: 150 }, (_, count) => `old ${count}`);
    for (const body of old) await host.send(roomId, body);
    await guest.join(roomId, [serverOf(host)]);
    await untilMember(host, roomId, guest.userId, 'join');
    await host.send(roomId, 'new');
    await untilMessages(guest, roomId, ['new']);
    assert.deepEqual(await wholeHistory(guest, roomId), [...old, 'new']);
  });

  test(`display names of users of ${home} are seen on the other side`, async () => {
    const path = `/profile/${encodeURIComponent(host.userId)}`;
    await host.put(`${path}/displayname`, { displayname: `Host of ${home}` });
    assert.equal((await guest.get(path)).displayname, `Host of ${home}`);
  });
}

test('v5: numbers that are no integers reach Kurir with a hash and a signature that hold, and others by it', async () => {
  const roomId = await bob.createRoom({ preset: 'private_chat', room_version: '5' });
  for (const guest of [alice, carol]) {
    await bringIn(bob, guest, roomId);
    await untilMember(bob, roomId, guest.userId, 'join');
  }
  // JavaScript and Python write the last two in different ways.
  const content = { numbers: [0.5, -1.25, 1e22, 1.5e-7, 0.00001] };
  const eventId = await bob.sendEvent(roomId, 'org.example.measured', content);
  for (const reader of [alice, carol]) {
    await until(
      async () => JSON.stringify(await contentOf(reader, roomId, eventId)) === JSON.stringify(content),
      `that ${reader.userId} sees the numbers`,
    );
  }
});

test('what Synapse misses while it is stopped reaches it afterwards, once and in order', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await bringIn(alice, bob, roomId);
  await alice.send(roomId, 'before');
  await untilMessages(bob, roomId, ['before']);
  const { next_batch: since } = await bob.sync();
  await synapse.stop();
  // Two transactions. Of 100 events and more at once Synapse takes the newest, and fetches the others later.
  const missed = Array.from({ length: 90 }, (_, count) => `missed ${count}`);
  for (const body of missed) await alice.send(roomId, body);
  await alice.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: 'Meanwhile' });
  await synapse.start();
  // The sign of life of every day.
  await bob.send(roomId, 'back again');
  await untilMessages(bob, roomId, [missed.at(-1) ?? '']);
  await untilMessages(alice, roomId, ['back again']);
  const seen = await timelineSince(bob, roomId, since);
  assert.deepEqual(
    seen.filter((body) => body !== 'back again'),
    missed,
  );
  await untilSameState(alice, bob, roomId);
});

for (const restarts of [false, true]) {
  const meanwhile = restarts ? ', and Synapse, restarted, tells of the newest only,' : '';
  test(`what Kurir misses while it is stopped${meanwhile} reaches it afterwards, once and in order`, async () => {
    const roomId = await bob.createRoom({ preset: 'private_chat' });
    await bringIn(bob, alice, roomId);
    await bob.send(roomId, 'before');
    await untilMessages(alice, roomId, ['before']);
    const { next_batch: since } = await alice.sync();
    await kurir.stop();
    const missed = Array.from({ length: 120 }, (_, count) => `missed ${count}`);
    for (const body of missed) await bob.send(roomId, body);
    await bob.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: 'Meanwhile' });
    if (restarts) {
      await synapse.stop();
      await synapse.start();
    }
    await kurir.start();
    await alice.send(roomId, 'back again');
    await until(
      async () => (await wholeHistory(alice, roomId)).includes(missed.at(-1) ?? ''),
      'that Kurir has what it missed',
    );
    await until(
      async () => (await wholeHistory(bob, roomId)).includes('back again'),
      'that Synapse hears from Kurir again',
    );
    const seen = await timelineSince(alice, roomId, since);
    assert.deepEqual(
      seen.filter((body) => body !== 'back again'),
      missed,
    );
    await untilSameState(alice, bob, roomId);
    await talk(alice, bob, roomId);
  });
}

test('what each side changes while it does not reach the other is resolved alike, in versions 10, 11 and 12', async () => {
  const rooms: string[] = [];
  for (const version of ['10', '11', '12']) {
    const host = version === '11' ? bob : alice;
    const guest = host === bob ? alice : bob;
    const roomId = await host.createRoom({ preset: 'private_chat', room_version: version });
    await bringIn(host, guest, roomId);
    await untilMember(host, roomId, guest.userId, 'join');
    await letChangeState(host, guest, roomId);
    rooms.push(roomId);
  }
  const change = async (user: TestClient) => {
    for (const roomId of rooms) {
      for (const count of [1, 2, 3]) {
        await user.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: `${count} by ${user.userId}` });
        await user.send(roomId, `${count} by ${user.userId}`);
      }
      await user.put(`${inRoom(roomId)}/state/m.room.name/`, { name: `by ${user.userId}` });
      await user.put(`${inRoom(roomId)}/state/org.example.case/${user.userId.length}`, { by: user.userId });
    }
  };
  await kurir.stop();
  await change(bob);
  await synapse.stop();
  await kurir.start();
  await change(alice);
  await synapse.start();
  for (const roomId of rooms) {
    for (const user of [alice, bob]) await user.send(roomId, `back again, ${user.userId}`);
  }
  for (const roomId of rooms) {
    const told = [alice, bob].map(({ userId }) => [1, 2, 3].map((count) => `${count} by ${userId}`));
    for (const user of [alice, bob]) {
      const seen = await untilMessages(user, roomId, told.flat());
      for (const own of told)
        assert.deepEqual(
          seen.filter((body) => own.includes(body)),
          own,
        );
    }
    await untilSameState(alice, bob, roomId);
  }
});

test('a room of Synapse with users of two Kurirs: each reads every other', async () => {
  const roomId = await bob.createRoom({ preset: 'private_chat' });
  const members = [alice, bob, carol];
  for (const guest of [alice, carol]) {
    await bringIn(bob, guest, roomId);
    await untilMember(bob, roomId, guest.userId, 'join');
  }
  await untilMember(alice, roomId, carol.userId, 'join');
  for (const speaker of members) {
    await speaker.send(roomId, `from ${speaker.userId}`);
    for (const listener of members) await untilMessages(listener, roomId, [`from ${speaker.userId}`]);
  }
  await bob.post(`${inRoom(roomId)}/kick`, { user_id: carol.userId });
  await untilMember(alice, roomId, carol.userId, 'leave');
  await alice.send(roomId, 'not for carol');
  await untilMessages(bob, roomId, ['not for carol']);
  assert.equal((await messagesOf(carol, roomId)).includes('not for carol'), false);
  await untilSameState(alice, bob, roomId);
});

test('both write at once, again and again, and see the same in the end', async () => {
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await bringIn(alice, bob, roomId);
  await untilMember(alice, roomId, bob.userId, 'join');
  const told = await Promise.all(
    [alice, bob].map(async (user) => {
      const own = Array.from({ length: 30 }, (_, count) => `${user.userId} ${count}`);
      for (const body of own) await user.send(roomId, body);
      return own;
    }),
  );
  for (const user of [alice, bob]) {
    const seen = await untilMessages(user, roomId, told.flat());
    assert.equal(seen.length, 60, 'each message once');
    for (const [index, writer] of [alice, bob].entries()) {
      assert.deepEqual(
        seen.filter((body) => body.startsWith(writer.userId)),
        told[index],
        `${user.userId} sees the messages of ${writer.userId} in order`,
      );
    }
  }
});

/** Gives the guest the power to change the state of a room. */
async function letChangeState(host: TestClient, guest: TestClient, roomId: string): Promise<void> {
  const path = `${inRoom(roomId)}/state/m.room.power_levels/`;
  const levels = await host.get(path);
  await host.put(path, { ...levels, users: { ...levels.users, [guest.userId]: 50 }, state_default: 50 });
  const isKnown = async () => (await guest.get(path)).users?.[guest.userId] === 50;
  await until(isKnown, 'that the guest may change the state');
}

/** Two messages in turn from each, seen by both in that order. */
async function talk(one: TestClient, other: TestClient, roomId: string): Promise<void> {
  const said: string[] = [];
  for (const [speaker, listener] of [
    [one, other],
    [other, one],
    [one, other],
    [other, one],
  ] as const) {
    const body = `${said.length} says ${speaker.userId}`;
    await speaker.send(roomId, body);
    await untilMessages(listener, roomId, [body]);
    said.push(body);
  }
  for (const user of [one, other]) {
    const seen = await messagesOf(user, roomId);
    assert.deepEqual(seen.slice(-said.length), said, `as ${user.userId} sees it`);
  }
}

/** One sends, edits, reacts and takes back; the other sees each of it. */
async function editAndRedact(one: TestClient, other: TestClient, roomId: string): Promise<void> {
  const eventId = await one.send(roomId, `a draft of ${one.userId}`);
  const edited = `the final text of ${one.userId}`;
  await one.sendEvent(roomId, 'm.room.message', {
    msgtype: 'm.text',
    body: `* ${edited}`,
    'm.new_content': { msgtype: 'm.text', body: edited },
    'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
  });
  const reaction = await one.sendEvent(roomId, 'm.reaction', {
    'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '👍' },
  });
  await untilMessages(other, roomId, [`* ${edited}`]);
  const edit = (await eventsOf(other, roomId)).find((event) => event.content.body === `* ${edited}`);
  assert.deepEqual(edit.content['m.relates_to'], { rel_type: 'm.replace', event_id: eventId });
  assert.equal(edit.content['m.new_content'].body, edited);
  await until(
    async () => (await contentOf(other, roomId, reaction))?.['m.relates_to']?.key === '👍',
    'a reaction',
  );

  for (const unwanted of [reaction, eventId]) await redactSeenBy(one, other, roomId, unwanted);
}

/** One takes an event back; the other sees that. */
async function redactSeenBy(
  one: TestClient,
  other: TestClient,
  roomId: string,
  eventId: string,
): Promise<void> {
  const event = encodeURIComponent(eventId);
  await one.put(`${inRoom(roomId)}/redact/${event}/redact${event}`, { reason: 'a test' });
  const isGone = async () => Object.keys((await contentOf(other, roomId, eventId)) ?? { a: 1 }).length === 0;
  await until(isGone, `that ${other.userId} sees ${eventId} redacted`);
}

async function contentOf(user: TestClient, roomId: string, eventId: string): Promise<Body> {
  const answer = await user.try('GET', `${inRoom(roomId)}/event/${encodeURIComponent(eventId)}`);
  return answer.status === 200 ? answer.body.content : undefined;
}

async function eventsOf(user: TestClient, roomId: string): Promise<Body[]> {
  return (await user.get(`${inRoom(roomId)}/messages?dir=b&limit=100`)).chunk;
}

/** Waits until both servers hold the same event for every key of the state. */
async function untilSameState(one: TestClient, other: TestClient, roomId: string): Promise<void> {
  const stateOf = async (user: TestClient) => {
    const events: Body[] = await user.get(`${inRoom(roomId)}/state`);
    return events.map((event) => `${event.type} ${event.state_key} ${event.event_id}`).sort();
  };
  let states: [string[], string[]] = [[], []];
  try {
    await until(async () => {
      states = [await stateOf(one), await stateOf(other)];
      return JSON.stringify(states[0]) === JSON.stringify(states[1]);
    });
  } catch {
    // Say where they differ.
    assert.deepEqual(states[0], states[1]);
  }
}

async function untilLeft(user: TestClient, roomId: string): Promise<void> {
  await until(async () => {
    const { joined_rooms: joined } = await user.get('/joined_rooms');
    return !joined.includes(roomId);
  }, `that ${user.userId} is out of the room`);
}

/** All messages of a room, oldest first, page by page from its end. */
async function wholeHistory(user: TestClient, roomId: string): Promise<string[]> {
  const seen: string[] = [];
  let from = '';
  for (let page = 0; page < 50; page++) {
    // Each page begins where the last one ended.
    const { chunk, end } = await user.get(`${inRoom(roomId)}/messages?dir=b&limit=50${from}`);
    seen.unshift(...bodiesOf(chunk).reverse());
    if (end === undefined) return seen;
    from = `&from=${encodeURIComponent(end)}`;
  }
  throw new Error('the history has no end');
}

/** The messages that came after a sync, as a client gets them: the gap filled from /messages where there is one. */
async function timelineSince(user: TestClient, roomId: string, since: string): Promise<string[]> {
  const filter = { room: { timeline: { limit: 1_000 } } };
  const answer = await user.sync({ since, filter });
  const { timeline } = answer.rooms.join[roomId];
  if (!timeline.limited) return bodiesOf(timeline.events);
  const path = `${inRoom(roomId)}/messages?dir=b&limit=500&from=${encodeURIComponent(timeline.prev_batch)}&to=${encodeURIComponent(since)}`;
  const { chunk } = await user.get(path);
  return [...bodiesOf(chunk).reverse(), ...bodiesOf(timeline.events)];
}

function bodiesOf(events: Body[]): string[] {
  return events
    .filter((event) => event.type === 'm.room.message' && event.content.body !== undefined)
    .map((event) => event.content.body);
}

function ephemeral(answer: Body, roomId: string, type: string): Body {
  const events: Body[] = answer.rooms?.join?.[roomId]?.ephemeral?.events ?? [];
  return events.findLast((event) => event.type === type)?.content;
}

function serverOf(user: TestClient): string {
  return user.userId.slice(user.userId.indexOf(':') + 1);
}

import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { JsonObject } from '#keys/json.ts';
import { signEvent } from '#rooms/sign-event.ts';
import type { Body } from '#test/harness/client.ts';
import { inRoom, untilMessages } from '#test/harness/conversation.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { startWitness } from './witness.ts';

const witness = await startWitness();
after(() => witness[Symbol.asyncDispose]());
afterEach(() => witness.check());
const { alice, server } = witness;

const NAMES = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'valueOf',
  'then',
  'length',
  '',
  '\0',
  'a\0b',
  '\u2028',
  '\u{1f600}'.repeat(20),
];

test('event types, state keys and content of any name are kept as they are', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const content = (name: string): JsonObject =>
    JSON.parse(`{${JSON.stringify(name)}:{${JSON.stringify(name)}:1},"then":{"a":1}}`);
  const events = NAMES.flatMap((name) => [
    room.state(mallory, name, '', content(name)),
    room.state(mallory, 'org.example.key', name, content(name)),
    room.send(mallory, { type: name, content: content(name) }),
  ]);
  const answer = await peer.send(server, [...events, room.message(mallory, 'after')]);
  for (const { eventId } of events) assert.deepEqual(answer.body.pdus[eventId], {});
  await untilMessages(alice, room.roomId, ['after']);
  const state: Body[] = await alice.get(`${inRoom(room.roomId)}/state`);
  for (const name of NAMES) {
    const wanted = encodeCanonical(content(name));
    for (const [type, key] of [
      [name, ''],
      ['org.example.key', name],
    ]) {
      const found = state.find((event) => event.type === type && event.state_key === key);
      assert.equal(encodeCanonical(found?.content ?? null), wanted, JSON.stringify([type, key]));
    }
    const path = `${inRoom(room.roomId)}/state/${encodeURIComponent(name)}/`;
    if (name !== '') assert.equal(encodeCanonical(await alice.get(path)), wanted);
  }
  const { rooms } = await alice.sync({ fullState: true });
  assert.ok(rooms.join[room.roomId].timeline.events.length > 0);
  await alice.get(`${inRoom(room.roomId)}/messages?dir=b&limit=100`);
  for (const path of ['/state/', '/state_ids/'])
    assert.equal(
      (
        await peer.request(server, {
          path: `/_matrix/federation/v1${path}${encodeURIComponent(room.roomId)}?event_id=${encodeURIComponent(room.last.eventId)}`,
        })
      ).status,
      200,
    );
});

test('users of any name, and their display names, harm nobody', async () => {
  await using peer = await witness.peerWithGuest({ version: '11' });
  const { room } = peer;
  const mallory = peer.user('mallory');
  const names = [
    '__proto__',
    'constructor',
    '',
    'ü\u202e',
    '\u{1f600}',
    "x'; DROP TABLE rooms; --",
    'a b',
    '%2f%00',
  ];
  const pdus = names.map((name) => room.join(peer.user(name), { displayname: `\0${name}\n` }));
  const odd: JsonObject[] = [
    { displayname: { a: 1 }, avatar_url: ['x'] },
    { displayname: null, avatar_url: null },
    { displayname: 'x'.repeat(60_000) },
    JSON.parse('{"displayname":"d","__proto__":{"membership":"ban"},"third_party_invite":7,"reason":[]}'),
  ];
  pdus.push(...odd.map((content, index) => room.join(peer.user(`odd${index}`), content)));
  const levels = JSON.parse(
    `{"users":{"@__proto__:x":100,"@constructor:x":5,${JSON.stringify(mallory)}:100},"events":{"__proto__":1,"toString":2}}`,
  );
  const power = room.state(mallory, 'm.room.power_levels', '', levels);
  const answer = await peer.send(server, [...pdus, power, room.message(mallory, 'names')]);
  assert.equal(answer.status, 200);
  await untilMessages(alice, room.roomId, ['names']);
  const members = await alice.get(`${inRoom(room.roomId)}/joined_members`);
  for (const name of names) assert.ok(Object.hasOwn(members.joined, peer.user(name)), name);
  await alice.get(`${inRoom(room.roomId)}/members`);
  await alice.sync({ filter: { room: { state: { lazy_load_members: true } } } });
  await alice.send(room.roomId, 'and I');
  assert.equal(({} as { membership?: string }).membership, undefined);
});

test('ids with NUL, halves of characters, without a server or over 255 bytes are no ids', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const base = room.draft(peer.user('mallory'), { type: 'm.room.message' }).pdu;
  const signed = (parts: JsonObject) =>
    signEvent({ ...base, signatures: {}, ...parts }, room.rules, peer.name, keyPairOf(peer.name));
  const long = 'x'.repeat(300);
  const bad = [
    signed({ sender: `@a\0b:${peer.name}` }),
    signed({ sender: `@${long}:${peer.name}` }),
    signed({ sender: `@a:` }),
    signed({ sender: `@a` }),
    signed({ sender: `@a:${peer.name}:1:2` }),
    signed({ sender: `@a:${peer.name}/x` }),
    signed({ type: long }),
    signed({ state_key: '\u{1f600}'.repeat(64) }),
    signed({ prev_events: ['$'] }),
    signed({ prev_events: ['x'] }),
    signed({ prev_events: [long.replace('x', '$')] }),
    signed({ prev_events: Array.from({ length: 21 }, () => room.last.eventId) }),
    signed({ auth_events: Array.from({ length: 5_000 }, (_, n) => `$${n}`) }),
    signed({ auth_events: Array.from({ length: 11 }, () => room.create.eventId) }),
    signed({ content: 'x' }),
  ].map((pdu) => encodeCanonical(pdu));
  const good = room.message(peer.user('mallory'), 'good');
  const answer = await peer.send(server, [...bad, good]);
  assert.equal(answer.status, 200);
  const accepted = Object.keys(answer.body.pdus).filter((id) => answer.body.pdus[id].error === undefined);
  assert.deepEqual(accepted, [good.eventId]);

  await untilMessages(alice, room.roomId, ['good']);
});

test('half of a surrogate pair in one event fails that event alone', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const bad = room
    .draft(mallory, { type: 'm.room.message', content: { body: 'HALF' } })
    .json.replace('HALF', '\\ud800');
  const good = room.message(mallory, 'whole');
  const answer = await peer.send(server, [bad, good]);
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.body.pdus[good.eventId], {});
  await untilMessages(alice, room.roomId, ['whole']);
});

test('numbers that canonical JSON does not have, anywhere in an event, fail that event alone', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const numbers = [
    '1.0',
    '1e3',
    '-0',
    '9007199254740992',
    '-9007199254740993',
    '1E-5',
    '123456789012345678901234567890',
  ];
  const bad = numbers.flatMap((number) => {
    const { json } = room.draft(mallory, { type: 'm.room.message', content: { n: 4242 } });
    const depth = json.replace(/"depth":\d+/, `"depth":${number}`);
    return [json.replace('4242', number), depth, json.replace('4242', `{"a":[${number}]}`)];
  });
  const good = room.message(mallory, 'counted');
  const answer = await peer.send(server, [...bad, good]);
  assert.equal(answer.status, 200);
  await untilMessages(alice, room.roomId, ['counted']);
  assert.equal(
    Object.values(answer.body.pdus as Record<string, JsonObject>).filter((entry) => entry.error === undefined)
      .length,
    1,
  );
});

test('the profile of a user elsewhere may be of any shape', async () => {
  await using peer = await witness.peer();
  const profiles = [
    '{"displayname":{"a":1},"avatar_url":7}',
    '{"displayname":"\\u0000","__proto__":{"a":1}}',
    '{"displayname":"\\ud800"}',
    `{"displayname":${JSON.stringify('x'.repeat(900_000))}}`,
  ];
  for (const [index, profile] of profiles.entries()) {
    peer.script = ({ url }) => (url.includes('/profile') ? (response) => response.end(profile) : undefined);
    const { status } = await alice.try('GET', `/profile/${encodeURIComponent(peer.user(`u${index}`))}`);
    assert.ok(status === 200 || status === 502 || status === 504 || status === 404, `${status}`);
  }
});

test('our own users may call devices, tags and account data as they like', async () => {
  const roomId = await alice.createRoom();
  for (const name of NAMES.filter((name) => name !== '')) {
    const encoded = encodeURIComponent(name);
    const user = `/user/${encodeURIComponent(alice.userId)}`;
    for (const [method, path, body] of [
      ['PUT', `${user}/rooms/${encodeURIComponent(roomId)}/tags/${encoded}`, {}],
      ['GET', `${user}/rooms/${encodeURIComponent(roomId)}/tags`],
      ['PUT', `${user}/account_data/${encoded}`, { [name]: 1 }],
      ['GET', `${user}/account_data/${encoded}`],
      ['PUT', `/sendToDevice/m.test/${encoded}`, { messages: { [alice.userId]: { [name]: { a: 1 } } } }],
      ['PUT', `/rooms/${encodeURIComponent(roomId)}/send/${encoded}/${encoded}`, { [name]: { a: 1 } }],
      ['PUT', `/rooms/${encodeURIComponent(roomId)}/state/${encoded}/${encoded}`, { [name]: 1 }],
    ] as const) {
      const { status } = await alice.try(method, path, body);
      assert.ok(status < 500, `${method} ${path}: ${status}`);
    }
    await alice.sync();
  }
});

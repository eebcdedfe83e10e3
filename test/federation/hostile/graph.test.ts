import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { signEvent } from '#rooms/sign-event.ts';
import type { Body } from '#test/harness/client.ts';
import { inRoom, messagesOf, untilMessages } from '#test/harness/conversation.ts';
import type { PeerAnswer, PeerRequest } from '#test/harness/peer.ts';
import { keyPairOf, roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import type { RoomPeer } from '#test/harness/room-peer.ts';
import { startWitness } from './witness.ts';

const witness = await startWitness();
after(() => witness[Symbol.asyncDispose]());
afterEach(() => witness.check());
const { alice, server } = witness;

/** The peer answers one endpoint with these events. */
function serving(part: string, key: string, events: () => readonly JsonObject[]) {
  return (request: PeerRequest): PeerAnswer | undefined =>
    request.url.includes(part) ? { json: { [key]: [...events()] } } : undefined;
}

/** An event of the peer's, signed, whatever it says. */
function forged(peer: RoomPeer, parts: Record<string, JsonObject[string]>): Event {
  const { room } = peer;
  const {
    signatures: _,
    hashes: __,
    ...base
  } = room.draft(peer.user('mallory'), { type: 'm.room.message', depth: 5 }).pdu;
  return eventFrom(signEvent({ ...base, ...parts }, room.rules, peer.name, keyPairOf(peer.name)), room.rules);
}

async function checkRoom(peer: RoomPeer, room: TestRoom = peer.room): Promise<void> {
  peer.script = () => undefined;
  await peer.send(server, [room.message(peer.user('mallory'), 'in the end')]);
  await untilMessages(alice, room.roomId, ['in the end']);
  await alice.send(room.roomId, 'from here');
}

test('row 3: the greatest depth does not keep anybody from sending after it', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const deep = room.send(peer.user('mallory'), {
    ...{ type: 'm.room.message', content: { body: 'deep' }, depth: Number.MAX_SAFE_INTEGER },
  });
  await peer.send(server, [deep]);
  await untilMessages(alice, room.roomId, ['deep']);
  await alice.send(room.roomId, 'deeper');
  const after = forged(peer, {
    content: { body: 'deepest' },
    depth: Number.MAX_SAFE_INTEGER,
    prev_events: [deep.eventId],
  });
  await peer.send(server, [after]);
  await untilMessages(alice, room.roomId, ['deep', 'deeper', 'deepest']);
  assert.equal((await messagesOf(alice, room.roomId)).at(-1), 'deepest');
});

test('F34: answers to get_missing_events of other rooms, of ten thousand events, or that lead in circles, end', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const other = roomOf(mallory, { create: { other: 1 } });
  for (let count = 0; count < 100; count++) other.message(mallory, `other ${count}`);
  const many = Array.from(
    { length: 3_000 },
    (_, n) => forged(peer, { content: { body: `${n}` }, prev_events: [`$gone${n}`] }).pdu,
  );
  const late = () => forged(peer, { content: { body: 'late' }, prev_events: [room.last.eventId, '$nobody'] });
  const answers: (() => JsonObject[])[] = [
    () => [...other.events.values()].map(({ pdu }) => pdu),
    () => many,
    () => [late().pdu, late().pdu],
    () => [{ depth: -1 }, { depth: 2 ** 60 }],
  ];
  for (const events of answers) {
    peer.hidden.add('$nobody');
    const usual = serving('/get_missing_events/', 'events', events);
    peer.script = (request) => {
      if (request.url.includes('/state_ids/')) return { json: { pdu_ids: [], auth_chain_ids: [] } };
      return usual(request);
    };
    const { status } = await peer.send(server, [late()]);
    assert.equal(status, 200);
  }
  await checkRoom(peer);
  const seen = await messagesOf(alice, room.roomId);
  assert.ok(!seen.some((body) => body.startsWith('other')), 'an event of another room');
});

test('answers to backfill of other rooms, without an end, or of garbage, end', async () => {
  await using peer = await witness.peerWithRoom();
  const { room } = peer;
  const mallory = peer.user('mallory');
  for (let count = 0; count < 30; count++) room.message(mallory, `before ${count}`);
  await alice.join(room.roomId, [peer.name]);
  const other = roomOf(mallory, { create: { other: 2 } });
  for (let count = 0; count < 50; count++) other.message(mallory, `other ${count}`);
  const answers: (() => JsonObject[])[] = [
    () => [...other.events.values()].map(({ pdu }) => pdu),
    () => Array.from({ length: 10_000 }, () => ({ type: 5 })),
    () => Array.from({ length: 2_000 }, (_, n) => forged(peer, { depth: n, prev_events: [`$x${n}`] }).pdu),
    () => [],
  ];
  for (const events of answers) {
    peer.script = serving('/backfill/', 'pdus', events);
    let from = '';
    for (let page = 0; page < 5; page++) {
      const { end } = await alice.get(`${inRoom(room.roomId)}/messages?dir=b&limit=20${from}`);
      if (end === undefined) break;
      from = `&from=${end}`;
    }
    assert.ok(!(await messagesOf(alice, room.roomId)).some((body) => body.startsWith('other')));
  }
  await checkRoom(peer);
});

test('an event authorised by events of another room, or by messages, is rejected', async () => {
  await using peer = await witness.peerWithGuest({ version: '11' });
  const { room } = peer;
  const mallory = peer.user('mallory');
  const eve = peer.user('eve');
  const other = roomOf(eve, { version: '11' });
  const message = room.message(mallory, 'hello');
  const topic = (auth: readonly (Event | undefined)[]) =>
    forged(peer, {
      ...{ type: 'm.room.topic', state_key: '', sender: eve, content: { topic: 'taken' } },
      auth_events: auth.map((event) => event?.eventId ?? ''),
    });
  const create = room.get('m.room.create');
  const events = [
    topic([other.create, other.get('m.room.member', eve), other.get('m.room.power_levels')]),
    topic([create, other.get('m.room.member', eve)]),
    topic([create, message]),
    topic([create, create]),
    topic([]),
  ];
  await peer.send(server, [message, ...events]);
  await checkRoom(peer);
  assert.equal((await alice.try('GET', `${inRoom(room.roomId)}/state/m.room.topic/`)).status, 404);
});

test('a state whose auth events lie about their depth is taken in in one pass', async () => {
  await using peer = await witness.peerWithGuest({ version: '11' });
  const { room } = peer;
  const mallory = peer.user('mallory');
  const [create, member] = [room.get('m.room.create'), room.get('m.room.member', mallory)];
  let last = room.get('m.room.power_levels');
  assert.ok(create && member && last);
  const chain: Event[] = [];
  const length = 600;
  for (let count = 0; count < length; count++) {
    last = forged(peer, {
      ...{ type: 'm.room.power_levels', state_key: '', content: { users: { [mallory]: 100 }, count } },
      auth_events: [create.eventId, member.eventId, last.eventId],
      depth: length - count,
    });
    chain.push(last);
  }
  const state = [...room.stateMap.values()].filter(({ type }) => type !== 'm.room.power_levels').concat(last);
  const gap = forged(peer, {
    content: { body: 'beyond' },
    prev_events: ['$nobody'],
    auth_events: [create.eventId, member.eventId, last.eventId],
  });
  peer.script = ({ url }) => {
    if (url.includes('/get_missing_events/')) return { json: { events: [] } };
    if (url.includes('/event_auth/')) return { json: { auth_chain: chain.map(({ pdu }) => pdu) } };
    if (url.includes('/state_ids/'))
      return {
        json: {
          pdu_ids: state.map(({ eventId }) => eventId),
          auth_chain_ids: chain.map(({ eventId }) => eventId),
        },
      };
    if (url.includes('/state/')) {
      return { json: { pdus: state.map(({ pdu }) => pdu), auth_chain: chain.map(({ pdu }) => pdu) } };
    }
    return undefined;
  };
  await peer.send(server, [gap]);
  await untilMessages(alice, room.roomId, ['beyond']);
  await checkRoom(peer);
});

test('a second create event, and redactions of it and of one another, change nothing', async () => {
  await using peer = await witness.peerWithGuest({ version: '11' });
  const { room } = peer;
  const mallory = peer.user('mallory');
  const create = forged(peer, {
    ...{ type: 'm.room.create', state_key: '', content: { room_version: '10' } },
    ...{ prev_events: [], auth_events: [] },
  });
  const one = room.message(mallory, 'one');
  const two = room.send(mallory, { type: 'm.room.redaction', content: { redacts: room.create.eventId } });
  const three = room.send(mallory, { type: 'm.room.redaction', content: { redacts: two.eventId } });
  const four = room.send(mallory, { type: 'm.room.redaction', content: { redacts: '$later' } });
  await peer.send(server, [create, one, two, three, four]);
  await checkRoom(peer);
  const content = await alice.get(`${inRoom(room.roomId)}/state/m.room.create/`);
  assert.equal(content.room_version, '11');
  const state: Body[] = await alice.get(`${inRoom(room.roomId)}/state`);
  assert.equal(state.filter(({ type }) => type === 'm.room.create').length, 1);
});

test('hundreds of heads at once leave the room quick to send in', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const base = room.last.eventId;
  const heads = Array.from({ length: 300 }, (_, n) =>
    forged(peer, { content: { body: `h${n}` }, prev_events: [base] }),
  );
  for (let from = 0; from < heads.length; from += 50) {
    assert.equal((await peer.send(server, heads.slice(from, from + 50))).status, 200);
  }
  await untilMessages(alice, room.roomId, ['h299']);
  await alice.send(room.roomId, 'mine');
  const [sent] = (await alice.get(`${inRoom(room.roomId)}/messages?dir=b&limit=1`)).chunk;
  assert.equal(sent.content.body, 'mine');
  await checkRoom(peer);
});

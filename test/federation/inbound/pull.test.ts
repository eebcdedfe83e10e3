import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Event } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { register } from '#test/harness/client.ts';
import { inRoom, membershipOf, messagesOf, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');

async function peerWithGuest(): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  peer.makeRoom();
  await alice.join(peer.room.roomId, [peer.name]);
  return peer;
}

function messages(peer: RoomPeer, count: number): Event[] {
  return Array.from({ length: count }, (_, index) => peer.room.message(peer.user('mallory'), `m${index}`));
}

function names(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `m${index}`);
}

function last(events: readonly Event[]): Event {
  const event = events.at(-1);
  assert.ok(event);
  return event;
}

async function untilStored(event: Event): Promise<void> {
  await until(async () => (await loadEvent(server.ctx, event.eventId))?.position !== undefined);
}

test('a gap is closed by get_missing_events, in several rounds, and the events come in order', async () => {
  await using peer = await peerWithGuest();
  const events = messages(peer, 55);
  await peer.send(server, [last(events)]);
  assert.deepEqual(await untilMessages(alice, peer.room.roomId, ['m54']), names(55));
  assert.equal(peer.asked('/get_missing_events/').length, 3);
  assert.equal(peer.asked('/state_ids/').length, 0);
});

test('a server that answers get_missing_events newest first, with what we have, closes the gap too', async () => {
  await using peer = await peerWithGuest();
  const events = messages(peer, 8);
  const newest = last(events);
  peer.script = ({ url }) =>
    url.includes('/get_missing_events/')
      ? {
          json: {
            events: [...peer.room.events.values()]
              .reverse()
              .slice(0, 12)
              .map(({ pdu }) => pdu),
          },
        }
      : undefined;
  await peer.send(server, [newest]);
  assert.deepEqual(await untilMessages(alice, peer.room.roomId, ['m7']), names(8));
});

test('across a gap that cannot be closed the room goes on by the state that a server tells', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const carol = peer.user('carol');
  const early = messages(peer, 3);
  // Nobody has the events between, but the state tells of them.
  room.join(carol);
  const topic = room.state(peer.user('mallory'), 'm.room.topic', '', { topic: 'behind the gap' });
  const late = room.message(carol, 'late');
  for (const { eventId } of early) peer.hidden.add(eventId);
  peer.script = ({ url }) => (url.includes('/get_missing_events/') ? { json: { events: [] } } : undefined);
  await peer.send(server, [late]);
  await untilMessages(alice, room.roomId, ['late']);
  assert.equal(await membershipOf(alice, room.roomId, carol), 'join');
  assert.equal((await alice.get(`${inRoom(room.roomId)}/state/m.room.topic/`)).topic, 'behind the gap');
  assert.equal(peer.asked(`/event/${topic.eventId}`).length, 1);
  // And our own user goes on from there.
  await alice.send(room.roomId, 'here too');
  assert.deepEqual(await messagesOf(alice, room.roomId), ['late', 'here too']);
});

test('auth events that we lack are fetched, by event_auth or one by one', async () => {
  for (const script of [
    () => undefined,
    ({ url }: { url: string }) => (url.includes('/event_auth/') ? { json: { auth_chain: [] } } : undefined),
  ]) {
    await using peer = await peerWithGuest();
    const { room } = peer;
    peer.script = script;
    const carol = peer.user('carol');
    const join = room.join(carol);
    const late = room.message(carol, 'late');
    await peer.send(server, [late]);
    await untilMessages(alice, room.roomId, ['late']);
    assert.equal((await loadEvent(server.ctx, join.eventId))?.status, 'accepted');
  }
});

test('an auth chain that is too long to be followed one by one is had with the state across the gap', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const renamed = Array.from({ length: 30 }, (_, index) =>
    room.state(mallory, 'm.room.member', mallory, { membership: 'join', displayname: `m${index}` }),
  );
  peer.script = ({ url }) => {
    if (url.includes('/get_missing_events/')) return { json: { events: [] } };
    const isChain = url.includes('/event_auth/');
    return isChain ? { status: 404, json: { errcode: 'M_UNRECOGNIZED', error: '' } } : undefined;
  };
  await peer.send(server, [last(renamed)]);
  await untilStored(last(renamed));
  const member = `state/m.room.member/${encodeURIComponent(mallory)}`;
  assert.equal((await alice.get(`${inRoom(room.roomId)}/${member}`)).displayname, 'm29');
});

test('auth events that lie in the gap are not asked for a second time', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const carol = peer.user('carol');
  room.join(carol);
  const late = [room.message(carol, 'early'), room.message(carol, 'late')];
  await peer.send(server, [last(late)]);
  await untilMessages(alice, room.roomId, ['late']);
  assert.deepEqual([peer.asked('/event_auth/'), peer.asked('/event/')], [[], []]);
});

test('an event whose past nobody tells is given up, and those after it are received', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const line = room.fork();
  const hidden = line.message(peer.user('mallory'), 'hidden');
  const stray = line.message(peer.user('mallory'), 'stray');
  peer.script = ({ url }) =>
    url.includes('/get_missing_events/') || url.includes('/state_ids/')
      ? { status: 404, json: { errcode: 'M_NOT_FOUND', error: hidden.eventId } }
      : undefined;
  const good = room.message(peer.user('mallory'), 'good');
  const answer = await peer.send(server, [stray, good]);
  assert.deepEqual(answer.body.pdus, { [stray.eventId]: {}, [good.eventId]: {} });
  await untilStored(good);
  assert.deepEqual(await messagesOf(alice, room.roomId), ['good']);
  assert.equal(await loadEvent(server.ctx, stray.eventId), undefined);
});

test('a server that hangs when it is asked does not hold up other rooms', async () => {
  await using slow = await peerWithGuest();
  await using good = await peerWithGuest();
  messages(slow, 3);
  slow.script = ({ url }) => (url.includes('/get_missing_events/') ? () => undefined : undefined);
  await slow.send(server, [last([...slow.room.events.values()])]);
  await until(() => slow.asked('/get_missing_events/').length > 0);
  await good.send(server, [last(messages(good, 1))]);
  await untilMessages(alice, good.room.roomId, ['m0']);
  assert.deepEqual(await messagesOf(alice, slow.room.roomId), []);
});

test('a gap that is longer than what we fetch ends in history that can be read back', async () => {
  await using peer = await peerWithGuest();
  const events = messages(peer, 260);
  await peer.send(server, [last(events)]);
  await untilStored(last(events));
  const seen = await messagesOf(alice, peer.room.roomId, 1_000);
  assert.equal(new Set(seen).size, seen.length, 'each once');
  assert.ok(seen.length >= 200, String(seen.length));
  assert.deepEqual(seen, names(260).slice(-seen.length));
});

test('events that are not valid among those that fill a gap are passed over', async () => {
  await using peer = await peerWithGuest();
  const events = messages(peer, 3);
  const newest = last(events);
  peer.script = ({ url }) => {
    if (!url.includes('/get_missing_events/')) return undefined;
    const garbage = [{ type: 'x' }, 5, { ...events[0]?.pdu, signatures: {} }];
    return { json: { events: [...garbage, ...events.slice(0, -1).map(({ pdu }) => pdu)] } };
  };
  await peer.send(server, [newest]);
  assert.deepEqual(await untilMessages(alice, peer.room.roomId, ['m2']), names(3));
});

test('who was banned does not get around it by a gap that nobody else has seen', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const eve = peer.user('eve');
  const join = room.join(eve);
  const before = room.fork();
  const ban = room.ban(peer.user('mallory'), eve);
  await peer.send(server, [join, ban]);
  await until(async () => (await membershipOf(alice, room.roomId, eve)) === 'ban');
  const state = [...before.stateMap.values()].map(({ eventId }) => eventId);
  const hidden = before.message(eve, 'hidden');
  const evading = before.message(eve, 'evading');
  peer.hidden.add(hidden.eventId);
  peer.script = ({ url }) => {
    if (url.includes('/get_missing_events/')) return { json: { events: [] } };
    return url.includes('/state_ids/') ? { json: { pdu_ids: state, auth_chain_ids: [] } } : undefined;
  };
  await peer.send(server, [evading]);
  await until(async () => (await loadEvent(server.ctx, evading.eventId))?.status === 'soft_failed');
  assert.deepEqual(await messagesOf(alice, room.roomId), []);
  assert.equal(await membershipOf(alice, room.roomId, eve), 'ban');
});

/** What was asked for by event: the last part of the path. */
function askedOf(peer: RoomPeer, endpoint: string): string[] {
  return peer.asked(`/${endpoint}/`).map((url) => url.slice(url.lastIndexOf('$')));
}

const nothing = { status: 404, json: { errcode: 'M_NOT_FOUND', error: 'No such event' } };

test('who gives fewer events than it is asked for, "up to the provided limit", has no more and is not asked again', async () => {
  await using peer = await peerWithGuest();
  const events = messages(peer, 4);
  const [, , near] = events;
  assert.ok(near);
  peer.script = ({ url }) =>
    url.includes('/get_missing_events/') ? { json: { events: [near.pdu] } } : undefined;
  await peer.send(server, [last(events)]);
  // What there is all the same comes to who reads back.
  assert.deepEqual(await untilMessages(alice, peer.room.roomId, names(4)), names(4));
  assert.equal(peer.asked('/get_missing_events/').length, 1);
});

test('the state across a gap is that before the missing event, and that event: who is sent the newest later has it too', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  room.join(peer.user('carol'));
  const topic = room.state(peer.user('mallory'), 'm.room.topic', '', { topic: 'missed' });
  const late = room.message(peer.user('carol'), 'late');
  peer.script = ({ url }) => {
    if (url.includes('/get_missing_events/')) return { json: { events: [] } };
    return url.includes('/state_ids/') && decodeURIComponent(url).includes(late.eventId)
      ? nothing
      : undefined;
  };
  await peer.send(server, [late]);
  await untilMessages(alice, room.roomId, ['late']);
  assert.equal((await alice.get(`${inRoom(room.roomId)}/state/m.room.topic/`)).topic, 'missed');
  assert.deepEqual(askedOf(peer, 'state_ids'), [topic.eventId]);
  assert.deepEqual(askedOf(peer, 'event_auth'), [], 'the auth events came with the state');
});

test('the missing event takes the place of what it replaces in the state before it', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  for (const topic of ['first', 'second']) room.state(mallory, 'm.room.topic', '', { topic });
  const late = room.message(mallory, 'late');
  peer.script = ({ url }) => (url.includes('/get_missing_events/') ? { json: { events: [] } } : undefined);
  await peer.send(server, [late]);
  await untilMessages(alice, room.roomId, ['late']);
  assert.equal((await alice.get(`${inRoom(room.roomId)}/state/m.room.topic/`)).topic, 'second');
});

test('who does not give the missing event tells the state before the event that is here', async () => {
  for (const [endpoint, answer] of [
    ['/state_ids/', nothing],
    ['/event/', nothing],
    ['/event/', { status: 500, json: {} }],
  ] as const) {
    await using peer = await peerWithGuest();
    const { room } = peer;
    const mallory = peer.user('mallory');
    room.state(mallory, 'm.room.topic', '', { topic: 'missed' });
    const hidden = room.message(mallory, 'hidden');
    const late = room.message(mallory, 'late');
    peer.script = ({ url }) => {
      if (url.includes('/get_missing_events/')) return { json: { events: [] } };
      const isHidden = url.includes(endpoint) && decodeURIComponent(url).includes(hidden.eventId);
      return isHidden ? answer : undefined;
    };
    await peer.send(server, [late]);
    await untilMessages(alice, room.roomId, ['late']);
    assert.equal((await alice.get(`${inRoom(room.roomId)}/state/m.room.topic/`)).topic, 'missed');
    assert.deepEqual(askedOf(peer, 'state_ids'), [hidden.eventId, late.eventId]);
  }
});

test('behind an event that nobody has, what it authorises does not get in, and only one state is asked for', async () => {
  await using peer = await peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const beside = room.fork();
  const [, lost] = ['A', 'B', 'C'].map((displayname) =>
    room.state(mallory, 'm.room.member', mallory, { membership: 'join', displayname }),
  );
  assert.ok(lost);
  const [far, near, newest] = messages(peer, 3);
  assert.ok(far && near && newest);
  peer.hidden.add(lost.eventId);
  peer.script = ({ url }) => {
    if (url.includes('/get_missing_events/')) return { json: { events: [near.pdu] } };
    return url.includes('/event_auth/') ? nothing : undefined;
  };
  await peer.send(server, [newest]);
  const sound = beside.message(mallory, 'sound');
  await peer.send(server, [sound]);
  await untilMessages(alice, room.roomId, ['sound']);
  assert.deepEqual(await messagesOf(alice, room.roomId), ['sound']);
  const member = `state/m.room.member/${encodeURIComponent(mallory)}`;
  assert.equal((await alice.get(`${inRoom(room.roomId)}/${member}`)).displayname, undefined);
  assert.deepEqual(askedOf(peer, 'state_ids'), [far.eventId]);
  assert.ok(peer.asked(`/event/${lost.eventId}`).length > 0);
});

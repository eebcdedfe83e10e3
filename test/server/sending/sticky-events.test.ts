/** https://github.com/matrix-org/matrix-spec-proposals/pull/4354 and 4480, under their unstable names. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { loadEvent } from '#rooms/load.ts';
import { type Answer, type Body, register, type TestClient } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';
import { SlidingClient } from '../sliding-sync/face.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const TYPE = 'org.example.member';
const PARAM = 'org.matrix.msc4354.sticky_duration_ms';
const EXTENSION = 'org.matrix.msc4354.sticky_events';

let transactions = 0;

function trySticky(client: TestClient, roomId: string, ms: string | number): Promise<Answer> {
  transactions += 1;
  const path = `/rooms/${encodeURIComponent(roomId)}/send/${TYPE}/s${transactions}?${PARAM}=${ms}`;
  return client.try('PUT', path, { msc4354_sticky_key: 'key' });
}

async function sticky(client: TestClient, roomId: string, ms = 600_000): Promise<string> {
  const { status, body } = await trySticky(client, roomId, ms);
  assert.equal(status, 200);
  return body.event_id;
}

const NO_TIMELINE = { room: { timeline: { limit: 1 } } };

/** The ids of the sticky events of a room in an answer of /sync. */
function stickyIn(answer: Body, roomId: string): string[] {
  const { events = [] } = answer.rooms?.join?.[roomId]?.msc4354_sticky ?? {};
  return events.map((event: Body) => event.event_id);
}

/** The ids of the events of this type, wherever they are told. */
function toldIn(answer: Body, roomId: string): string[] {
  const { timeline, msc4354_sticky: section } = answer.rooms?.join?.[roomId] ?? {};
  const events = [...(section?.events ?? []), ...(timeline?.events ?? [])];
  return events.filter(({ type }: Body) => type === TYPE).map((event: Body) => event.event_id);
}

async function fill(client: TestClient, roomId: string): Promise<void> {
  for (const text of ['a', 'b']) await client.send(roomId, text);
}

test('a sticky event is told beyond the limit of the timeline, once, with how long it lasts', async () => {
  const alice = await register(fleet.at(0));
  const roomId = await alice.createRoom();
  const { next_batch: since } = await alice.sync();
  const eventId = await sticky(alice, roomId);
  const whole = await alice.sync({ since });
  assert.deepEqual(stickyIn(whole, roomId), [], 'it is in the timeline');
  const [told] = whole.rooms.join[roomId].timeline.events;
  assert.deepEqual(told.msc4354_sticky, { duration_ms: 600_000 });
  assert.ok(told.unsigned.msc4354_sticky_duration_ttl_ms > 500_000);
  await fill(alice, roomId);
  const gappy = await alice.sync({ since, filter: NO_TIMELINE });
  assert.deepEqual(stickyIn(gappy, roomId), [eventId]);
  const [event] = gappy.rooms.join[roomId].msc4354_sticky.events;
  assert.deepEqual([event.type, event.msc4354_sticky], [TYPE, { duration_ms: 600_000 }]);
  assert.ok(event.unsigned.msc4354_sticky_duration_ttl_ms <= 600_000);
  const next = await alice.sync({ since: gappy.next_batch, filter: NO_TIMELINE });
  assert.deepEqual(stickyIn(next, roomId), []);
  // What the filter leaves out of the timeline is told here.
  const filtered = { room: { timeline: { not_types: [TYPE] } } };
  assert.deepEqual(stickyIn(await alice.sync({ since, filter: filtered }), roomId), [eventId]);
});

test('who joins is told of all sticky events, though the history is hidden', async () => {
  const [alice, bob] = [await register(fleet.at(0)), await register(fleet.at(0))];
  const visibility = { type: 'm.room.history_visibility', content: { history_visibility: 'joined' } };
  const roomId = await alice.createRoom({ initial_state: [visibility] });
  const eventId = await sticky(alice, roomId);
  const plain = await alice.send(roomId, 'before');
  const { next_batch: since } = await bob.sync();
  await bob.join(roomId);
  // It is among the newest events, which are in the timeline; there the other one is not.
  assert.deepEqual(toldIn(await bob.sync({ since }), roomId), [eventId]);
  await fill(alice, roomId);
  assert.deepEqual(stickyIn(await bob.sync({ filter: NO_TIMELINE }), roomId), [eventId]);
  assert.equal((await bob.try('GET', `/rooms/${encodeURIComponent(roomId)}/event/${eventId}`)).status, 200);
  assert.equal((await bob.try('GET', `/rooms/${encodeURIComponent(roomId)}/event/${plain}`)).status, 404);
  await bob.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
  assert.equal((await bob.try('GET', `/rooms/${encodeURIComponent(roomId)}/event/${eventId}`)).status, 404);
});

test('it ends at its time, and a redaction ends it before', async () => {
  let now = Date.now();
  await using server = await startServer({ clock: { now: () => now } });
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const [first, second] = [await sticky(alice, roomId, 1_000), await sticky(alice, roomId, 60_000)];
  await fill(alice, roomId);
  const told = async () => stickyIn(await alice.sync({ filter: NO_TIMELINE }), roomId);
  assert.deepEqual(await told(), [first, second]);
  now += 1_000;
  assert.deepEqual(await told(), [second]);
  const event = await alice.get(`/rooms/${encodeURIComponent(roomId)}/event/${first}`);
  assert.deepEqual(
    [event.msc4354_sticky, event.unsigned.msc4354_sticky_duration_ttl_ms],
    [{ duration_ms: 1_000 }, undefined],
  );
  await alice.put(`/rooms/${encodeURIComponent(roomId)}/redact/${second}/r1`, {});
  assert.deepEqual(await told(), []);
});

test('what is no duration from 0 to an hour is refused', async () => {
  const alice = await register(fleet.at(0));
  const roomId = await alice.createRoom();
  for (const ms of [-1, 3_600_001, '1.5', 'x', '', '9'.repeat(30)]) {
    const { status, body } = await trySticky(alice, roomId, ms);
    assert.deepEqual([status, body.errcode], [400, 'M_INVALID_PARAM'], String(ms));
  }
  assert.equal((await trySticky(alice, roomId, 3_600_000)).status, 200);
  assert.equal((await trySticky(alice, roomId, 0)).status, 200);
});

test('an event that is sent later is sticky when it is sent', async () => {
  const alice = await register(fleet.at(0));
  const roomId = await alice.createRoom();
  const base = `/rooms/${encodeURIComponent(roomId)}`;
  const query = `org.matrix.msc4140.delay=100&${PARAM}=60000`;
  await alice.put(`${base}/send/${TYPE}/later1?${query}`, { a: 1 });
  const delayed = '/_matrix/client/unstable/org.matrix.msc4140';
  await alice.put(`${delayed}${base}/delayed_event/${TYPE}/later2?${PARAM}=60000`, {
    delay_ms: 100,
    content: { a: 2 },
  });
  const durations = (answer: Body) =>
    (answer.rooms?.join?.[roomId]?.timeline.events ?? [])
      .filter(({ type }: Body) => type === TYPE)
      .map((event: Body) => event.msc4354_sticky?.duration_ms);
  await until(async () => durations(await alice.sync()).length === 2);
  assert.deepEqual(durations(await alice.sync()), [60_000, 60_000]);
});

test('sticky events go to other servers, and to a server that joins later', async () => {
  const [alice, bob] = [await register(fleet.at(0)), await register(fleet.at(1))];
  const roomId = await alice.createRoom();
  const before = await sticky(alice, roomId);
  await fill(alice, roomId);
  await bob.join(roomId, [fleet.at(0).serverName]);
  await until(async () => (await loadEvent(fleet.at(1).ctx, before as `$${string}`))?.status === 'accepted');
  await until(async () => toldIn(await bob.sync(), roomId).includes(before));
  const later = await sticky(alice, roomId);
  await fill(alice, roomId);
  await until(async () => stickyIn(await bob.sync({ filter: NO_TIMELINE }), roomId).includes(later));
});

test('a sticky event that was soft-failed is shown once the state allows it', async () => {
  const server = fleet.at(0);
  const alice = await register(server);
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  const [mallory, carol] = [peer.user('mallory'), peer.user('carol')];
  room.join(carol);
  await alice.join(room.roomId, [peer.name]);
  const fork = room.fork();
  const levels = (events_default: number) =>
    room.state(mallory, 'm.room.power_levels', '', { events_default });
  await peer.send(server, [levels(50)]);
  const pdu = { msc4354_sticky: { duration_ms: 600_000 }, origin_server_ts: Date.now() + 60_000 };
  const late = fork.send(carol, { type: TYPE, content: {}, pdu });
  const expired = fork.send(carol, { type: TYPE, content: {}, pdu: { ...pdu, origin_server_ts: 1 } });
  const plain = fork.message(carol, 'plain');
  await peer.send(server, [late, expired, plain]);
  const statusOf = async (eventId: `$${string}`) => (await loadEvent(server.ctx, eventId))?.status;
  await until(async () => (await statusOf(plain.eventId)) === 'soft_failed');
  assert.equal(await statusOf(late.eventId), 'soft_failed');
  await peer.send(server, [levels(0)]);
  await until(async () => (await statusOf(late.eventId)) === 'accepted');
  assert.deepEqual(
    [await statusOf(expired.eventId), await statusOf(plain.eventId)],
    ['soft_failed', 'soft_failed'],
  );
  const told = await alice.sync();
  const found = told.rooms.join[room.roomId].timeline.events.find(
    (event: Body) => event.event_id === late.eventId,
  );
  // "Malicious origin timestamps cannot specify start times in the future."
  assert.ok(found.unsigned.msc4354_sticky_duration_ttl_ms <= 600_000);
});

test('a duration of another server that is none makes nothing sticky', async () => {
  const server = fleet.at(0);
  const alice = await register(server);
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  await alice.join(room.roomId, [peer.name]);
  const origin_server_ts = Date.now();
  const durations = [-1, 3_600_001, '5', null, []];
  const sent = durations.map((duration_ms) =>
    room.send(peer.user('mallory'), {
      type: TYPE,
      content: {},
      pdu: { msc4354_sticky: { duration_ms }, origin_server_ts },
    }),
  );
  sent.push(
    room.send(peer.user('mallory'), {
      type: TYPE,
      content: {},
      pdu: { msc4354_sticky: 7, origin_server_ts },
    }),
  );
  await peer.send(server, sent);
  for (const { eventId } of sent)
    await until(async () => (await loadEvent(server.ctx, eventId))?.status === 'accepted');
  await fill(alice, room.roomId);
  assert.deepEqual(stickyIn(await alice.sync({ filter: NO_TIMELINE }), room.roomId), []);
});

test('sliding sync tells sticky events of all rooms of its lists, the oldest first, from a token of their own', async () => {
  const [alice, bob] = [await register(fleet.at(0)), await register(fleet.at(0))];
  const rooms = [await alice.createRoom(), await alice.createRoom()];
  const ids: string[] = [];
  for (const roomId of rooms) {
    for (let count = 0; count < 2; count++) ids.push(await sticky(alice, roomId));
    await fill(alice, roomId);
  }
  const ignoredIn = rooms[0] ?? '';
  await bob.join(ignoredIn);
  await sticky(bob, ignoredIn);
  await fill(alice, ignoredIn);
  await alice.put(`/user/${encodeURIComponent(alice.userId)}/account_data/m.ignored_user_list`, {
    ignored_users: { [bob.userId]: {} },
  });
  const sliding = new SlidingClient(alice, 'experimental', 'c');
  const ask = async (since?: string) => {
    const extension = { enabled: true, limit: 3, ...(since !== undefined && { since }) };
    const lists = { all: { range: [0, 0], limit: 1 } } as const;
    const answer = await sliding.next({ lists, extensions: { [EXTENSION]: extension } });
    const told = answer.extensions[EXTENSION];
    const events = Object.values<Body>(told?.rooms ?? {}).flatMap((room) => room.events);
    return { next: told?.next_batch, ids: events.map((event: Body) => event.event_id) };
  };
  const first = await ask();
  assert.deepEqual(first.ids, ids.slice(0, 3));
  const second = await ask(first.next);
  assert.deepEqual(second.ids, ids.slice(3));
  const third = await ask(second.next);
  assert.deepEqual(third, { next: undefined, ids: [] });
});

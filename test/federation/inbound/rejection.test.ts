/** Rejected events between servers: what is not told to clients, and what is taken again once its past is there. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Event } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { register } from '#test/harness/client.ts';
import { inRoom, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');

async function peerWithGuest(version: string): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  peer.makeRoom({ version });
  await alice.join(peer.room.roomId, [peer.name]);
  return peer;
}

const notFound = { status: 404, json: { errcode: 'M_NOT_FOUND', error: 'No such event' } };

test('an event whose past cannot be had is given up, and taken when it comes again after its past', async () => {
  await using peer = await peerWithGuest('12');
  const mallory = peer.user('mallory');
  const before = peer.room.message(mallory, 'before');
  const event = peer.room.message(mallory, 'the event');
  peer.script = ({ url }) =>
    /missing_events|state_ids|\/state\/|\/event\//.test(url) ? notFound : undefined;
  await peer.send(server, [event]);
  await until(async () => peer.asked('/state_ids/').length > 0);
  await peer.send(server, [before]);
  assert.deepEqual(await untilMessages(alice, peer.room.roomId, ['before']), ['before']);
  await peer.send(server, [event]);
  assert.deepEqual(await untilMessages(alice, peer.room.roomId, ['the event']), ['before', 'the event']);
});

test('an event that is rejected for a state that its server tells wrongly is taken when its past arrives', async () => {
  await using peer = await peerWithGuest('11');
  const [mallory, oscar] = [peer.user('mallory'), peer.user('oscar')];
  const joined = peer.room.join(oscar);
  await peer.send(server, [joined]);
  await until(async () => (await loadEvent(server.ctx, joined.eventId))?.position !== undefined);
  const wrong = [...peer.room.stateMap.values()];
  const power = peer.room.state(mallory, 'm.room.power_levels', '', {
    users: { [mallory]: 100, [oscar]: 50 },
  });
  const name = peer.room.state(oscar, 'm.room.name', '', { name: 'by oscar' });
  // With it the state would be right in spite of what is told.
  peer.hidden.add(power.eventId);
  peer.script = ({ url }) => {
    if (url.includes('/get_missing_events/')) return { json: { events: [] } };
    if (!url.includes('/state_ids/')) return undefined;
    return { json: { pdu_ids: wrong.map(({ eventId }) => eventId), auth_chain_ids: [] } };
  };
  await peer.send(server, [name]);
  await until(async () => (await loadEvent(server.ctx, name.eventId))?.status === 'rejected');
  peer.script = () => undefined;
  await peer.send(server, [power]);
  await until(async () => (await loadEvent(server.ctx, name.eventId))?.status === 'accepted');
  const path = `${inRoom(peer.room.roomId)}/state/m.room.name`;
  assert.deepEqual(await alice.get(path), { name: 'by oscar' });
});

test('events with a rejected auth event are rejected, whether event_auth tells of it or not, and clients see none', async () => {
  await using peer = await peerWithGuest('11');
  const { room } = peer;
  const oscar = peer.user('oscar');
  await peer.send(server, [room.join(oscar)]);
  const rejected = room.fork().state(oscar, 'm.room.power_levels', '', { users: {} });
  await peer.send(server, [rejected]);
  await until(async () => (await loadEvent(server.ctx, rejected.eventId))?.status === 'rejected');
  const member = room.get('m.room.member', oscar);
  const outlier = room.draft(oscar, {
    type: 'm.room.member',
    state_key: oscar,
    content: { membership: 'join', test: 1 },
    auth_events: ['m.room.create', 'm.room.join_rules']
      .flatMap((type) => room.get(type) ?? [])
      .concat(member ?? [], rejected)
      .map(({ eventId }) => eventId),
  });
  room.events.set(outlier.eventId, outlier);
  room.events.set(rejected.eventId, rejected);
  const cite = (body: string): Event => {
    const { authEvents } = room.draft(oscar, { type: 'm.room.message' });
    const content = { msgtype: 'm.text', body };
    return room
      .fork()
      .send(oscar, { type: 'm.room.message', content, auth_events: [...authEvents, outlier.eventId] });
  };
  const [told, untold] = [cite('told'), cite('untold')];
  peer.script = ({ url }) =>
    decodeURIComponent(url).includes(`/event_auth/`) && url.includes(encodeURIComponent(untold.eventId))
      ? notFound
      : undefined;
  const sentinel = room.message(oscar, 'sentinel');
  await peer.send(server, [told, untold, sentinel]);
  assert.deepEqual(await untilMessages(alice, room.roomId, ['sentinel']), ['sentinel']);
  for (const event of [rejected, outlier, told, untold]) {
    assert.equal((await loadEvent(server.ctx, event.eventId))?.status, 'rejected', event.type);
    const seen = await alice.try('GET', `${inRoom(room.roomId)}/event/${encodeURIComponent(event.eventId)}`);
    assert.equal(seen.status, 404);
  }
});

/** Events that were soft-failed because the policy server had not signed them, and that it signs later. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { inRoom, messagesOf, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { enterPolicyRoom, PolicyPeer } from '#test/harness/policy-peer.ts';
import { until } from '#test/harness/until.ts';

const MINUTE_MS = 60_000;
/** It stands still until it is set. */
const clock = { ts: Date.now() - 24 * 60 * MINUTE_MS, now: () => clock.ts };
const fleet = await startFleet(1, { clock });
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);

const REFUSED = { status: 400, json: { errcode: 'M_FORBIDDEN', error: 'no' } };
const AWAY = { status: 500, json: {} };

async function statusOf({ eventId }: Event): Promise<unknown> {
  return (await loadEvent(server.ctx, eventId))?.status;
}

async function untilStatus(event: Event, status: string): Promise<void> {
  await until(async () => (await statusOf(event)) === status, `that the event is ${status}`);
}

test('a copy that has the signature is judged anew, whether the room has gone on or not', async () => {
  for (const goesOn of [false, true]) {
    await using room = await enterPolicyRoom(fleet);
    const { peer, alice, roomId } = room;
    const mallory = peer.user('mallory');
    peer.judge = () => REFUSED;
    const [said, named] = [
      peer.room.message(mallory, 'said'),
      peer.room.state(mallory, 'm.room.name', '', { name: 'Late' }),
    ];
    await peer.send(server, [said, named]);
    for (const event of [said, named]) await untilStatus(event, 'soft_failed');
    if (goesOn) {
      await peer.send(server, [peer.signed(peer.room.message(mallory, 'later'))]);
      await untilMessages(alice, roomId, ['later']);
    }
    const { next_batch: since } = await alice.sync();
    await peer.send(server, [peer.signed(said), peer.signed(named)]);
    for (const event of [said, named]) await untilStatus(event, 'accepted');
    assert.deepEqual(await messagesOf(alice, roomId), goesOn ? ['later', 'said'] : ['said']);
    const { rooms } = await alice.sync({ since });
    assert.deepEqual(
      rooms.join[roomId].timeline.events.map((event: { event_id: string }) => event.event_id),
      [said.eventId, named.eventId],
    );
    assert.deepEqual(await alice.get(`${inRoom(roomId)}/state/m.room.name`), { name: 'Late' });
    assert.match((await loadEvent(server.ctx, said.eventId))?.event.json ?? '', /policy_server/);
    peer.judge = () => undefined;
    await alice.send(roomId, 'still here');
  }
});

test('a copy with the signature of another key changes nothing, nor does the signature of what the rules forbade', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  const [mallory, eve] = [peer.user('mallory'), peer.user('eve')];
  const setMember = (sender: UserId, membership: string) =>
    peer.room.state(sender, 'm.room.member', eve, { membership });
  peer.judge = () => REFUSED;
  const joined = setMember(eve, 'join');
  const fork = peer.room.fork();
  const banned = setMember(mallory, 'ban');
  await peer.send(server, [peer.signed(joined), peer.signed(banned)]);
  await untilMember(alice, roomId, eve, 'ban');
  const forbidden = fork.message(eve, 'forbidden');
  const said = peer.room.message(mallory, 'said');
  await peer.send(server, [forbidden, said]);
  for (const event of [forbidden, said]) await untilStatus(event, 'soft_failed');
  const back = [setMember(mallory, 'leave'), setMember(eve, 'join')].map((event) => peer.signed(event));
  const { keyPair } = peer;
  peer.keyPair = new PolicyPeer(fleet.authority).keyPair;
  const copy = peer.signed(said);
  peer.keyPair = keyPair;
  const next = peer.signed(peer.room.message(mallory, 'next'));
  await peer.send(server, [...back, peer.signed(forbidden), copy, next]);
  await untilMessages(alice, roomId, ['next']);
  assert.deepEqual(await Promise.all([forbidden, said].map(statusOf)), ['soft_failed', 'soft_failed']);
  assert.deepEqual(await messagesOf(alice, roomId), ['next']);
});

test('what comes while the policy server is away is asked for again, and then seen; what it refuses is not', async () => {
  await using room = await enterPolicyRoom(fleet);
  const { peer, alice, roomId } = room;
  const mallory = peer.user('mallory');
  peer.judge = () => AWAY;
  const [said, spam] = [peer.room.message(mallory, 'said'), peer.room.message(mallory, 'spam')];
  await peer.send(server, [said, spam]);
  for (const event of [said, spam]) await untilStatus(event, 'soft_failed');
  // The room goes on meanwhile.
  await peer.send(server, [peer.signed(peer.room.message(mallory, 'signed'))]);
  await untilMessages(alice, roomId, ['signed']);
  peer.judge = ({ content }) => (content.body === 'spam' ? REFUSED : undefined);
  peer.judged.length = 0;
  clock.ts += MINUTE_MS;
  await server.restart();
  await untilMessages(alice, roomId, ['signed', 'said']);
  await until(() => peer.judged.length === 2);
  clock.ts += 24 * 60 * MINUTE_MS;
  await server.restart();
  const last = peer.signed(peer.room.message(mallory, 'last'));
  await peer.send(server, [last]);
  await untilMessages(alice, roomId, ['last']);
  assert.deepEqual(await messagesOf(alice, roomId), ['signed', 'said', 'last']);
  // Once is enough.
  assert.deepEqual(peer.judged.map(({ content }) => content.body).sort(), ['said', 'spam']);
});

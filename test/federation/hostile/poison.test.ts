/**
 * Each shape of wrong event, by each way on which events come from other servers. The events beside it are taken in,
 * the room is read by users and servers as before, and nothing fails by a fault of ours.
 */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { rulesOf, SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { register } from '#test/harness/client.ts';
import { inRoom, membershipOf, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { isLongRun } from '#test/harness/long-run.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { seed } from '#test/harness/rounds.ts';
import { CORPUS, shapesFor } from '#test/rooms/poison/corpus.ts';
import type { Poison, Shape } from '#test/rooms/poison/shape.ts';
import { readAsServer, readWhole } from './poison/aftermath.ts';
import { dealt, PoisonedRoom, wrongsOf } from './poison/poisoned-room.ts';

const faults: string[] = [];
const fleet = await startFleet(1, {
  logTo: (line) => {
    if (/"level":"(error|fatal)"/.test(line)) faults.push(line);
  },
});
const peers = new AsyncDisposableStack();
after(async () => {
  await fleet[Symbol.asyncDispose]();
  await peers.disposeAsync();
});
const server = fleet.at(0);
const alice = await register(server, 'alice');

/** On a server of its own, which stays to the end: another one at the same port would have a room of the same id. */
async function poisonedRoom(version: string): Promise<PoisonedRoom> {
  const peer = peers.use(new RoomPeer(fleet.authority));
  return new PoisonedRoom(await peer.start(), version);
}

/** Those that can stand beside others in one text. */
function whole(shapes: readonly Shape[]): Shape[] {
  return shapes.filter(({ isTorn }) => isTorn !== true);
}

/** The room goes on, and everybody reads all of it. */
async function checkAfter(poisoned: PoisonedRoom): Promise<void> {
  const { peer, room, good } = poisoned;
  peer.script = () => undefined;
  await peer.send(server, poisoned.say());
  await untilMessages(alice, room.roomId, good.slice(-1));
  await alice.send(room.roomId, 'and here');
  const read = await readWhole(alice, room.roomId);
  assert.deepEqual(
    good.filter((body) => !read.includes(body)),
    [],
    'good messages are missing',
  );
  await readAsServer(server, peer);
  assert.deepEqual(faults, []);
}

for (const [index, version] of SUPPORTED_VERSIONS.entries()) {
  // Each takes a while: of the five ways every second one in every second version, others for another seed.
  const ways = [0, 1, 2, 3, 4].map((way) => isLongRun || (seed + index + way) % 2 === 0);
  const [byTransaction, bySendJoin, byBackfill, byGap, byInvite] = ways.map((isTried) =>
    isTried ? test : none,
  );

  byTransaction?.(
    `F28: v${version}: poison in a transaction does not keep the other events out`,
    async (t) => {
      t.diagnostic(`seed ${seed}`);
      const poisoned = await poisonedRoom(version);
      const { peer, room } = poisoned;
      await alice.join(room.roomId, [peer.name]);
      await readWhole(alice, room.roomId);
      const shapes = whole(shapesFor(room.rules));
      const poisons: Poison[] = [];
      for (const portion of dealt(shapes, 25)) {
        const pdus: (Event | string)[] = [];
        for (const shape of portion) {
          const poison = poisoned.poison(shape);
          poisons.push(poison);
          pdus.push(poison.text, ...poisoned.say());
        }
        const { status, body } = await peer.send(server, pdus);
        assert.equal(status, 200);
        for (const pdu of pdus) if (typeof pdu !== 'string') assert.deepEqual(body.pdus[pdu.eventId], {});
        await untilMessages(alice, room.roomId, poisoned.good.slice(-1));
      }
      assert.deepEqual(await wrongsOf(server, room, poisons, 'placed'), []);
      await checkAfter(poisoned);
    },
  );

  bySendJoin?.(
    `v${version}: poison in the answer to send_join does not keep the rest of the state out`,
    async (t) => {
      t.diagnostic(`seed ${seed}`);
      const poisoned = await poisonedRoom(version);
      const { peer, room } = poisoned;
      const shapes = whole(shapesFor(room.rules));
      const poisons = shapes.map((shape) => poisoned.poison(shape));
      const texts = poisons.map(({ text }) => text);
      const state = [...room.stateMap.values()].map(({ json }) => json);
      peer.script = ({ url }) => {
        if (!url.includes('/send_join/')) return undefined;
        const lists = [
          `"state":[${[...state, ...texts.filter((_, index) => index % 2 === 0)].join(',')}]`,
          `"auth_chain":[${[...state, ...texts.filter((_, index) => index % 2 === 1)].join(',')}]`,
        ];
        return (response) => response.end(`{${lists.join(',')},"servers_in_room":[7]}`);
      };
      await alice.join(room.roomId, [peer.name]);
      const now: JsonObject[] = await alice.get(`${inRoom(room.roomId)}/state`);
      const ids = new Set(now.map((event) => event.event_id));
      for (const { eventId, type } of room.stateMap.values()) assert.ok(ids.has(eventId), type);
      assert.deepEqual(await wrongsOf(server, room, poisons, 'told as state'), []);
      poisoned.good.splice(0);
      await checkAfter(poisoned);
    },
  );

  byBackfill?.(
    `v${version}: poison in a page of backfill does not keep the rest of the history out`,
    async (t) => {
      t.diagnostic(`seed ${seed}`);
      const rules = rulesOf(version);
      assert.ok(rules);
      const shapes = whole(shapesFor(rules));
      // A room of its own for so many: what is dropped stays at the rim of the history, where it is asked for again.
      for (const part of dealt(shapes, 100)) {
        const poisoned = await poisonedRoom(version);
        const { peer, room } = poisoned;
        const poisons: Poison[] = [];
        for (const portion of dealt(part, 15)) {
          const made = portion.map((shape) => poisoned.poison(shape));
          poisons.push(...made);
          poisoned.sayAfter(made);
        }
        peer.script = poisoned.tellPast;
        await alice.join(room.roomId, [peer.name]);
        const read = await readWhole(alice, room.roomId);
        assert.deepEqual(
          poisoned.good.filter((body) => !read.includes(body)),
          [],
        );
        assert.deepEqual(await wrongsOf(server, room, poisons, 'placed'), []);
        await checkAfter(poisoned);
      }
    },
  );

  byGap?.(
    `v${version}: poison in the answer to get_missing_events does not keep the rest of the gap out`,
    async (t) => {
      t.diagnostic(`seed ${seed}`);
      const poisoned = await poisonedRoom(version);
      const { peer, room } = poisoned;
      await alice.join(room.roomId, [peer.name]);
      await readWhole(alice, room.roomId);
      const shapes = whole(shapesFor(room.rules));
      const poisons: Poison[] = [];
      for (const portion of dealt(shapes, 15)) {
        const before = poisoned.say(2);
        const made = portion.map((shape) => poisoned.poison(shape));
        poisons.push(...made);
        const last = poisoned.sayAfter(made);
        const [next] = poisoned.say();
        const texts = [...before, ...made, last].map((event) => ('json' in event ? event.json : event.text));
        let asked = 0;
        peer.script = ({ url }) => {
          if (!url.includes('/get_missing_events/')) return undefined;
          asked += 1;
          return (response) => response.end(`{"events":[${asked === 1 ? texts.join(',') : ''}]}`);
        };
        await peer.send(server, next === undefined ? [] : [next]);
        await untilMessages(alice, room.roomId, poisoned.good.slice(-4));
      }
      assert.deepEqual(await wrongsOf(server, room, poisons, 'placed'), []);
      await checkAfter(poisoned);
    },
  );

  byInvite?.(
    `v${version}: poison as an invitation, or beside one, is signed only if it is one, and can be declined`,
    async (t) => {
      t.diagnostic(`seed ${seed}`);
      const poisoned = await poisonedRoom(version);
      const { peer, room } = poisoned;
      const invitation = {
        type: 'm.room.member',
        state_key: alice.userId,
        content: { membership: 'invite' },
      };
      const invite = (eventId: string, event: string, state: readonly string[]) => {
        const path = `/_matrix/federation/v2/invite/${encodeURIComponent(room.roomId)}/${encodeURIComponent(eventId)}`;
        const members = [
          `"event":${event}`,
          `"invite_room_state":[${state.join(',')}]`,
          `"room_version":"${version}"`,
        ];
        return peer.request(server, { method: 'PUT', path, body: `{${members.join(',')}}` });
      };
      const shapes = shapesFor(room.rules);
      const wrong: string[] = [];
      for (const shape of shapes) {
        const { text, eventId = '$none', pdu, outcome, isTorn } = poisoned.poison(shape, invitation);
        const { status } = await invite(eventId, text, [room.create.json]);
        const isInvitation =
          encodeId(pdu) === encodeId({ ...invitation, room_id: room.roomId, sender: peer.user('mallory') });
        const isRight =
          status === 200 ? isInvitation && TAKEN.has(outcome) : status === 400 || status === 403;
        const isDue = isInvitation && outcome === 'accepted' && !isTorn;
        if (!isRight || (isDue && status !== 200)) wrong.push(`${shape.name}: ${status}, ${outcome}`);
      }
      assert.deepEqual(wrong, []);
      for (const portion of room.rules.roomIdIsCreateHash ? dealt(shapes, 1) : dealt(whole(shapes), 45)) {
        const event = room.draft(peer.user('mallory'), {
          ...invitation,
          origin_server_ts: 1_600_000_000_000,
        });
        const texts = portion.map((shape) => poisoned.poison(shape).text);
        const { status } = await invite(event.eventId, event.json, [room.create.json, ...texts]);
        // Version 12: "if any of the events are not a PDU, not for the room [...], the server MUST respond with 400".
        assert.ok(status === 200 || (room.rules.roomIdIsCreateHash && status === 400), `${status}`);
      }
      const { rooms } = await alice.sync();
      const shown: JsonObject[] = rooms.invite[room.roomId].invite_state.events;
      for (const { type, state_key, sender } of shown) {
        assert.deepEqual([typeof type, typeof state_key, typeof sender], ['string', 'string', 'string']);
      }
      await alice.post(`${inRoom(room.roomId)}/leave`);
      assert.equal(await membershipOf(alice, room.roomId, alice.userId), undefined);
      assert.deepEqual(faults, []);
    },
  );
}

test('row 29: a transaction that is no JSON because of one event is refused whole, and taken without that event', async () => {
  const poisoned = await poisonedRoom('12');
  const { peer, room } = poisoned;
  await alice.join(room.roomId, [peer.name]);
  for (const shape of CORPUS.filter(({ isTorn }) => isTorn)) {
    const { text } = poisoned.poison(shape);
    const good = poisoned.say();
    const { status } = await peer.send(server, [...good, text]);
    assert.equal(status, 400, shape.name);
    assert.equal((await peer.send(server, good)).status, 200);
  }
  await untilMessages(alice, room.roomId, poisoned.good.slice(-1));
  await checkAfter(poisoned);
});

/** Of a test that is not for this time. */
function none(): void {}

/** What the invited server cannot know: whether the room allows it. */
const TAKEN = new Set(['accepted', 'waiting', 'rejected']);

/** What makes an invitation what it is. */
function encodeId({ type, state_key, room_id, content }: JsonObject): string {
  const { membership } = (content ?? {}) as JsonObject;
  return JSON.stringify([type, state_key, room_id, membership]);
}

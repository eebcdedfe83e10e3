/** A join is all or nothing, and goes on with the next server. */

import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, test } from 'node:test';
import { JoinProgress } from '#federation/handshakes/join-progress.ts';
import { StallLimit } from '#federation/network/time-limit.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { loadEvent } from '#rooms/load.ts';
import { getRoom } from '#rooms/room.ts';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { type Body, register } from '#test/harness/client.ts';
import { inRoom, membershipOf, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerRequest } from '#test/harness/peer.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const lines: Body[] = [];
const fleet = await startFleet(1, { logTo: (line) => lines.push(JSON.parse(line)) });
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');
const encode = encodeURIComponent;

/** A server with a room, and another one that has the same room. */
async function twoResidents(version: string): Promise<{ first: RoomPeer; second: RoomPeer }> {
  const first = await new RoomPeer(fleet.authority).start();
  const second = await new RoomPeer(fleet.authority).start();
  first.makeRoom({ version, join_rule: 'public', members: [second.user('member')] });
  second.script = (request) => (request.url.includes('/key/') ? undefined : first.usual(request));
  return { first, second };
}

function join(roomId: string, via: readonly RoomPeer[]) {
  const query = via.map(({ name }) => `via=${encode(name)}`).join('&');
  return alice.try('POST', `/join/${encode(roomId)}?${query}`);
}

/** Writes so much of a JSON answer, and then does what ends it. */
function brokenOff(json: object, share: number, end: (response: ServerResponse) => void) {
  return (response: ServerResponse): void => {
    const text = encodeCanonical(json as never);
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
    });
    response.write(text.slice(0, text.length * share), () => end(response));
  };
}

for (const version of SUPPORTED_VERSIONS) {
  test(`v${version}: the first server dies amid its answer, the second completes the join, nothing of the first remains`, async () => {
    const { first, second } = await twoResidents(version);
    await using _first = first;
    await using _second = second;
    const { room } = first;
    const mallory = first.user('mallory');
    // Only the first one tells of it, and it is whole in what arrives.
    const onlyThere = room.draft(mallory, {
      type: 'org.example.first',
      state_key: '',
      content: { first: true },
    });
    first.script = (request) => {
      const usual = request.url.includes('/send_join/') ? first.usual(request) : undefined;
      if (typeof usual !== 'object') return undefined;
      const padding = Array.from(
        { length: 200 },
        (_, index) => room.fork().message(mallory, `pad ${index}`).pdu,
      );
      const state = [onlyThere.pdu, ...(usual.json.state as Body[]), ...padding];
      // In the order of its keys the state comes last.
      return brokenOff({ auth_chain: usual.json.auth_chain, state }, 0.8, (response) => response.destroy());
    };
    const { status, body } = await join(room.roomId, [first, second]);
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(first.asked('/send_join/').length, 1);
    assert.equal(second.asked('/send_join/').length, 1);
    assert.equal(await loadEvent(server.ctx, onlyThere.eventId), undefined);
    const state: Body[] = await alice.get(`${inRoom(room.roomId)}/state`);
    assert.deepEqual(
      state.map(({ event_id: id }) => id).sort(),
      [...room.stateMap.values()].map(({ eventId }) => eventId).sort(),
    );
    await first.send(server, [room.message(mallory, 'welcome')]);
    await untilMessages(alice, room.roomId, ['welcome']);
  });
}

test('where every server dies amid its answer, nothing of the room is there, and it can be joined later', async () => {
  const { first, second } = await twoResidents('12');
  await using _first = first;
  await using _second = second;
  const { room } = first;
  const dying = (request: PeerRequest) => {
    const usual = request.url.includes('/send_join/') ? first.usual(request) : undefined;
    return typeof usual === 'object'
      ? brokenOff(usual.json, 0.9, (response) => response.destroy())
      : undefined;
  };
  const { script } = second;
  first.script = dying;
  second.script = (request) => dying(request) ?? script(request);
  const { status, body } = await join(room.roomId, [first, second]);
  assert.deepEqual([status, body.errcode], [504, 'M_UNKNOWN']);
  assert.equal(await membershipOf(alice, room.roomId, alice.userId), undefined);
  assert.equal((await alice.sync()).rooms?.join?.[room.roomId], undefined);
  assert.equal(await getRoom(server.ctx, room.roomId), undefined);
  assert.equal(await loadEvent(server.ctx, room.create.eventId), undefined);
  first.script = () => undefined;
  assert.equal((await join(room.roomId, [first])).status, 200);
});

test('an operator sees that a join begins, what has come, and that it is done', async () => {
  const { first, second } = await twoResidents('12');
  await using _first = first;
  await using _second = second;
  const { room } = first;
  lines.length = 0;
  assert.equal((await join(room.roomId, [first])).status, 200);
  const ofRoom = lines.filter(({ roomId, level }) => roomId === room.roomId && level === 'info');
  assert.deepEqual(
    ofRoom.map(({ msg }) => msg),
    ['joining a room through a server', 'the state of a room has come', 'joined a room through a server'],
  );
  for (const line of ofRoom) assert.equal(line.server, first.name);
  const [begun, come] = ofRoom;
  assert.equal(begun.version, '12');
  // The state and its auth chains, which are all of this room but the join itself.
  assert.deepEqual([come.events, come.servers], [room.events.size - 1, 1]);
});

test('of a large room an operator sees that its state keeps coming', () => {
  const seen: unknown[] = [];
  const note = (fields: object, message: string): void => {
    seen.push([message, 'events' in fields ? fields.events : undefined]);
  };
  const log = { debug: note, info: note, warn: note, error: note };
  const progress = new JoinProgress(log, { roomId: '!a:b', server: 'b', version: '12' });
  for (let count = 0; count < 700; count++) progress.took(32);
  assert.deepEqual(seen.slice(1), [
    ['the state of a room is coming', 10_016],
    ['the state of a room is coming', 20_000],
  ]);
});

test('what has begun to come and does not go on is given up, and what we do meanwhile does not count', async () => {
  const never = new AbortController();
  using limit = new StallLimit(20, never.signal);
  const { promise: work, resolve } = Promise.withResolvers<string>();
  const during = limit.during(() => work);
  using other = new StallLimit(20, never.signal);
  await other.during(async () => undefined);
  await until(() => other.signal.aborted, 'that the other has stalled');
  assert.deepEqual([other.hasStalled, limit.signal.aborted], [true, false]);
  resolve('done');
  assert.equal(await during, 'done');
  await until(() => limit.hasStalled, 'that it has stalled');
  assert.ok(limit.signal.aborted);
  using ended = new StallLimit(20, never.signal);
  never.abort();
  assert.deepEqual([ended.signal.aborted, ended.hasStalled], [true, false]);
});

import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { after, test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { getRoom } from '#rooms/room.ts';
import { currentState } from '#rooms/state.ts';
import { sql } from '#storage/sql.ts';
import { register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerAnswer } from '#test/harness/peer.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');

const ROWS = sql<[], { rows: number }>(
  'test.joinedState.rows',
  `SELECT (SELECT COUNT(*) FROM events) + (SELECT COUNT(*) FROM current_state) + (SELECT COUNT(*) FROM rooms)
     + (SELECT COUNT(*) FROM memberships) + (SELECT COUNT(*) FROM state_nodes) AS rows`,
);

async function peerWithRoom(): Promise<RoomPeer> {
  const peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  for (let number = 0; number < 100; number++)
    room.join(peer.user(`user${number}`), { displayname: `ü😀 ${number}` });
  return peer;
}

function tryJoin(peer: RoomPeer): Promise<{ status: number }> {
  const path = `/join/${encodeURIComponent(peer.room.roomId)}?via=${encodeURIComponent(peer.name)}`;
  return alice.try('POST', path);
}

/** Lets `send_join` answer with another text than usual, in pieces of some bytes. */
function answersWith(peer: RoomPeer, change: (text: string) => string, pieceBytes = 65_536): void {
  peer.script = (request) => {
    if (!request.url.includes('/send_join/')) return undefined;
    const usual = peer.usual(request);
    if (typeof usual === 'function') return usual;
    return pieces(bytes(Buffer.from(change(encodeCanonical(usual.json))), pieceBytes));
  };
}

function* bytes(whole: Buffer, pieceBytes: number): Generator<Buffer> {
  for (let from = 0; from < whole.length; from += pieceBytes) yield whole.subarray(from, from + pieceBytes);
}

/** Answers with these pieces, as fast as they are read, until Kurir hangs up. */
function pieces(of: Iterable<Buffer>): PeerAnswer {
  return async (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    await pipeline(Readable.from(of), response).catch(() => undefined);
  };
}

async function rows(): Promise<number> {
  return (await server.ctx.db.get(ROWS))?.rows ?? -1;
}

async function stateSize(peer: RoomPeer): Promise<number> {
  const room = await getRoom(server.ctx, peer.room.roomId);
  assert.ok(room);
  return (await currentState(server.ctx, room.roomNid)).length;
}

const odd: Readonly<Record<string, (text: string) => string>> = {
  'items that are no events': (text) => text.replace('"state":[', '"state":[7,null,"x",[],{},{"type":{}},'),
  'an event of 600 KB': (text) => text.replace('"state":[', `"state":[{"x":"${'x'.repeat(600_000)}"},`),
  'an event that is no JSON': (text) => text.replace('"state":[', '"state":[{"x":tru},'),
  'a megabyte of white space': (text) => text.replaceAll('"state":[', `"state":${' \n'.repeat(500_000)}[`),
  'members that nobody knows': (text) => `{"x":${'['.repeat(50_000)}${']'.repeat(50_000)},${text.slice(1)}`,
  'servers_in_room that are none': (text) =>
    text.replace(/"servers_in_room":\[/, '"servers_in_room":[7,{},"?",'),
  'servers_in_room that is no list': (text) =>
    text.replace(/"servers_in_room":\[[^\]]*\]/, '"servers_in_room":{}'),
  'members_omitted that is no boolean': (text) =>
    text.replace('"members_omitted":false', '"members_omitted":"true"'),
};

for (const [what, change] of Object.entries(odd)) {
  test(`a state with ${what} makes the room with all the rest`, async () => {
    await using peer = await peerWithRoom();
    answersWith(peer, change);
    assert.equal((await tryJoin(peer)).status, 200);
    assert.equal(await stateSize(peer), peer.room.stateMap.size);
  });
}

test('a state that comes in pieces of 7 bytes, characters split, makes the room', async () => {
  await using peer = await peerWithRoom();
  answersWith(peer, (text) => text, 7);
  assert.equal((await tryJoin(peer)).status, 200);
  assert.equal(await stateSize(peer), peer.room.stateMap.size);
});

const broken: Readonly<Record<string, (text: string) => string>> = {
  'ends early': (text) => text.slice(0, text.length / 2),
  'ends one bracket early': (text) => text.slice(0, -1),
  'is followed by something': (text) => `${text}x`,
  'has two lists of state': (text) => `{"state":[],${text.slice(1)}`,
  'has no auth chain': (text) => text.replace('"auth_chain":', '"auth_chains":'),
  'has a state that is no list': (text) => text.replace('"state":[', '"state":{"x":[').replace(/}$/, '}}'),
  'leaves the members out': (text) => text.replace('"members_omitted":false', '"members_omitted":true'),
  'has too many events': (text) => text.replace('"state":[', `"state":[${'0,'.repeat(250_001)}`),
};

for (const [what, change] of Object.entries(broken)) {
  test(`an answer that ${what} makes no room and leaves nothing behind; a good one does then`, async () => {
    await using peer = await peerWithRoom();
    answersWith(peer, change);
    const before = await rows();
    assert.equal((await tryJoin(peer)).status, 504);
    assert.equal(await rows(), before);
    assert.equal(await getRoom(server.ctx, peer.room.roomId), undefined);
    answersWith(peer, (text) => text);
    assert.equal((await tryJoin(peer)).status, 200);
  });
}

test('an answer that breaks off makes no room and leaves nothing behind', async () => {
  await using peer = await peerWithRoom();
  peer.script = (request) => {
    if (!request.url.includes('/send_join/')) return undefined;
    const usual = peer.usual(request);
    assert.ok(typeof usual !== 'function');
    return (response) => {
      const text = encodeCanonical(usual.json);
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write(text.slice(0, text.length / 2), () => response.destroy());
    };
  };
  const before = await rows();
  assert.equal((await tryJoin(peer)).status, 504);
  assert.equal(await rows(), before);
});

test('300 MB of an answer are not taken: it is cut off at 256 MiB, and memory stays small', async () => {
  await using peer = await peerWithRoom();
  const piece = Buffer.alloc(1024 * 1024, ' ');
  let written = 0;
  const endless = function* () {
    for (; written < 300; written++) yield piece;
  };
  peer.script = ({ url }) => (url.includes('/send_join/') ? pieces(endless()) : undefined);
  const before = process.memoryUsage().rss;
  assert.equal((await tryJoin(peer)).status, 504);
  assert.ok(written >= 256 && written < 300, `${written} MiB were written`);
  assert.ok(process.memoryUsage().rss - before < 150 * 1024 * 1024);
});

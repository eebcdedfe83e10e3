import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import type { TakeStateEvents } from '#federation/handshakes/joined-state.ts';
import * as events from '#federation/remote/events.ts';
import * as memberships from '#federation/remote/memberships.ts';
import * as queries from '#federation/remote/queries.ts';
import { hierarchy } from '#federation/remote/spaces.ts';
import { timestampToEvent } from '#federation/remote/timestamps.ts';
import { sendTransaction } from '#federation/remote/transaction.ts';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import type { EventId, RoomId } from '#keys/ids.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { type Connected, connectFederation } from '#test/harness/connect.ts';
import { temporarySqlite } from '#test/harness/databases.ts';
import { type Peer, startPeer } from '#test/harness/peer.ts';

const authority = await createAuthority();
const signingKey = { keyPair: keyPairFromSeed('ours', generateSeed()), oldKeys: [] };
const roomId: RoomId = '!r/o:a.test';
const eventId: EventId = '$e/1';

interface World extends AsyncDisposable {
  readonly ctx: Connected;
  readonly peer: Peer;
}

/** A peer that answers everything with this text, or with one after the other. */
async function answering(...bodies: readonly (string | Buffer)[]): Promise<World> {
  let answered = 0;
  const answer = () => (response: ServerResponse) => {
    response.end(bodies[answered % bodies.length]);
    answered += 1;
  };
  const peer = await startPeer({ authority, answer });
  const database = await temporarySqlite();
  const options = { serverName: 'kurir.test', signingKey, db: database.db, clock: Date, allowPrivate: true };
  const ctx = connectFederation({ ...options, extraCa: authority.cert });
  const dispose = async () => {
    await ctx.client[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  };
  return { ctx, peer, [Symbol.asyncDispose]: dispose };
}

test('PDUs come back as the text that was sent, each for itself', async () => {
  const odd = '{"depth": 1.0, "a":{"__proto__":1},"n":9007199254740993, "s":"\\ud800" }';
  await using world = await answering(`{"pdus":[${odd}, {"b":2}],"origin":"x"}`);
  const got = await events.backfill(world.ctx, world.peer.name, { roomId, from: [eventId, '$f'], limit: 10 });
  assert.deepEqual(got, { kind: 'ok', value: [odd, '{"b":2}'] });
  const url = world.peer.requests[0]?.url;
  assert.equal(url, '/_matrix/federation/v1/backfill/!r%2Fo%3Aa.test?v=%24e%2F1&v=%24f&limit=10');
});

test('no more events are taken than were asked for', async () => {
  await using world = await answering(`{"pdus":[${'{},'.repeat(30)}{}],"events":[${'{},'.repeat(30)}{}]}`);
  const backfilled = await events.backfill(world.ctx, world.peer.name, { roomId, from: [eventId], limit: 5 });
  assert.ok(backfilled.kind === 'ok' && backfilled.value.length === 5);
  const wanted = { roomId, earliest: ['$a'], latest: [eventId], limit: 5, minDepth: 0 } as const;
  const missing = await events.getMissingEvents(world.ctx, world.peer.name, wanted);
  assert.ok(missing.kind === 'ok' && missing.value.length === 6);
});

test('send_join: state, auth chain, the signed event and the servers in the room', async () => {
  const body = `{"auth_chain":[{"a":1}],"state":[{"s":1},{"s":2}],"event":{"type":"m","b":1,"a":2},
    "members_omitted":false,"servers_in_room":["a.test","not a name",7,"b.test:1"]}`;
  await using world = await answering(body);
  const pdu = { type: 'm.room.member', signatures: {} };
  const taken: Record<string, (string | undefined)[]> = { state: [], auth_chain: [] };
  const take: TakeStateEvents = async (list, texts) => {
    taken[list]?.push(...texts);
  };
  const joined = await memberships.sendJoin(world.ctx, world.peer.name, { roomId, eventId, pdu }, { take });
  assert.deepEqual(taken, { state: ['{"s":1}', '{"s":2}'], auth_chain: ['{"a":1}'] });
  assert.deepEqual(joined, {
    kind: 'ok',
    value: {
      event: '{"a":2,"b":1,"type":"m"}',
      membersOmitted: false,
      serversInRoom: ['a.test', 'b.test:1'],
    },
  });
  const [request] = world.peer.requests;
  assert.equal(request?.method, 'PUT');
  assert.equal(request?.url, '/_matrix/federation/v2/send_join/!r%2Fo%3Aa.test/%24e%2F1?omit_members=false');
  assert.deepEqual(JSON.parse(request?.body ?? ''), pdu);
});

test('make_join names every room version that we know', async () => {
  await using world = await answering('{"room_version":"11","event":{"type":"m.room.member"}}');
  const join = { roomId, userId: '@u:kurir.test', versions: ['10', '11'] } as const;
  const made = await memberships.makeJoin(world.ctx, world.peer.name, join);
  assert.deepEqual(made, { kind: 'ok', value: { roomVersion: '11', event: { type: 'm.room.member' } } });
  const path = '/_matrix/federation/v1/make_join/!r%2Fo%3Aa.test/%40u%3Akurir.test';
  assert.equal(world.peer.requests[0]?.url, `${path}?ver=10&ver=11`);
});

const calls: Readonly<Record<string, (world: World) => Promise<{ kind: string; reason?: string }>>> = {
  makeJoin: ({ ctx, peer }) =>
    memberships.makeJoin(ctx, peer.name, { roomId, userId: '@u:x', versions: ['10'] }),
  sendJoin: ({ ctx, peer }) =>
    memberships.sendJoin(ctx, peer.name, { roomId, eventId, pdu: {} }, { take: async () => {} }),
  makeLeave: ({ ctx, peer }) => memberships.makeLeave(ctx, peer.name, { roomId, userId: '@u:x' }),
  invite: ({ ctx, peer }) =>
    memberships.invite(ctx, peer.name, { roomId, eventId, roomVersion: '10', pdu: {}, inviteRoomState: [] }),
  sendTransaction: ({ ctx, peer }) => sendTransaction(ctx, peer.name, { txnId: 't', body: '{}' }),
  getEvent: ({ ctx, peer }) => events.getEvent(ctx, peer.name, eventId),
  getState: ({ ctx, peer }) => events.getState(ctx, peer.name, { roomId, eventId }),
  getStateIds: ({ ctx, peer }) => events.getStateIds(ctx, peer.name, { roomId, eventId }),
  getEventAuth: ({ ctx, peer }) => events.getEventAuth(ctx, peer.name, { roomId, eventId }),
  backfill: ({ ctx, peer }) => events.backfill(ctx, peer.name, { roomId, from: [eventId], limit: 1 }),
  getMissingEvents: ({ ctx, peer }) =>
    events.getMissingEvents(ctx, peer.name, {
      roomId,
      earliest: [],
      latest: [eventId],
      limit: 1,
      minDepth: 0,
    }),
  queryProfile: ({ ctx, peer }) => queries.queryProfile(ctx, peer.name, { userId: '@u:x' }),
  queryDirectory: ({ ctx, peer }) => queries.queryDirectory(ctx, peer.name, '#a:x'),
  publicRooms: ({ ctx, peer }) => queries.publicRooms(ctx, peer.name, {}),
  version: ({ ctx, peer }) => queries.version(ctx, peer.name),
  hierarchy: ({ ctx, peer }) => hierarchy(ctx, peer.name, { roomId, suggestedOnly: false }),
  timestampToEvent: ({ ctx, peer }) => timestampToEvent(ctx, peer.name, { roomId, ts: 1, direction: 'f' }),
};

const garbage: readonly (string | Buffer)[] = [
  '',
  'null',
  '[]',
  '"x"',
  '<html>',
  '{',
  '{"',
  '{"pdus":',
  '{"\\u12":1,"pdus":[]',
  Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
];

for (const [name, call] of Object.entries(calls)) {
  test(`${name}: an answer that is not the answer of a Matrix server is a failure, not an exception`, async () => {
    await using world = await answering(...garbage);
    for (const body of garbage) {
      await world.ctx.backoff.succeeded(world.peer.name);
      const answer = await call(world);
      assert.deepEqual([answer.kind, answer.reason], ['failed', 'bad_answer'], String(body));
    }
  });
}

test('ids that are none are left out of state_ids', async () => {
  await using world = await answering('{"pdu_ids":["$a",1,"b",null,{"x":1}],"auth_chain_ids":["$c"]}');
  const ids = await events.getStateIds(world.ctx, world.peer.name, { roomId, eventId });
  assert.deepEqual(ids, { kind: 'ok', value: { state: ['$a'], authChain: ['$c'] } });
});

test('a refusal keeps its errcode and its other members', async () => {
  const peer = await startPeer({
    authority,
    answer: () => ({
      status: 400,
      json: { errcode: 'M_INCOMPATIBLE_ROOM_VERSION', error: 'x', room_version: '12' },
    }),
  });
  await using world = await answering('{}');
  const join = { roomId, userId: '@u:x', versions: ['10'] } as const;
  const made = await memberships.makeJoin(world.ctx, peer.name, join);
  await peer[Symbol.asyncDispose]();
  assert.ok(made.kind === 'failed');
  assert.deepEqual([made.errcode, made.body?.room_version], ['M_INCOMPATIBLE_ROOM_VERSION', '12']);
});

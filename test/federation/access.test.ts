import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { inRoom, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

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

const encode = encodeURIComponent;

/** Every question that names a room and an event. */
function questions(roomId: string, eventId: string): { method?: string; path: string; body?: string }[] {
  const base = '/_matrix/federation/v1';
  return [
    { path: `${base}/state/${encode(roomId)}?event_id=${encode(eventId)}` },
    { path: `${base}/state_ids/${encode(roomId)}?event_id=${encode(eventId)}` },
    { path: `${base}/event_auth/${encode(roomId)}/${encode(eventId)}` },
    { path: `${base}/backfill/${encode(roomId)}?v=${encode(eventId)}&limit=10` },
    {
      method: 'POST',
      path: `${base}/get_missing_events/${encode(roomId)}`,
      body: JSON.stringify({ latest_events: [eventId], earliest_events: [], limit: 10 }),
    },
  ];
}

test('row 6: a server that is not in a room gets the same answers for it as for a room that is not there', async () => {
  await using stranger = await new RoomPeer(fleet.authority).start();
  const roomId = await alice.createRoom();
  const eventId = await alice.send(roomId, 'ours');
  const invented = `$${'A'.repeat(43)}`;
  const answers = await Promise.all(questions(roomId, eventId).map((each) => stranger.request(server, each)));
  const others = await Promise.all(
    questions('!none:elsewhere.test', invented).map((each) => stranger.request(server, each)),
  );
  assert.deepEqual(answers, others);
  for (const { status } of answers) assert.equal(status, 403);
  const event = (id: string) =>
    stranger.request(server, { path: `/_matrix/federation/v1/event/${encode(id)}` });
  assert.equal((await event(eventId)).status, 404);
  assert.deepEqual(await event(eventId), await event(invented));
});

test('row 105: an event of one room is not found by the id of another', async () => {
  await using peer = await peerWithGuest();
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  const secret = await alice.send(roomId, 'secret');
  const invented = `$${'A'.repeat(43)}`;
  const ofOther = await Promise.all(
    questions(peer.room.roomId, secret).map((each) => peer.request(server, each)),
  );
  const ofNone = await Promise.all(
    questions(peer.room.roomId, invented).map((each) => peer.request(server, each)),
  );
  const bodies = (answers: typeof ofOther) =>
    answers.map(({ status, body }) => ({ status, ...body, origin_server_ts: 0 }));
  assert.deepEqual(bodies(ofOther), bodies(ofNone));
  assert.ok(!JSON.stringify(ofOther).includes('secret'));
});

test('a server in the room gets events, states, auth chains and the past', async () => {
  await using peer = await peerWithGuest();
  const { roomId } = peer.room;
  const first = await alice.send(roomId, 'first');
  const eventId = await alice.send(roomId, 'second');
  const [state, stateIds, auth, backfill, missing] = await Promise.all(
    questions(roomId, eventId).map((each) => peer.request(server, each)),
  );
  assert.equal(state?.body.pdus.length, stateIds?.body.pdu_ids.length);
  assert.deepEqual(
    stateIds?.body.pdu_ids.toSorted(),
    [...peer.room.stateMap.values()].map((event) => event.eventId).sort(),
  );
  assert.ok(auth?.body.auth_chain.length >= 3);
  assert.deepEqual(
    backfill?.body.pdus.slice(0, 2).map((pdu: { content: { body: string } }) => pdu.content.body),
    ['second', 'first'],
  );
  assert.equal(missing?.body.events.at(-1).content.body, 'first');
  const answer = await peer.request(server, { path: `/_matrix/federation/v1/event/${encode(first)}` });
  assert.equal(answer.body.pdus[0].content.body, 'first');
  assert.equal(answer.body.origin, server.serverName);
});

test('row 4: from before a server came it gets only the redacted form, where the history is for members', async () => {
  const roomId = await alice.createRoom({
    initial_state: [
      { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } },
    ],
  });
  const secret = await alice.send(roomId, 'secret');
  await using peer = await new RoomPeer(fleet.authority).start();
  const userId = peer.user('late');
  const base = `/_matrix/federation`;
  const made = await peer.request(server, {
    path: `${base}/v1/make_join/${encode(roomId)}/${encode(userId)}?ver=12`,
  });
  assert.equal(made.status, 200);
  const { signEvent } = await import('#rooms/sign-event.ts');
  const { eventFrom } = await import('#rooms/event.ts');
  const { rulesOf } = await import('#rooms/versions.ts');
  const { keyPairOf } = await import('#test/harness/room-builder.ts');
  const rules = rulesOf('12');
  assert.ok(rules);
  const join = eventFrom(signEvent(made.body.event, rules, peer.name, keyPairOf(peer.name)), rules);
  const sent = await peer.request(server, {
    method: 'PUT',
    path: `${base}/v2/send_join/${encode(roomId)}/${encode(join.eventId)}`,
    body: join.pdu,
  });
  assert.equal(sent.status, 200);
  assert.equal(sent.body.members_omitted, false);
  assert.ok(sent.body.state.some((pdu: { type: string }) => pdu.type === 'm.room.create'));

  const event = await peer.request(server, { path: `${base}/v1/event/${encode(secret)}` });
  assert.deepEqual(event.body.pdus[0].content, {});
  const backfill = await peer.request(server, {
    path: `${base}/v1/backfill/${encode(roomId)}?v=${encode(join.eventId)}&limit=100`,
  });
  assert.ok(!JSON.stringify(backfill.body).includes('secret'));
  const missing = await peer.request(server, {
    method: 'POST',
    path: `${base}/v1/get_missing_events/${encode(roomId)}`,
    body: JSON.stringify({ latest_events: [join.eventId], earliest_events: [] }),
  });
  assert.ok(!JSON.stringify(missing.body).includes('secret'));
  const state = await peer.request(server, {
    path: `${base}/v1/state/${encode(roomId)}?event_id=${encode(secret)}`,
  });
  assert.equal(state.status, 404);

  const after = await alice.send(roomId, 'for all');
  const seen = await peer.request(server, { path: `${base}/v1/event/${encode(after)}` });
  assert.equal(seen.body.pdus[0].content.body, 'for all');
});

test('nothing is answered without a signature of the server that asks', async () => {
  const roomId = await alice.createRoom();
  const eventId = await alice.send(roomId, 'x');
  await using stranger = await new RoomPeer(fleet.authority).start();
  stranger.script = ({ url }) => (url.includes('/key/') ? { status: 404, json: {} } : undefined);
  for (const each of questions(roomId, eventId)) {
    assert.equal((await stranger.request(server, each)).status, 401);
  }
});

test('profiles and aliases of ours are told, those of others are not', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  await alice.put(`/profile/${encode(alice.userId)}/displayname`, { displayname: 'Alice' });
  const ask = (query: string) => peer.request(server, { path: `/_matrix/federation/v1/query/${query}` });
  const profile = await ask(`profile?user_id=${encode(alice.userId)}`);
  assert.deepEqual([profile.status, profile.body], [200, { displayname: 'Alice' }]);
  assert.deepEqual((await ask(`profile?user_id=${encode(alice.userId)}&field=avatar_url`)).body, {});
  assert.equal((await ask(`profile?user_id=${encode(`@nobody:${server.serverName}`)}`)).status, 404);
  assert.equal((await ask(`profile?user_id=${encode(peer.user('x'))}`)).status, 404);
  assert.equal((await ask('profile')).body.errcode, 'M_MISSING_PARAM');
  assert.equal((await ask(`directory?room_alias=${encode(`#none:${server.serverName}`)}`)).status, 404);
  assert.equal((await ask('directory?room_alias=x')).body.errcode, 'M_INVALID_PARAM');
});

test('a request with ids that are not percent-encoded is verified as it was received', async () => {
  await using peer = await peerWithGuest();
  const eventId = await alice.send(peer.room.roomId, 'raw');
  const path = `/_matrix/federation/v1/event_auth/${peer.room.roomId}/${eventId}`;
  assert.equal((await peer.request(server, { path })).status, 200);
});

test('row 16: send_join takes only the join of a user of the server that sends it', async () => {
  await using peer = await peerWithGuest();
  await using other = await new RoomPeer(fleet.authority).start();
  const roomId = await alice.createRoom();
  const { room } = peer;
  await untilMessages(alice, room.roomId, []);
  const path = (id: string, event: string) =>
    `/_matrix/federation/v2/send_join/${encode(id)}/${encode(event)}`;
  const foreign = room.draft(peer.user('x'), {
    ...{ type: 'm.room.member', state_key: peer.user('x'), content: { membership: 'join' } },
  });
  const put = (peerOf: RoomPeer, at: string, body: object) =>
    peerOf.request(server, { method: 'PUT', path: at, body: body as never });
  // Sent by another server than its user's; to another room; under another id; another membership; not an event.
  assert.equal((await put(other, path(room.roomId, foreign.eventId), foreign.pdu)).status, 403);
  assert.equal((await put(peer, path(roomId, foreign.eventId), foreign.pdu)).status, 400);
  assert.equal((await put(peer, path(room.roomId, '$other'), foreign.pdu)).status, 400);
  const leave = room.draft(peer.user('mallory'), {
    ...{ type: 'm.room.member', state_key: peer.user('mallory'), content: { membership: 'leave' } },
  });
  assert.equal((await put(peer, path(room.roomId, leave.eventId), leave.pdu)).status, 400);
  assert.equal((await put(peer, path(room.roomId, leave.eventId), {})).status, 400);
  assert.equal(
    (await alice.try('GET', `${inRoom(roomId)}/state/m.room.member/${encode(peer.user('x'))}`)).status,
    404,
  );
  assert.equal((await put(peer, path(room.roomId, foreign.eventId), foreign.pdu)).status, 200);
  // Sent again, it is answered again.
  assert.equal((await put(peer, path(room.roomId, foreign.eventId), foreign.pdu)).status, 200);
});

/** Published attacks on rooms by another server, at a real server. Each test is named by its row in `rows.tsv`. */

import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { rulesOf } from '#rooms/versions.ts';
import { startWitness } from '#test/federation/hostile/witness.ts';
import { type Body, register } from '#test/harness/client.ts';
import { inRoom, membershipOf, messagesOf, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { keyPairOf, roomOf } from '#test/harness/room-builder.ts';
import type { PeerResponse, RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const witness = await startWitness();
after(() => witness[Symbol.asyncDispose]());
afterEach(() => witness.check());
const { alice, server } = witness;
const BASE = '/_matrix/federation';
const encode = encodeURIComponent;

/** An event as its parts say, signed by one server, whoever the sender is. */
function signedBy(name: string, pdu: JsonObject, version: string): Event {
  const rules = rulesOf(version);
  assert.ok(rules);
  const { hashes: _, signatures: __, ...bare } = pdu;
  return eventFrom(signEvent(bare, rules, name, keyPairOf(name)), rules);
}

function put(peer: RoomPeer, path: string, body: JsonObject): Promise<PeerResponse> {
  return peer.request(server, { method: 'PUT', path: `${BASE}/${path}`, body });
}

/** The template for a membership of a user of the peer in a room of ours. */
async function template(
  peer: RoomPeer,
  kind: 'join' | 'leave',
  roomId: string,
  userId: UserId,
): Promise<JsonObject> {
  const path = `${BASE}/v1/make_${kind}/${encode(roomId)}/${encode(userId)}?ver=11&ver=12`;
  const { status, body } = await peer.request(server, { path });
  assert.equal(status, 200, JSON.stringify(body));
  return body.event;
}

/** Joins a room of ours; answers the join. */
async function joinOurs(peer: RoomPeer, roomId: string, userId: UserId): Promise<Event> {
  const join = signedBy(peer.name, await template(peer, 'join', roomId, userId), '12');
  const sent = await put(peer, `v2/send_join/${encode(roomId)}/${encode(join.eventId)}`, join.pdu);
  assert.equal(sent.status, 200, JSON.stringify(sent.body));
  return join;
}

test('row 18: what is handed in by send_join and send_leave must be signed by the server of its user', async () => {
  await using peer = await witness.peer();
  await using other = await witness.peer();
  const roomId = await alice.createRoom();
  const [mallory, stranger] = [peer.user('mallory'), other.user('stranger')];
  await joinOurs(peer, roomId, mallory);
  for (const kind of ['join', 'leave'] as const) {
    const userId = kind === 'join' ? peer.user('second') : mallory;
    const pdu = await template(peer, kind, roomId, userId);
    const good = signedBy(peer.name, pdu, '12');
    const [[keyId = '', signature = ''] = []] = Object.entries((good.pdu.signatures as Body)[peer.name]);
    const bad: Record<string, JsonObject> = {
      'no signature': { ...good.pdu, signatures: {} },
      'another signature': {
        ...good.pdu,
        signatures: {
          [peer.name]: {
            [keyId]: `${String(signature).startsWith('A') ? 'B' : 'A'}${String(signature).slice(1)}`,
          },
        },
      },
      'signed by another server': signedBy(other.name, pdu, '12').pdu,
      'a key that is not published': {
        ...good.pdu,
        signatures: { [peer.name]: { 'ed25519:other': signature as string } },
      },
      'a user of another server': signedBy(peer.name, { ...pdu, sender: stranger, state_key: stranger }, '12')
        .pdu,
      'a user of ours': signedBy(peer.name, { ...pdu, sender: alice.userId, state_key: alice.userId }, '12')
        .pdu,
      'about another user': signedBy(peer.name, { ...pdu, state_key: alice.userId }, '12').pdu,
    };
    for (const [what, event] of Object.entries(bad)) {
      const { eventId } = eventFrom(event, good.rules);
      const { status, body } = await put(peer, `v2/send_${kind}/${encode(roomId)}/${encode(eventId)}`, event);
      assert.ok(status === 400 || status === 403, `${kind}, ${what}: ${status} ${JSON.stringify(body)}`);
      assert.equal(await loadEvent(server.ctx, eventId), undefined, what);
    }
  }
  assert.equal(await membershipOf(alice, roomId, mallory), 'join');
  assert.equal(await membershipOf(alice, roomId, alice.userId), 'join');
});

test('row 31: the room and the id in the path are those of the event', async () => {
  await using peer = await witness.peer();
  const [one, two] = [await alice.createRoom(), await alice.createRoom()];
  const mallory = peer.user('mallory');
  await joinOurs(peer, one, mallory);
  for (const kind of ['join', 'leave'] as const) {
    const event = signedBy(peer.name, await template(peer, kind, one, mallory), '12');
    const { status } = await put(peer, `v2/send_${kind}/${encode(two)}/${encode(event.eventId)}`, event.pdu);
    assert.ok(status === 400 || status === 403, `${kind}: ${status}`);
    const otherId = await put(
      peer,
      `v2/send_${kind}/${encode(one)}/${encode(`$${'A'.repeat(43)}`)}`,
      event.pdu,
    );
    assert.equal(otherId.status, 400, kind);
  }
  assert.equal(await membershipOf(alice, two, mallory), undefined);
  assert.equal(await membershipOf(alice, one, mallory), 'join');
  // The one room still goes out.
  const sent = await alice.send(one, 'goes on');
  await until(() => peer.peer.requests.some(({ body }) => body.includes('goes on')), `that ${sent} is sent`);
});

test('row 60: a list of thousands of globs that match in many ways holds nothing up', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const glob = '*?'.repeat(10);
  const deny = Array.from({ length: 2_400 }, (_, index) => `${glob}${index}!`);
  const acl = room.state(mallory, 'm.room.server_acl', '', { allow: ['*'], deny });
  await peer.send(server, [acl]);
  for (let round = 0; round < 4; round++) {
    const pdus = Array.from({ length: 25 }, (_, index) => room.message(mallory, `m${round} ${index}`));
    const edus = Array.from({ length: 50 }, () => ({
      edu_type: 'm.typing',
      content: { room_id: room.roomId, user_id: mallory, typing: true },
    }));
    assert.equal((await peer.send(server, pdus, { edus })).status, 200);
  }
  await untilMessages(alice, room.roomId, ['m3 24']);
});

test('row 75: hundreds of events that nobody may see do not end the pages before the first message', async () => {
  await using peer = await witness.peerWithGuest({ power_levels: { events_default: 1, users_default: 0 } });
  const { room } = peer;
  const mallory = peer.user('mallory');
  const eve = peer.user('eve');
  const first = room.message(mallory, 'first');
  await peer.send(server, [first, room.join(eve)]);
  const line = room.fork();
  const ban = room.ban(mallory, eve);
  await peer.send(server, [ban]);
  await untilMember(alice, room.roomId, eve, 'ban');
  for (let round = 0; round < 4; round++) {
    // By their power rejected, and by the ban soft-failed.
    const rejected = Array.from({ length: 25 }, () => line.fork().message(eve, 'no power'));
    const softFailed = Array.from({ length: 25 }, (_, n) =>
      line.fork().join(eve, { displayname: `${round} ${n}` }),
    );
    assert.equal((await peer.send(server, [...rejected, ...softFailed])).status, 200);
  }
  await peer.send(server, [room.message(mallory, 'last')]);
  await untilMessages(alice, room.roomId, ['last']);
  const seen: string[] = [];
  let from = '';
  for (;;) {
    const { chunk, end } = await alice.get(`${inRoom(room.roomId)}/messages?dir=b&limit=10${from}`);
    seen.push(...chunk.map(({ content }: Body) => content.body ?? ''));
    if (end === undefined) break;
    from = `&from=${end}`;
  }
  assert.deepEqual(
    seen.filter((body) => body !== ''),
    ['last', 'first'],
  );
});

test('row 80: rooms that are made alike at the same time are different rooms', async () => {
  const made = await Promise.all(
    Array.from({ length: 50 }, () => alice.try('POST', '/createRoom', { room_version: '12' })),
  );
  for (const { status } of made) assert.equal(status, 200);
  assert.equal(new Set(made.map(({ body }) => body.room_id)).size, 50);
});

test('row 83: a forged event of a user of ours is dropped, on whatever way it is told', async () => {
  await using peer = await witness.peerWithGuest({ version: '11' });
  const { room } = peer;
  const mallory = peer.user('mallory');
  const forge = (body: string): Event => {
    const { pdu } = room.draft(mallory, { type: 'm.room.message', content: { body } });
    return signedBy(peer.name, { ...pdu, sender: alice.userId }, '11');
  };
  const ways: Readonly<Record<string, (forged: Event) => JsonObject>> = {
    '/get_missing_events/': ({ pdu }) => ({ events: [pdu] }),
    '/state/': ({ pdu }) => ({ pdus: [pdu], auth_chain: [pdu] }),
    '/state_ids/': ({ eventId }) => ({ pdu_ids: [eventId], auth_chain_ids: [eventId] }),
    '/event_auth/': ({ pdu }) => ({ auth_chain: [pdu] }),
    '/event/': ({ pdu }) => ({ pdus: [pdu] }),
    '/backfill/': ({ pdu }) => ({ pdus: [pdu] }),
  };
  const forged = Object.keys(ways).map((way) => forge(`forged ${way}`));
  const sent = await peer.send(server, forged);
  for (const { eventId } of forged) assert.match(sent.body.pdus[eventId].error, /not signed/);
  for (const [index, event] of forged.entries()) {
    peer.script = ({ url }) => {
      const way = Object.entries(ways).find(([part]) => url.includes(part));
      return way === undefined ? undefined : { json: way[1](event) };
    };
    const upon = room.draft(mallory, {
      ...{ type: 'm.room.message', content: { body: `upon ${index}` } },
      prev_events: [event.eventId],
    });
    await peer.send(server, [upon]);
    await alice.get(`${inRoom(room.roomId)}/messages?dir=b&limit=100`);
  }
  peer.script = () => undefined;
  await peer.send(server, [room.message(mallory, 'in the end')]);
  await untilMessages(alice, room.roomId, ['in the end']);
  for (const { eventId } of forged) assert.equal(await loadEvent(server.ctx, eventId), undefined);
});

test('row 98: an invitation that one server has sent us is not told to another', async () => {
  await using peer = await witness.peer();
  await using other = await witness.peer();
  const room = roomOf(peer.user('mallory'));
  const invite = room.invite(peer.user('mallory'), alice.userId as UserId);
  const path = `v2/invite/${encode(room.roomId)}/${encode(invite.eventId)}`;
  const body = { room_version: '12', event: invite.pdu, invite_room_state: [room.create.pdu] };
  const sending = put(peer, path, body);
  const asking = () => other.request(server, { path: `${BASE}/v1/event/${encode(invite.eventId)}` });
  const during = await Promise.all([asking(), asking(), asking()]);
  assert.equal((await sending).status, 200);
  for (const { status } of [...during, await asking()]) assert.equal(status, 404);
});

test('row 99: a server that is denied in capitals, or by another port, is denied', async () => {
  for (const deny of ['LOCALHOST', 'LocalHost', 'localhos?', 'l*T']) {
    await using peer = await witness.peerWithGuest();
    const { room } = peer;
    const acl = room.state(peer.user('mallory'), 'm.room.server_acl', '', { allow: ['*'], deny: [deny] });
    await peer.send(server, [acl]);
    await until(
      async () => (await alice.try('GET', `${inRoom(room.roomId)}/state/m.room.server_acl/`)).status === 200,
    );
    const message = room.message(peer.user('mallory'), 'denied');
    const { body } = await peer.send(server, [message]);
    assert.match(body.pdus[message.eventId].error, /denied/, deny);
    const path = `${BASE}/v1/state_ids/${encode(room.roomId)}?event_id=${encode(acl.eventId)}`;
    assert.equal((await peer.request(server, { path })).status, 403, deny);
  }
});

test('row 113: who has left learns nothing of the state by setting it as it may be', async () => {
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  await alice.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: 'before' });
  await alice.post(`${inRoom(roomId)}/ban`, { user_id: bob.userId });
  await alice.put(`${inRoom(roomId)}/state/m.room.topic/`, { topic: 'after' });
  const guesses = await Promise.all(
    ['after', 'another'].map((topic) => bob.try('PUT', `${inRoom(roomId)}/state/m.room.topic/`, { topic })),
  );
  const [right, wrong] = guesses;
  assert.equal(right?.status, 403);
  assert.deepEqual([right?.status, right?.body], [wrong?.status, wrong?.body]);
});

test('row 123: fifty events of one room in one transaction are all there, in order', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const bodies = Array.from({ length: 50 }, (_, index) => `m${index}`);
  const answer = await peer.send(
    server,
    bodies.map((body) => room.message(peer.user('mallory'), body)),
  );
  assert.equal(Object.keys(answer.body.pdus).length, 50);
  await untilMessages(alice, room.roomId, ['m49']);
  assert.deepEqual(await messagesOf(alice, room.roomId), bodies);
});

test('row 8: an event needs the signature of the server of its sender, by a key that this publishes', async () => {
  await using peer = await witness.peerWithGuest();
  await using other = await witness.peer();
  const { room } = peer;
  const draft = room.draft(peer.user('mallory'), { type: 'm.room.message', content: { body: 'x' } }).pdu;
  const events = [
    signedBy(peer.name, { ...draft, sender: other.user('x') }, '12'),
    signedBy(peer.name, { ...draft, sender: alice.userId }, '12'),
    signedBy(other.name, draft, '12'),
  ];
  const { body } = await peer.send(server, events);
  for (const { eventId } of events) assert.match(body.pdus[eventId].error, /not signed/);
  const good = signedBy(peer.name, draft, '12');
  const [signature = ''] = Object.values((good.pdu.signatures as Body)[peer.name]);
  const unpublished = {
    ...good.pdu,
    signatures: { [peer.name]: { 'ed25519:unpublished': signature as string } },
  };
  const answer = await peer.send(server, [encodeCanonical(unpublished)]);
  assert.match(answer.body.pdus[good.eventId].error, /keys/);
});

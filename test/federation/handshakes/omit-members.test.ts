import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { type RoomVersionRules, rulesOf } from '#rooms/versions.ts';
import { type Body, register } from '#test/harness/client.ts';
import { inRoom, membershipOf } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');
const encode = encodeURIComponent;
const BASE = '/_matrix/federation';

function rulesFor(version: string): RoomVersionRules {
  const rules = rulesOf(version);
  assert.ok(rules);
  return rules;
}

/** Joins a room of ours; answers what send_join does, as events. */
async function join(peer: RoomPeer, { roomId, version, query = '' }: Record<string, string>) {
  const rules = rulesFor(version ?? '12');
  const room = roomId ?? '';
  const path = `${BASE}/v1/make_join/${encode(room)}/${encode(peer.user('guest'))}?ver=${version}`;
  const made = await peer.request(server, { path });
  assert.equal(made.status, 200, JSON.stringify(made.body));
  const event = eventFrom(signEvent(made.body.event, rules, peer.name, keyPairOf(peer.name)), rules);
  const sent = await peer.request(server, {
    ...{ method: 'PUT', body: event.pdu },
    path: `${BASE}/v2/send_join/${encode(room)}/${encode(event.eventId)}${query}`,
  });
  assert.equal(sent.status, 200, JSON.stringify(sent.body));
  const read = (pdus: JsonObject[]) => pdus.map((pdu) => eventFrom(pdu, rules));
  return { ...sent.body, join: event, state: read(sent.body.state), chain: read(sent.body.auth_chain) };
}

function membersIn(state: readonly Event[]): (string | undefined)[] {
  return state.filter(({ type }) => type === 'm.room.member').map(({ stateKey }) => stateKey);
}

/** Every auth event of what was told is told too, and nothing twice. */
function assertComplete({ join: own, state, chain }: { join: Event; state: Event[]; chain: Event[] }): void {
  const ids = [...state, ...chain].map(({ eventId }) => eventId);
  const told = new Set(ids);
  assert.equal(told.size, ids.length, 'no event is told twice');
  for (const { eventId, authEvents } of [own, ...state, ...chain]) {
    for (const auth of authEvents) assert.ok(told.has(auth), `${eventId} lacks ${auth}`);
  }
}

async function crowded(options: object): Promise<{ roomId: string; users: string[] }> {
  const roomId = await alice.createRoom(options);
  const users: string[] = [];
  for (let count = 0; count < 8; count++) {
    const user = await register(server);
    await user.join(roomId);
    users.push(user.userId);
  }
  return { roomId, users };
}

for (const version of ['5', '10', '12']) {
  test(`v${version}: omit_members leaves out the members of a room with a name, and says so`, async () => {
    await using peer = await new RoomPeer(fleet.authority).start();
    const { roomId } = await crowded({ name: 'Square', room_version: version });
    const answer = await join(peer, { roomId, version, query: '?omit_members=true' });
    assert.equal(answer.members_omitted, true);
    assert.deepEqual(answer.servers_in_room, [server.serverName]);
    assert.deepEqual(membersIn(answer.state), []);
    const keys = answer.state.map(({ type }: Event) => type);
    for (const type of ['m.room.create', 'm.room.join_rules', 'm.room.name', 'm.room.power_levels']) {
      assert.ok(keys.includes(type), type);
    }
    assertComplete(answer);
    assert.equal(await membershipOf(alice, roomId, peer.user('guest')), 'join');
  });
}

test('omit_members tells the members that a room without a name is named after', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { roomId, users } = await crowded({});
  const answer = await join(peer, { roomId, version: '12', query: '?omit_members=true' });
  assert.deepEqual(membersIn(answer.state).sort(), [alice.userId, ...users].slice(0, 5).sort());
  assertComplete(answer);
  // As they would be told by the summary of the room.
  const { rooms } = await alice.sync();
  const heroes = rooms.join[roomId].summary['m.heroes'] as string[];
  assert.deepEqual(
    heroes.filter((userId) => users.slice(0, 4).includes(userId)),
    users.slice(0, 4),
  );
});

test('without omit_members, or with it false, all members are told', async () => {
  const { roomId, users } = await crowded({ name: 'Square' });
  for (const query of ['', '?omit_members=false']) {
    await using peer = await new RoomPeer(fleet.authority).start();
    const answer = await join(peer, { roomId, version: '12', query });
    assert.equal(answer.members_omitted, false);
    const told = membersIn(answer.state);
    for (const userId of [alice.userId, ...users]) assert.ok(told.includes(userId), userId);
  }
});

test('an answer that leaves members out all the same is not taken: the next server is asked', async () => {
  await using first = await new RoomPeer(fleet.authority).start();
  await using second = await new RoomPeer(fleet.authority).start();
  const room = first.makeRoom({ join_rule: 'public' });
  const member = second.user('member');
  room.join(member);
  // The same room, as another server has it.
  second.script = (request) => (request.url.includes('/key/') ? undefined : first.usual(request));
  first.script = (request) => {
    const usual = request.url.includes('/send_join/') ? first.usual(request) : undefined;
    if (typeof usual !== 'object') return undefined;
    const state = (usual.json.state as Body[]).filter(({ type }) => type !== 'm.room.member');
    return { json: { ...usual.json, state, members_omitted: true } };
  };
  const via = [first.name, second.name].map((name) => `via=${encode(name)}`).join('&');
  const { status, body } = await alice.try('POST', `/join/${encode(room.roomId)}?${via}`);
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(first.asked('/send_join/').length, 1);
  assert.equal(second.asked('/send_join/').length, 1);
  const { joined } = await alice.get(`${inRoom(room.roomId)}/joined_members`);
  assert.ok(Object.hasOwn(joined, member));
});

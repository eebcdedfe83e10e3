/** https://spec.matrix.org/v1.19/server-server-api/#published-room-directory */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Body, register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const [here, there] = [fleet.at(0), fleet.at(1)];
const [alice, bob] = [await register(here, 'alice'), await register(there, 'bob')];
const PATH = '/_matrix/federation/v1/publicRooms';

const idsOf = (body: Body): string[] => body.chunk.map((room: Body) => room.room_id);

const cats = await alice.createRoom({ visibility: 'public', name: 'Cats', topic: 'No dogs' });
const space = await alice.createRoom({
  visibility: 'public',
  name: 'All',
  creation_content: { type: 'm.space' },
});
const dogs = await alice.createRoom({ visibility: 'public', name: 'Dogs' });
const alone = await alice.createRoom({
  visibility: 'public',
  name: 'Ours alone',
  creation_content: { 'm.federate': false },
});
await alice.createRoom({ name: 'Not published' });
await bob.join(dogs, [here.serverName]);

test('the directory is served page by page, without rooms that other servers cannot be in', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const all = await peer.request(here, { path: PATH });
  assert.equal(all.status, 200);
  assert.deepEqual(new Set(idsOf(all.body)), new Set([cats, space, dogs]));
  assert.equal(all.body.chunk[0].room_id, dogs, 'the largest first');
  assert.deepEqual(await peer.request(here, { path: `${PATH}?limit=0` }), all);

  const seen: string[] = [];
  let query = 'limit=1';
  for (let page = 0; page < 5 && query !== ''; page++) {
    const { body } = await peer.request(here, { path: `${PATH}?${query}` });
    seen.push(...idsOf(body));
    query = body.next_batch === undefined ? '' : `limit=1&since=${body.next_batch}`;
  }
  assert.deepEqual(seen, idsOf(all.body));
  assert.ok(!seen.includes(alone));
});

test('POST filters by words and by types; rooms of third-party networks there are none', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const post = async (body: object) => {
    const answer = await peer.request(here, { method: 'POST', path: PATH, body: JSON.stringify(body) });
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return new Set(idsOf(answer.body));
  };
  assert.deepEqual(await post({ filter: { generic_search_term: 'DOGS' } }), new Set([cats, dogs]));
  assert.deepEqual(await post({ filter: { room_types: ['m.space'] } }), new Set([space]));
  assert.deepEqual(await post({ filter: { room_types: [null] } }), new Set([cats, dogs]));
  assert.deepEqual(await post({ include_all_networks: true }), new Set([cats, dogs, space]));
  assert.deepEqual(await post({ third_party_instance_id: 'irc' }), new Set());
  const get = await peer.request(here, { path: `${PATH}?third_party_instance_id=irc` });
  assert.deepEqual(get.body, { chunk: [], total_room_count_estimate: 0 });
});

test('what is no query is refused, and nothing is told without a signature', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  for (const query of [
    'limit=x',
    'since=nonsense',
    'include_all_networks=true&third_party_instance_id=irc',
  ]) {
    assert.equal((await peer.request(here, { path: `${PATH}?${query}` })).status, 400, query);
  }
  for (const body of [{ limit: '1' }, { filter: [] }, { filter: { room_types: 'm.space' } }, { since: 5 }]) {
    const answer = await peer.request(here, { method: 'POST', path: PATH, body: JSON.stringify(body) });
    assert.deepEqual([answer.status, answer.body.errcode], [400, 'M_BAD_JSON'], JSON.stringify(body));
  }
  assert.equal((await peer.request(here, { path: PATH, as: 'other.test' })).status, 401);
});

test('a client is shown the directory of another server, with its filter and its pages', async () => {
  const server = encodeURIComponent(here.serverName);
  const all = await bob.get(`/publicRooms?server=${server}`);
  assert.deepEqual(new Set(idsOf(all)), new Set([cats, space, dogs]));
  const found = await bob.post(`/publicRooms?server=${server}`, { filter: { generic_search_term: 'cats' } });
  assert.deepEqual(idsOf(found), [cats]);
  const first = await bob.post(`/publicRooms?server=${server}`, { limit: 2 });
  const second = await bob.post(`/publicRooms?server=${server}`, { limit: 2, since: first.next_batch });
  assert.deepEqual([...idsOf(first), ...idsOf(second)], idsOf(all));
});

test('of what another server tells, each malformed room is left out, and no more', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const good = { room_id: '!a:x.test', num_joined_members: 1, world_readable: true, guest_can_join: false };
  peer.script = ({ url }) =>
    url.includes('/publicRooms')
      ? {
          json: {
            chunk: [
              null,
              'room',
              { ...good, room_id: 'nonsense' },
              { ...good, num_joined_members: '1' },
              { ...good, num_joined_members: -1 },
              { ...good, world_readable: 1 },
              { room_id: '!b:x.test' },
              { ...good, name: { a: 1 }, topic: 'T', canonical_alias: 'no alias', extra: 'x', join_rule: '' },
            ],
            next_batch: { a: 1 },
            total_room_count_estimate: 'many',
            prev_batch: 'p',
          },
        }
      : undefined;
  const answer = await alice.post(`/publicRooms?server=${encodeURIComponent(peer.name)}`, {});
  assert.deepEqual(answer, { chunk: [{ ...good, topic: 'T' }], prev_batch: 'p' });
});

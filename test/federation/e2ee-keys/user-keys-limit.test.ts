import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const CLAIM = '/_matrix/federation/v1/user/keys/claim';
const QUERY = '/_matrix/federation/v1/user/keys/query';

test('a server that asks for keys without end is told to wait, alone; 1,000 devices are claimed for one by one', async () => {
  // No time passes, or a slow machine would be let in again while it asks.
  const now = Date.now();
  await using fleet = await startFleet(1, { rateLimits: true, clock: { now: () => now } });
  const here = fleet.at(0);
  const bob = await register(here);
  await using greedy = await new RoomPeer(fleet.authority).start();
  await using friendly = await new RoomPeer(fleet.authority).start();
  const { limits } = here.ctx;
  for (let device = 0; device < 1_000; device++) limits.take('server_keys', friendly.name);
  for (let device = 0; device < 1_000; device++) limits.take('server_keys', greedy.name);
  const query = { method: 'POST', path: QUERY, body: { device_keys: { [bob.userId]: [] } } };
  const claim = {
    method: 'POST',
    path: CLAIM,
    body: { one_time_keys: { [bob.userId]: { [bob.deviceId]: 'signed_curve25519' } } },
  };
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, index) => greedy.request(here, index % 2 === 0 ? query : claim)),
  );
  const late = answers.filter(({ status }) => status === 429);
  assert.ok(late.length > 0);
  assert.equal(late[0]?.body.errcode, 'M_LIMIT_EXCEEDED');
  await using other = await new RoomPeer(fleet.authority).start();
  assert.equal((await other.request(here, query)).status, 200);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

test('no event is signed as by a policy server, and who asks is told that this is none', async () => {
  await using fleet = await startFleet(1);
  await using peer = await new RoomPeer(fleet.authority).start();
  const { create } = peer.makeRoom();
  const asked = { method: 'POST', path: '/_matrix/policy/v1/sign' };
  const { status, body } = await peer.request(fleet.at(0), { ...asked, body: create.pdu });
  assert.deepEqual([status, body.errcode], [404, 'M_UNRECOGNIZED']);
  await using stranger = await new RoomPeer(fleet.authority).start();
  stranger.script = ({ url }) => (url.includes('/key/') ? { status: 404, json: {} } : undefined);
  assert.equal((await stranger.request(fleet.at(0), { ...asked, body: {} })).status, 401);
});

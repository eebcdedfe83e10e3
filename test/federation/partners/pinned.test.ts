/** Keys and authorities that the operator has pinned for a partner: no others count, and these at once. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { faultOf } from '#federation/fault.ts';
import { formatXMatrix } from '#federation/x-matrix.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { register } from '#test/harness/client.ts';
import { untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { partner } from '#test/harness/partner.ts';
import { keyDocumentOf, startPeer } from '#test/harness/peer.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const { partners, client } = server.ctx;
const alice = await register(server);
const PATH = `/_matrix/federation/v1/query/profile?user_id=${encodeURIComponent(alice.userId)}`;

test('of a partner with pinned keys only these are accepted, and it is not asked for others', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { keyId, publicKey } = keyPairOf(peer.name);
  const other = keyPairFromSeed('other', generateSeed()).publicKey;
  const statusWith = async (keys: [typeof keyId, string][]) => {
    await partners.put(partner(peer.name, { keys: new Map(keys) }));
    return (await peer.request(server, { path: PATH })).status;
  };
  assert.equal((await peer.request(server, { path: PATH })).status, 200, 'by the key that it publishes');
  assert.equal(peer.asked('/key/v2/server').length, 1);
  // The same id with another key, and another id: what is known already does not count any more.
  assert.equal(await statusWith([[keyId, other]]), 401);
  assert.equal(await statusWith([['ed25519:other', publicKey]]), 401);
  assert.equal(await statusWith([[keyId, publicKey]]), 200);
  assert.equal(await statusWith([]), 200);
  assert.equal(peer.asked('/key/v2/server').length, 1);
});

test('a pinned key is enough where the partner may only call us, and its events count by that key alone', async () => {
  await using closed = await startFleet(1, { federationInbound: 'partners', federationOutbound: 'partners' });
  const here = closed.at(0);
  const bob = await register(here);
  await using peer = await new RoomPeer(closed.authority).start();
  const { keyId, publicKey } = keyPairOf(peer.name);
  await here.ctx.partners.put(partner(peer.name, { keys: new Map([[keyId, publicKey]]) }));
  peer.makeRoom();
  await bob.join(peer.room.roomId, [peer.name]);
  await here.ctx.partners.put(
    partner(peer.name, { keys: new Map([[keyId, publicKey]]), direction: 'inbound' }),
  );
  const message = peer.room.message(peer.user('mallory'), 'pinned');
  const sent = await peer.send(here, [message]);
  assert.deepEqual([sent.status, sent.body.pdus[message.eventId]], [200, {}]);
  await untilMessages(bob, peer.room.roomId, ['pinned']);
  assert.deepEqual(peer.asked('/key/'), []);
});

test('of a partner with a pinned authority only that one is trusted: neither the usual ones nor those of federation_ca', async () => {
  const theirs = await createAuthority();
  await using own = await startPeer({
    authority: theirs,
    answer: (_, self) => ({ json: keyDocumentOf(self) }),
  });
  await using usual = await startPeer({
    authority: fleet.authority,
    answer: (_, self) => ({ json: keyDocumentOf(self) }),
  });
  const call = async (name: string) => {
    const request = {
      server: name,
      method: 'GET',
      path: '/_matrix/key/v2/server',
      backoff: 'ignore',
    } as const;
    const answer = await client.request(request);
    return answer.kind === 'ok' ? 'ok' : faultOf(answer, Date.now()).cause;
  };
  assert.equal(await call(own.name), 'certificate_untrusted');
  assert.equal(await call(usual.name), 'ok');
  for (const { name } of [own, usual]) await partners.put(partner(name, { ca: theirs.cert }));
  assert.equal(await call(own.name), 'ok');
  // Also where a connection is open by what was trusted before.
  assert.equal(await call(usual.name), 'certificate_untrusted');
  await partners.put(partner(own.name));
  assert.equal(await call(own.name), 'certificate_untrusted');
});

test('a suffix stands for the names under it, and a name of its own for what is particular', async () => {
  const { publicKey } = keyPairFromSeed('x', generateSeed());
  const keys = new Map([['ed25519:x', publicKey]] as const);
  await partners.put(partner('*.agency.test', { profile: 'strict' }));
  await partners.put(partner('*.north.agency.test', { profile: 'synapse', keys }));
  await partners.put(partner('chat.north.agency.test', { profile: 'rocketchat' }));
  const profileOf = (name: string) => partners.profileOf(name).name;
  assert.equal(profileOf('a.agency.test'), 'strict');
  assert.equal(profileOf('A.North.Agency.TEST'), 'synapse');
  assert.equal(profileOf('chat.north.agency.test'), 'rocketchat');
  for (const name of ['agency.test', 'xagency.test', 'a.agency.test:8448', 'a.agency.test.evil.test']) {
    assert.equal(profileOf(name), 'kurir', name);
  }
  assert.equal(partners.pinnedKeysOf('a.north.agency.test')?.size, 1);
  assert.equal(partners.pinnedKeysOf('a.agency.test'), undefined);
});

test('a forged origin gains nothing by a partner of another case, or by a suffix', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { keyId, publicKey } = keyPairOf('pinned.test');
  await partners.put(partner('pinned.test', { keys: new Map([[keyId, publicKey]]) }));
  const forger = keyPairOf(peer.name);
  for (const origin of ['pinned.test', 'PINNED.test']) {
    const target = encodeCanonical({ destination: server.serverName, method: 'GET', origin, uri: PATH });
    const header = formatXMatrix({
      origin,
      destination: server.serverName,
      key: keyId,
      sig: forger.sign(target),
    });
    assert.match(header, /X-Matrix/);
    assert.equal((await peer.request(server, { path: PATH, as: origin })).status, 401);
  }
});

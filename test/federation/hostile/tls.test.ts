/** F22: other servers whose TLS is not to be trusted. */
import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { detailLines } from '#federation/outbound/ledger.ts';
import { inRoom, untilMessages } from '#test/harness/conversation.ts';
import { RawConnection, wrongTls } from '#test/harness/hostile-server.ts';
import { until } from '#test/harness/until.ts';
import { startWitness } from './witness.ts';

const witness = await startWitness();
after(() => witness[Symbol.asyncDispose]());
afterEach(() => witness.check());
const { alice, server } = witness;

for (const [what, tlsFor] of Object.entries(wrongTls)) {
  test(`row 143: F22: with ${what} nothing is asked of a server, the fault is named, and mended it is gone`, async () => {
    await using peer = await witness.peerWithGuest();
    const { roomId } = peer.room;
    await peer.peer.stop();
    const asked = peer.peer.requests.length;
    peer.peer.useTls((await tlsFor(witness.fleet.authority)) ?? {});
    await peer.peer.start();
    await alice.send(roomId, 'into the dark');
    await until(async () => {
      server.ctx.sender.retry(peer.name);
      return /certificate|TLS/i.test((await faultOf(peer.name)) ?? '');
    }, 'a fault that is named');
    const profile = await alice.try('GET', `/profile/${encodeURIComponent(peer.user('carol'))}`);
    assert.ok(profile.status >= 400 && profile.status !== 401, String(profile.status));
    assert.equal(peer.peer.requests.length, asked, 'nothing was asked');
    peer.peer.useTls(await witness.fleet.authority.issue(['localhost']));
    server.ctx.sender.retry(peer.name);
    await until(() => peer.peer.requests.some(({ body }) => body.includes('into the dark')), 'a delivery');
  });
}

/** What the ledger says is wrong with a server; undefined where nothing is. */
async function faultOf(name: string): Promise<string | undefined> {
  const lines = await detailLines(server.ctx.db, name, Date.now());
  return lines?.find((line) => line.startsWith('What to do: ')) === undefined ? undefined : lines[0];
}

test('F22: a certificate for hundreds of names is one', async () => {
  await using peer = await witness.peer();
  const names = Array.from({ length: 500 }, (_, index) => `name-number-${index}.example.test`);
  peer.peer.useTls(await witness.fleet.authority.issue(['localhost', ...names]));
  const { roomId } = peer.makeRoom();
  await alice.join(roomId, [peer.name]);
  await peer.send(server, [peer.room.message(peer.user('mallory'), 'hello')]);
  await untilMessages(alice, roomId, ['hello']);
  await alice.get(`${inRoom(roomId)}/joined_members`);
});

test('F22: who connects to us by TLS 1.1, by no TLS at all or with garbage gets nowhere, and keeps nobody out', async () => {
  await assert.rejects(
    RawConnection.federation(server, {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    }),
  );
  for (const text of ['GET / HTTP/1.1\r\nhost: x\r\n\r\n', '\0'.repeat(20_000), '\x16\x03\x01\xff\xff']) {
    using connection = await RawConnection.tcp(server.federationUrl);
    connection.write(text);
    if (text.length > 10) await connection.closed;
    assert.ok(!connection.received.includes('200 OK'));
  }
});

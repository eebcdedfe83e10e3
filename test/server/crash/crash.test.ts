/** A server that is killed with no chance to end well keeps what it has answered for. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAuthority } from '#test/harness/certificates.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom, untilMember } from '#test/harness/conversation.ts';
import { CrashingServer, OPEN } from '#test/harness/crashing-server.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { freePort } from '#test/harness/free-port.ts';
import { type Environment, run, serverEnvironment } from '#test/harness/process.ts';
import { historyOf, SyncView } from '#test/harness/sync-view.ts';
import { until } from '#test/harness/until.ts';

const ROUNDS = 20;
const SENDS = 200;
const TIMELINE = { filter: { room: { timeline: { limit: 2 * SENDS } } } };

test('kill -9 during 200 concurrent sends, 20 rounds: what was acknowledged is there, once', async () => {
  await using folder = await temporaryFolder();
  await using server = new CrashingServer({ ...serverEnvironment(folder.path), ...OPEN });
  await server.start();
  const users = await Promise.all(['a', 'b', 'c', 'd'].map((name) => register(server, name)));
  const [owner] = users as [TestClient];
  const roomIds = await Promise.all(['one', 'two', 'three'].map((name) => owner.createRoom({ name })));
  for (const user of users.slice(1)) for (const roomId of roomIds) await user.join(roomId);
  const reader = new SyncView(owner, TIMELINE);
  await reader.next();
  const oldToken = reader.since;
  const before = new Set(eventsSeen(reader, roomIds));

  const all = new Map<string, string>();
  for (let round = 0; round < ROUNDS; round++) {
    const sends = Array.from(
      { length: SENDS },
      (_, count): Send => ({
        user: users[count % users.length] ?? owner,
        roomId: roomIds[count % roomIds.length] ?? '',
        txnId: `round ${round}, message ${count}`,
      }),
    );
    const acknowledged = await sendUntilKilled(server, { sends, reader, acks: (round * SENDS) / ROUNDS / 2 });

    await server.start();
    for (const { txnId, eventId } of await Promise.all(sends.map(sendOne))) {
      // Sent anew, or the id of the event that it made before the crash.
      assert.equal(eventId, acknowledged.get(txnId) ?? eventId, `${txnId} has made a second event`);
      all.set(txnId, eventId);
    }
    await reader.next();
    const seen = eventsSeen(reader, roomIds);
    assert.equal(new Set(seen).size, seen.length, 'no event comes twice');
    const messages = new Set(seen).difference(before);
    assert.deepEqual(messages, new Set(all.values()), 'each message is one event, and no other came to be');
    assert.equal(messages.size, (round + 1) * SENDS);
  }

  const late = new SyncView(owner, TIMELINE);
  late.since = oldToken;
  await late.next();
  for (const roomId of roomIds) {
    const told = reader.room(roomId).timeline;
    assert.deepEqual((await historyOf(owner, roomId, 500)).slice(-told.length), told, 'as it was told');
    const [gap, ...newest] = late.room(roomId).timeline;
    assert.equal(gap, 'gap', 'an old token works: the newest events, and word of a gap before them');
    assert.deepEqual(newest, told.slice(-newest.length));
  }
  assert.equal(await server.stop(), 0);
  for (const words of ['db check', 'room check --all --whole']) {
    const check = await run('server/kurir.ts', words.split(' '), { env: server.env });
    assert.equal(check.code, 0, check.out + check.err);
  }
});

test('kill -9 of either server while events go from one to the other: none is lost, repeated or out of order', async () => {
  await using folder = await temporaryFolder();
  const authority = await createAuthority();
  const certificate = await authority.issue(['localhost']);
  const file = (name: string) => join(folder.path, name);
  await writeFile(file('ca.crt'), authority.cert);
  await writeFile(file('tls.crt'), certificate.cert);
  await writeFile(file('tls.key'), certificate.key);
  const federating = async (name: string): Promise<Environment> => {
    const port = await freePort();
    return {
      ...serverEnvironment(file(name)),
      ...OPEN,
      KURIR_SERVER_NAME: `localhost:${port}`,
      KURIR_FEDERATION_LISTEN: `127.0.0.1:${port}`,
      KURIR_TLS_CERT: file('tls.crt'),
      KURIR_TLS_KEY: file('tls.key'),
      KURIR_FEDERATION_CA: file('ca.crt'),
      KURIR_FEDERATION_ALLOW_PRIVATE: 'on',
    };
  };
  await using one = new CrashingServer(await federating('one'));
  await using other = new CrashingServer(await federating('other'));
  await Promise.all([one.start(), other.start()]);
  const alice = await register(one, 'alice');
  const bob = await register(other, 'bob');
  const roomId = await alice.createRoom({ preset: 'private_chat' });
  await bringIn(alice, bob, roomId);
  await untilMember(alice, roomId, bob.userId, 'join');
  const reader = new SyncView(bob, TIMELINE);
  await reader.next();

  const sent: string[] = [];
  for (const killed of [one, other, one, other]) {
    for (let count = 0; count < 60; count++) sent.push(await alice.send(roomId, `${sent.length}`));
    await killed.kill();
    await killed.start();
    if (killed === one) await reader.next();
  }
  const arrived = () => reader.room(roomId).timeline.filter((eventId) => sent.includes(eventId));
  await until(async () => {
    await reader.next(1_000);
    return arrived().length >= sent.length;
  }, 'that all events arrive');
  assert.deepEqual(arrived(), sent);
});

interface Send {
  readonly user: TestClient;
  readonly roomId: string;
  readonly txnId: string;
}

async function sendOne({ user, roomId, txnId }: Send): Promise<{ txnId: string; eventId: string }> {
  const path = `${inRoom(roomId)}/send/m.room.message/${encodeURIComponent(txnId)}`;
  const { event_id: eventId } = await user.put(path, { msgtype: 'm.text', body: txnId });
  return { txnId, eventId };
}

/** Sends all at once, and kills the server after so many acknowledgements; answers those that came. */
async function sendUntilKilled(
  server: CrashingServer,
  { sends, reader, acks }: { sends: readonly Send[]; reader: SyncView; acks: number },
): Promise<Map<string, string>> {
  const acknowledged = new Map<string, string>();
  const reached = Promise.withResolvers<void>();
  const sending = sends.map(async (send) => {
    const { txnId, eventId } = await sendOne(send);
    acknowledged.set(txnId, eventId);
    if (acknowledged.size > acks) reached.resolve();
  });
  const settled = Promise.allSettled(sending);
  const reading = Promise.allSettled([readOn(reader)]);
  await Promise.race([reached.promise, settled]);
  await server.kill();
  await settled;
  await reading;
  return acknowledged;
}

/** Long polls until the server is gone, and takes what comes until then. */
async function readOn(reader: SyncView): Promise<never> {
  for (;;) await reader.next(10_000);
}

/** What the reader, who read on over all crashes, was told. */
function eventsSeen(reader: SyncView, roomIds: readonly string[]): string[] {
  return roomIds.flatMap((roomId) => reader.room(roomId).timeline);
}

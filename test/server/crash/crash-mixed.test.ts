/** F1: a server that is killed while its users do everything that is kept at once. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { CrashingServer, OPEN } from '#test/harness/crashing-server.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { diceOf, shuffled } from '#test/harness/dice.ts';
import { run, serverEnvironment } from '#test/harness/process.ts';
import { casesOf, seed } from '#test/harness/rounds.ts';

const ROUNDS = casesOf({ usual: 4, inLongRun: 50 });
const OF_EACH_KIND = 12;

interface Scene {
  readonly alice: TestClient;
  readonly bob: TestClient;
  readonly roomId: string;
  /** A message that nobody redacts. */
  readonly first: string;
}

/** Something that a user does; what it answers is what `check` is told, where it was answered before the crash. */
interface Deed {
  readonly act: () => Promise<Body>;
  /** After the restart. `answer` is undefined where the server was killed before it answered. */
  readonly check: (answer: Body | undefined) => Promise<void>;
}

function deedsOf(scene: Scene, name: string, inbox: Set<string>): Deed[] {
  const { alice, bob, roomId, first } = scene;
  const room = inRoom(roomId);
  const sent = async (eventId: string): Promise<Body> =>
    alice.get(`${room}/event/${encodeURIComponent(eventId)}`);
  const repeated = (path: string, content: object): Deed => {
    const act = () => alice.put(path, content);
    return {
      act,
      check: async (answer) => {
        const again = await act();
        assert.equal(again.event_id, answer?.event_id ?? again.event_id, 'the transaction has one event');
        await sent(again.event_id);
      },
    };
  };
  const keyId = `signed_curve25519:${name}`;
  return [
    repeated(`${room}/send/m.room.message/${name}`, { msgtype: 'm.text', body: name }),
    repeated(`${room}/redact/${encodeURIComponent(first)}x${name}/redact-${name}`, {}),
    {
      act: () => alice.put(`${room}/state/test.state/${name}`, { name }),
      check: async (answer) => {
        const state = await alice.try('GET', `${room}/state/test.state/${name}`);
        if (answer === undefined) return;
        assert.deepEqual(state.body, { name });
        await sent(answer.event_id);
      },
    },
    {
      act: () =>
        alice.put(`/sendToDevice/test.message/${name}`, { messages: { [bob.userId]: { '*': { name } } } }),
      check: async (answer) => {
        if (answer === undefined) return;
        assert.ok(inbox.has(name), `${name} has reached the device`);
      },
    },
    {
      act: () => alice.put(`/user/${encodeURIComponent(alice.userId)}/account_data/test.${name}`, { name }),
      check: async (answer) => {
        if (answer === undefined) return;
        const path = `/user/${encodeURIComponent(alice.userId)}/account_data/test.${name}`;
        assert.deepEqual(await alice.get(path), { name });
      },
    },
    {
      act: () => alice.post('/keys/upload', { one_time_keys: { [keyId]: keyOf(name) } }),
      check: async (answer) => {
        // The same key again is no other one, where it is there.
        const again = await alice.try('POST', '/keys/upload', { one_time_keys: { [keyId]: keyOf('other') } });
        if (answer !== undefined)
          assert.equal(again.status, 400, `${keyId} is there: ${JSON.stringify(again.body)}`);
      },
    },
    {
      act: () => bob.post(`${room}/receipt/m.read/${encodeURIComponent(first)}`),
      check: async () => undefined,
    },
  ];
}

function keyOf(name: string): object {
  return { key: Buffer.from(name.padEnd(32, '.')).toString('base64').slice(0, 43), signatures: {} };
}

test('F1: kill -9 while messages, state, redactions, messages to devices, account data, keys and receipts are written: what was answered is there, once', async (t) => {
  t.diagnostic(`seed ${seed}, ${ROUNDS} rounds`);
  await using folder = await temporaryFolder();
  await using server = new CrashingServer({ ...serverEnvironment(folder.path), ...OPEN });
  await server.start();
  const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')]);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const first = await alice.send(roomId, 'the first');
  const scene: Scene = { alice, bob, roomId, first };
  const dice = diceOf(seed);
  const told: string[] = [];
  let since: string | undefined;
  for (let round = 0; round < ROUNDS; round++) {
    const inbox = new Set<string>();
    const deeds = shuffled(
      Array.from({ length: OF_EACH_KIND }, (_, index) => deedsOf(scene, `r${round}n${index}`, inbox)).flat(),
      dice,
    );
    const answers = await actUntilKilled(server, deeds, 1 + dice(deeds.length - 1));
    await server.start();
    for (;;) {
      const answer: Body = await bob.sync(since === undefined ? {} : { since });
      const messages: string[] = answer.to_device?.events?.map(({ content }: Body) => content.name) ?? [];
      told.push(...messages);
      for (const name of messages) inbox.add(name);
      since = answer.next_batch;
      if (messages.length === 0) break;
    }
    for (const deed of deeds) await deed.check(answers.get(deed));
  }
  assert.equal(new Set(told).size, told.length, 'no message to a device came twice');
  assert.equal(await server.stop(), 0);
  for (const words of ['db check', 'room check --all --whole']) {
    const check = await run('server/kurir.ts', words.split(' '), { env: server.env });
    assert.equal(check.code, 0, check.out + check.err);
  }
});

/** Does all at once, and kills the server after so many answers; what was answered until then. */
async function actUntilKilled(
  server: CrashingServer,
  deeds: readonly Deed[],
  most: number,
): Promise<Map<Deed, Body>> {
  const answers = new Map<Deed, Body>();
  const reached = Promise.withResolvers<void>();
  const settled = Promise.allSettled(
    deeds.map(async (deed) => {
      answers.set(deed, await deed.act());
      if (answers.size >= most) reached.resolve();
    }),
  );
  await Promise.race([reached.promise, settled]);
  await server.kill();
  await settled;
  return answers;
}

/** A bridge of mautrix with encryption, whose keys come with its transactions, and a person at matrix-js-sdk elsewhere. */

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, test } from 'node:test';
import { Preset } from 'matrix-js-sdk';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { freePort } from '#test/harness/free-port.ts';
import { startPython } from '#test/harness/python.ts';
import { TestService } from '#test/harness/service.ts';
import { addService } from '#test/harness/service-server.ts';
import { until } from '#test/harness/until.ts';
import { signUp } from '../js-sdk-client.ts';
import { mautrixPython } from './parts.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const fleet = resources.use(await startFleet(2));
const [home, elsewhere] = fleet.servers;
assert.ok(home && elsewhere);
const folder = resources.use(await temporaryFolder());
const port = await freePort();
const registration = {
  url: `http://127.0.0.1:${port}`,
  'de.sorunome.msc2409.push_ephemeral': true,
  receive_ephemeral: true,
  'org.matrix.msc3202': true,
  'io.element.msc4190': true,
};
const file = new TestService({ registration });
await addService(home, file);
const output = path.join(folder.path, 'mautrix.log');
let bridge = await startBridge(1);
const bot = `@_bridge_bot:${home.serverName}`;
const alice = resources.use(await signUp({ server: elsewhere, name: 'alice', encrypts: true }));
let roomId = '';

test('its bot comes into an encrypted room of another server, with a device that the service has made', async () => {
  const { room_id: id } = await alice.client.createRoom({
    preset: Preset.PrivateChat,
    initial_state: [
      { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
    ],
  });
  roomId = id;
  await alice.client.invite(roomId, bot);
  await alice.untilMembership(roomId, 'join', bot);
});

test('it reads what a person says, and is read', async () => {
  for (let count = 0; count < 10; count++) {
    await alice.say(roomId, `question ${count}`);
    await alice.untilSees(roomId, `mautrix heard: question ${count}`);
  }
});

test('a person who comes later, with a device that is new to it, is read and reads', async () => {
  const ben = resources.use(await signUp({ server: home, name: 'ben', encrypts: true }));
  await alice.client.invite(roomId, ben.userId);
  await ben.untilMembership(roomId, 'invite', ben.userId);
  await ben.client.joinRoom(roomId);
  await ben.untilMembership(roomId, 'join', ben.userId);
  await ben.say(roomId, 'and I');
  await ben.untilSees(roomId, 'mautrix heard: and I');
  await alice.untilSees(roomId, 'mautrix heard: and I');
});

test('it goes on by the same device after it and both servers were stopped, and has missed nothing', async () => {
  bridge.kill();
  await once(bridge, 'exit');
  await alice.say(roomId, 'while you were away');
  for (const server of fleet.servers) await server.restart();
  bridge = await startBridge(2);
  await alice.untilSees(roomId, 'mautrix heard: while you were away');
  const told = await readFile(output, 'utf8');
  assert.equal(new Set(told.match(/^ready as \S+$/gm)).size, 1, 'one device');
  assert.doesNotMatch(told, /cannot read|Traceback/);
  const unreadable = alice
    .room(roomId)
    .getLiveTimeline()
    .getEvents()
    .filter((event) => event.isDecryptionFailure());
  assert.deepEqual(unreadable, []);
});

/** Starts it for the first, second ... time, and waits until it has its device. */
async function startBridge(time: number): Promise<ChildProcess> {
  const child = await startPython({
    python: await mautrixPython(),
    program: { script: path.join(import.meta.dirname, 'mautrix-bridge.py') },
    args: [home?.clientUrl ?? '', home?.serverName ?? '', `${port}`, file.asToken, file.hsToken, folder.path],
    cwd: folder.path,
    output,
  });
  resources.defer(() => void child.kill());
  const isThere = async (): Promise<boolean> => {
    const told = await readFile(output, 'utf8');
    if (child.exitCode !== null) assert.fail(told);
    return told.split('ready as ').length > time;
  };
  await until(isThere, 'that mautrix is there');
  return child;
}

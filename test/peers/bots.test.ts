/** Bots of two other libraries, and a person at matrix-js-sdk, in one encrypted room of two servers. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';

import { after, test } from 'node:test';
import { Preset } from 'matrix-js-sdk';
import { register } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startPython } from '#test/harness/python.ts';
import { until } from '#test/harness/until.ts';
import { type BotClient, botSdk, nioPython } from './bots/parts.ts';
import { signUp } from './js-sdk-client.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const fleet = resources.use(await startFleet(2));
const folder = resources.use(await temporaryFolder());
const alice = resources.use(await signUp({ server: fleet.at(0), name: 'alice', encrypts: true }));
const nioOutput = path.join(folder.path, 'nio.log');
const nio = await startNio();
const { bot, missed } = await startBot();
let roomId = '';

test('a bot of matrix-nio and one of matrix-bot-sdk come into an encrypted room when they are invited', async () => {
  const { room_id: id } = await alice.client.createRoom({
    preset: Preset.PrivateChat,
    initial_state: [
      { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
    ],
  });
  roomId = id;
  for (const userId of [nio, await bot.getUserId()]) {
    await alice.client.invite(roomId, userId);
    await alice.untilMembership(roomId, 'join', userId);
  }
});

test('both read what a person says, and are read', async () => {
  for (let count = 0; count < 10; count++) {
    await alice.say(roomId, `all: question ${count}`);
    await alice.untilSees(roomId, `nio heard: question ${count}`);
    await alice.untilSees(roomId, `bot-sdk heard: question ${count}`);
  }
});

test('they read each other', async () => {
  await alice.say(roomId, 'nio, say all: hello from Python');
  await alice.untilSees(roomId, 'bot-sdk heard: hello from Python');
  await alice.say(roomId, 'bot-sdk, say all: hello from JavaScript');
  await alice.untilSees(roomId, 'nio heard: hello from JavaScript');
});

test('they go on after both servers were restarted, and have missed nothing', async () => {
  for (const server of fleet.servers) await server.restart();
  await alice.say(roomId, 'all: still there?');
  // matrix-bot-sdk waits up to a quarter of a minute before it tries again.
  await alice.untilSees(roomId, 'nio heard: still there?');
  await alice.untilSees(roomId, 'bot-sdk heard: still there?');
  const unreadable = alice
    .room(roomId)
    .getLiveTimeline()
    .getEvents()
    .filter((event) => event.isDecryptionFailure());
  assert.deepEqual(unreadable, []);
  assert.deepEqual(missed, []);
  assert.doesNotMatch(await readFile(nioOutput, 'utf8'), /cannot read/);
});

async function startNio(): Promise<string> {
  const { userId, password } = await register(fleet.at(0), 'nio');
  const child = await startPython({
    python: await nioPython(),
    program: { script: path.join(import.meta.dirname, 'bots/nio-bot.py') },
    args: [fleet.at(0).clientUrl, userId, password, folder.path],
    cwd: folder.path,
    output: nioOutput,
  });
  resources.defer(() => void child.kill());
  await until(async () => (await readFile(nioOutput, 'utf8')).includes('ready'), 'that matrix-nio is there');
  return userId;
}

async function startBot(): Promise<{ bot: BotClient; missed: string[] }> {
  const sdk = await botSdk();
  const quiet = () => undefined;
  sdk.LogService.setLogger({ trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet });
  const server = fleet.at(1);
  const account = await register(server, 'robot');
  const { MemoryStorageProvider, RustSdkCryptoStorageProvider } = sdk;
  const bot = new sdk.MatrixClient(
    server.clientUrl,
    account.accessToken,
    new MemoryStorageProvider(),
    new RustSdkCryptoStorageProvider(path.join(folder.path, 'bot-sdk'), 0),
  );
  sdk.AutojoinRoomsMixin.setupOnClient(bot);
  const missed: string[] = [];
  bot.on('room.failed_decryption', (_, event) => missed.push(event.sender));
  bot.on('room.message', (where, { sender, content: { body = '' } }) => {
    if (sender === account.userId) return;
    if (body.startsWith('all: ')) void bot.sendText(where, `bot-sdk heard: ${body.slice(5)}`);
    if (body.startsWith('bot-sdk, say ')) void bot.sendText(where, body.slice(13));
  });
  await bot.start();
  resources.defer(() => bot.stop());
  return { bot, missed };
}

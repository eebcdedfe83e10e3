/** Two bots that others wrote, each in a folder of its own: matrix-nio and matrix-bot-sdk. */

import { execFile } from 'node:child_process';
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder, madeOnce } from '#test/harness/made-once.ts';

const run = promisify(execFile);

const NIO = '0.26.0';
const BOT_SDK = '0.7.1';
const ITS_CRYPTO = '@matrix-org/matrix-sdk-crypto-nodejs';
const OUR_CRYPTO = '@matrix-org/matrix-sdk-crypto-wasm@18.9.0';

/** The Python that has matrix-nio, installed at first use. */
export async function nioPython(): Promise<string> {
  const folder = cacheFolder(`nio-${NIO}`);
  const python = path.join(folder, 'bin/python');
  await orSay('matrix-nio', 'python3 with venv and a way to the Python package index', () =>
    madeOnce(folder, async () => {
      process.stderr.write(`Installing matrix-nio ${NIO} for the tests, once.\n`);
      await run('python3', ['-m', 'venv', folder]);
      const quiet = ['--quiet', '--disable-pip-version-check'];
      await run(python, ['-m', 'pip', 'install', ...quiet, `matrix-nio[e2e]==${NIO}`]);
    }),
  );
  return python;
}

/** What is used of matrix-bot-sdk. */
export interface BotSdk {
  readonly MatrixAuth: new (
    url: string,
  ) => { passwordLogin(user: string, password: string): Promise<BotClient> };
  readonly MatrixClient: new (url: string, token: string, storage: object, crypto: object) => BotClient;
  readonly MemoryStorageProvider: new () => object;
  readonly RustSdkCryptoStorageProvider: new (folder: string, type: number) => object;
  readonly AutojoinRoomsMixin: { setupOnClient(client: BotClient): void };
  readonly LogService: { setLogger(logger: object): void };
}

export interface BotClient {
  readonly accessToken: string;
  readonly crypto: { isRoomEncrypted(roomId: string): Promise<boolean> };
  getUserId(): Promise<string>;
  start(): Promise<void>;
  stop(): void;
  sendText(roomId: string, text: string): Promise<string>;
  on(
    event: string,
    listener: (roomId: string, event: { sender: string; content: { body?: string } }, error?: Error) => void,
  ): void;
}

/** matrix-bot-sdk, installed at first use. */
export async function botSdk(): Promise<BotSdk> {
  const folder = cacheFolder(`bot-sdk-${BOT_SDK}`);
  await orSay('matrix-bot-sdk', 'npm and a way to its registry', () =>
    madeOnce(folder, async () => {
      process.stderr.write(`Installing matrix-bot-sdk ${BOT_SDK} for the tests, once.\n`);
      await writeFile(path.join(folder, 'package.json'), '{ "private": true }');
      const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
      await run('npm', ['install', ...quiet, `matrix-bot-sdk@${BOT_SDK}`, OUR_CRYPTO], { cwd: folder });
    }),
  );
  const crypto = path.join(folder, 'node_modules', ITS_CRYPTO);
  await rm(crypto, { recursive: true, force: true });
  await mkdir(crypto, { recursive: true });
  await copyFile(path.join(import.meta.dirname, 'crypto-by-wasm.cjs'), path.join(crypto, 'index.js'));
  const require = createRequire(path.join(folder, 'package.json'));
  return require('matrix-bot-sdk');
}

async function orSay(what: string, needs: string, install: () => Promise<void>): Promise<void> {
  await install().catch((cause: unknown) => {
    throw new Error(`${what} could not be installed. The test needs ${needs}.`, { cause });
  });
}

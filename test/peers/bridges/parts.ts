/** The libraries that bridges are made of, each in a folder of its own: matrix-appservice-bridge and mautrix. */

import { execFile } from 'node:child_process';
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder, madeOnce } from '#test/harness/made-once.ts';

const run = promisify(execFile);

const APPSERVICE_BRIDGE = '11.2.0';
const MAUTRIX = '0.21.1';
/** What it needs besides for encryption and for its database, and does not install by itself. */
const WITH_MAUTRIX = [
  'python-olm==3.2.16',
  'unpaddedbase64==2.1.0',
  'pycryptodome==3.23.0',
  'base58==2.1.1',
  'ruamel.yaml==0.19.1',
  'commonmark==0.9.1',
  'aiosqlite==0.22.1',
  'asyncpg==0.32.0',
];
const ITS_CRYPTO = '@matrix-org/matrix-sdk-crypto-nodejs';
const OUR_CRYPTO = '@matrix-org/matrix-sdk-crypto-wasm@18.9.0';

export interface BridgeEvent {
  readonly type: string;
  readonly room_id: string;
  readonly sender: string;
  readonly state_key?: string;
  readonly content: { readonly body?: string; readonly membership?: string };
}

export interface Intent {
  join(roomId: string): Promise<string>;
  setDisplayName(name: string): Promise<void>;
  sendText(roomId: string, text: string): Promise<{ event_id: string }>;
}

export interface Bridge {
  run(port: number, appservice?: undefined, hostname?: string): Promise<void>;
  getIntent(userId?: string): Intent;
  close(): Promise<void>;
}

/** What is used of matrix-appservice-bridge. */
export interface AppserviceBridge {
  readonly Bridge: new (options: {
    readonly homeserverUrl: string;
    readonly domain: string;
    readonly registration: object;
    readonly disableStores: true;
    readonly controller: {
      readonly onUserQuery: () => object;
      readonly onEvent: (request: { getData(): BridgeEvent }) => void;
    };
  }) => Bridge;
  readonly AppServiceRegistration: { fromObject(file: object): object };
}

/** matrix-appservice-bridge, installed at first use. */
export async function appserviceBridge(): Promise<AppserviceBridge> {
  const folder = cacheFolder(`appservice-bridge-${APPSERVICE_BRIDGE}`);
  await orSay('matrix-appservice-bridge', 'npm and a way to its registry', () =>
    madeOnce(folder, async () => {
      process.stderr.write(`Installing matrix-appservice-bridge ${APPSERVICE_BRIDGE} for the tests, once.\n`);
      await writeFile(path.join(folder, 'package.json'), '{ "private": true }');
      const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
      const packages = [`matrix-appservice-bridge@${APPSERVICE_BRIDGE}`, OUR_CRYPTO];
      await run('npm', ['install', ...quiet, ...packages], { cwd: folder });
    }),
  );
  const crypto = path.join(folder, 'node_modules', ITS_CRYPTO);
  await rm(crypto, { recursive: true, force: true });
  await mkdir(crypto, { recursive: true });
  await copyFile(path.join(import.meta.dirname, '../bots/crypto-by-wasm.cjs'), path.join(crypto, 'index.js'));
  const require = createRequire(path.join(folder, 'package.json'));
  return require('matrix-appservice-bridge');
}

/** The Python that has mautrix and its encryption, installed at first use. */
export async function mautrixPython(): Promise<string> {
  const folder = cacheFolder(`mautrix-${MAUTRIX}`);
  const python = path.join(folder, 'bin/python');
  await orSay('mautrix', 'python3 with venv and a way to the Python package index', () =>
    madeOnce(folder, async () => {
      process.stderr.write(`Installing mautrix ${MAUTRIX} for the tests, once.\n`);
      await run('python3', ['-m', 'venv', folder]);
      const quiet = ['--quiet', '--disable-pip-version-check'];
      await run(python, ['-m', 'pip', 'install', ...quiet, `mautrix==${MAUTRIX}`, ...WITH_MAUTRIX]);
    }),
  );
  return python;
}

async function orSay(what: string, needs: string, install: () => Promise<void>): Promise<void> {
  await install().catch((cause: unknown) => {
    throw new Error(`${what} could not be installed. The test needs ${needs}.`, { cause });
  });
}

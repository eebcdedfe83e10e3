/** The library that bridges are made of, in a folder of its own: matrix-appservice-bridge. */

import { execFile } from 'node:child_process';
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder, madeOnce } from '#test/harness/made-once.ts';

const run = promisify(execFile);

const APPSERVICE_BRIDGE = '11.2.0';
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

async function orSay(what: string, needs: string, install: () => Promise<void>): Promise<void> {
  await install().catch((cause: unknown) => {
    throw new Error(`${what} could not be installed. The test needs ${needs}.`, { cause });
  });
}

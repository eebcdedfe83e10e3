/** The libraries that bridges are made of, each in a folder of its own: matrix-appservice-bridge and mautrix. */

import { createRequire } from 'node:module';
import path from 'node:path';
import { nodeModulesWith, pythonWith } from '#test/harness/installed.ts';
import { OUR_CRYPTO, useOurCrypto } from '../bots/crypto-by-wasm.ts';

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
  const what = 'matrix-appservice-bridge';
  const packages = [`${what}@${APPSERVICE_BRIDGE}`, OUR_CRYPTO];
  const folder = await nodeModulesWith({
    ...{ what, version: APPSERVICE_BRIDGE, folder: 'appservice-bridge' },
    packages,
  });
  await useOurCrypto(folder);
  const require = createRequire(path.join(folder, 'package.json'));
  return require(what);
}

/** The Python that has mautrix and its encryption, installed at first use. */
export function mautrixPython(): Promise<string> {
  const packages = [`mautrix==${MAUTRIX}`, ...WITH_MAUTRIX];
  return pythonWith({ what: 'mautrix', version: MAUTRIX, folder: 'mautrix', packages });
}

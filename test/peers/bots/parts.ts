/** Two bots that others wrote, each in a folder of its own: matrix-nio and matrix-bot-sdk. */

import { createRequire } from 'node:module';
import path from 'node:path';
import { nodeModulesWith, pythonWith } from '#test/harness/installed.ts';
import { OUR_CRYPTO, useOurCrypto } from './crypto-by-wasm.ts';

const NIO = '0.26.0';
const BOT_SDK = '0.7.1';

/** The Python that has matrix-nio, installed at first use. */
export function nioPython(): Promise<string> {
  const packages = [`matrix-nio[e2e]==${NIO}`];
  return pythonWith({ what: 'matrix-nio', version: NIO, folder: 'nio', packages });
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
  const packages = [`matrix-bot-sdk@${BOT_SDK}`, OUR_CRYPTO];
  const folder = await nodeModulesWith({
    ...{ what: 'matrix-bot-sdk', version: BOT_SDK, folder: 'bot-sdk' },
    packages,
  });
  await useOurCrypto(folder);
  const require = createRequire(path.join(folder, 'package.json'));
  return require('matrix-bot-sdk');
}

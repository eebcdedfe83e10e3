/** A real server for tests: free ports, a folder of its own, gone when the test ends. */

import { boot, type RunningServer } from '#server/boot.ts';
import { defaultConfig } from '#server/config.ts';
import type { Config } from '#server/config-options.ts';
import type { ServerContext } from '#server/context.ts';
import { createLog } from '#server/log.ts';
import { type TestFolder, temporaryFolder } from '#test/harness/databases.ts';
import { freePort } from '#test/harness/free-port.ts';
import { assertSound } from '#test/harness/sound.ts';
import { serverRuns } from '#test/harness/spec/live.ts';
import { throwViolations } from '#test/harness/spec/violations.ts';
import { watched } from '#test/harness/spec/watch.ts';

/** Any option of the server; `clock` stands in for the time of day. */
export interface TestServerOptions extends Partial<Config> {
  readonly clock?: { now(): number };
  /** The test breaks what is stored: its rooms are not checked when it ends. */
  readonly isDamaged?: boolean;
  /** Gets every line of the log, at the level `debug`. */
  readonly logTo?: (line: string) => void;
}

/** A server with open registration, without rate limits, that may talk to loopback. `await using` stops it. */
export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const folder = options.dataDir === undefined ? await temporaryFolder() : undefined;
  const dataDir = options.dataDir ?? folder?.path;
  const server = new TestServer({ ...options, ...(dataDir !== undefined && { dataDir }) }, folder);
  try {
    await server.start();
  } catch (error) {
    await folder?.[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

export class TestServer {
  #options: TestServerOptions;
  readonly #folder: TestFolder | undefined;
  #running: RunningServer | undefined;
  /** Where it listens unless told otherwise, so that a restarted server is found there again. */
  #ports: { readonly client: number; readonly federation: number } | undefined;

  constructor(options: TestServerOptions, folder: TestFolder | undefined) {
    this.#options = options;
    this.#folder = folder;
  }

  get clientUrl(): string {
    return this.#server.clientUrl;
  }

  get federationUrl(): string {
    return this.#server.federationUrl;
  }

  get ctx(): ServerContext {
    return this.#server.ctx;
  }

  get serverName(): string {
    return this.ctx.serverName;
  }

  /** Starts it again where and as it was. */
  async start(): Promise<void> {
    if (this.#running !== undefined) throw new Error('the server runs already');
    const { clock, logTo, isDamaged: _, ...options } = this.#options;
    const config = { ...testConfig, ...(await this.#listeners()), ...options };
    const log = logTo === undefined ? createLog('silent') : createLog('debug', { write: logTo });
    this.#running = await watched(() => boot(config, { log, ...(clock !== undefined && { clock }) }));
    serverRuns(this.#running.ctx);
  }

  /** Its answers, and what it asks other servers, are checked against the specification as they leave. */
  readonly answersAre = 'checked';

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.close();
  }

  /** Stops it and starts it again, with other options where some are given. */
  async restart(changed: Partial<Config> = {}): Promise<void> {
    await this.stop();
    this.#options = { ...this.#options, ...changed };
    await this.start();
  }

  /** Stops it, and says what is wrong with its rooms. */
  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.#running;
    try {
      if (running !== undefined && this.#options.isDamaged !== true) await assertSound(running.ctx);
    } finally {
      await this.stop();
      await this.#folder?.[Symbol.asyncDispose]();
    }
    await throwViolations();
  }

  get #server(): RunningServer {
    if (this.#running === undefined) throw new Error('the server is stopped');
    return this.#running;
  }

  async #listeners(): Promise<Pick<Config, 'clientListen' | 'federationListen'>> {
    this.#ports ??= { client: await freePort(), federation: await freePort() };
    const { client, federation } = this.#ports;
    return {
      clientListen: { host: '127.0.0.1', port: client },
      federationListen: { host: '127.0.0.1', port: federation },
    };
  }
}

const testConfig: Config = {
  ...defaultConfig(),
  serverName: 'kurir.test',
  registration: 'open',
  passwordMinLength: 1,
  rateLimits: false,
  federationAllowPrivate: true,
  logLevel: 'debug',
};

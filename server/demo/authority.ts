/** An authority of the demonstration: a folder, two ports of loopback, and a server process of its own. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { ServerName, UserId } from '#keys/ids.ts';
import { certificatePath, loadOrCreateCertificate } from '../tls/certificate.ts';

const START_MS = 30_000;
const LOG_LINES = 10;

export class Authority {
  /** As people call it, such as `Harbour Office`. */
  readonly title: string;
  readonly serverName: ServerName;
  readonly clientUrl: string;
  readonly #folder: string;
  readonly #ports: { readonly client: number; readonly federation: number };
  #child: ChildProcess | undefined;

  /** Makes its folder and its certificate. It does not run yet. */
  static async create(title: string, folder: string): Promise<Authority> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const ports = { client: await freePort(), federation: await freePort() };
    const authority = new Authority(title, folder, ports);
    const { serverName } = authority;
    await loadOrCreateCertificate({ serverName, dataDir: folder, tlsCert: undefined, tlsKey: undefined });
    return authority;
  }

  private constructor(title: string, folder: string, ports: { client: number; federation: number }) {
    this.title = title;
    this.serverName = `localhost:${ports.federation}`;
    this.clientUrl = `http://127.0.0.1:${ports.client}`;
    this.#folder = folder;
    this.#ports = ports;
  }

  get certificate(): string {
    return certificatePath(this.#folder);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts the server, which trusts the certificate of the other authority, and waits until it answers. */
  async start(other: Authority): Promise<void> {
    const child = this.#spawn('server/main.ts', [], { KURIR_FEDERATION_CA: other.certificate });
    this.#child = child;
    child.stdin?.end();
    const log = createWriteStream(this.#logPath, { flags: 'a' });
    child.stderr?.pipe(log);
    // Its banner comes when everything is ready; what it says is for its operator.
    const banner = once(child.stdout ?? child, 'data', { signal: AbortSignal.timeout(START_MS) });
    const ended = once(child, 'exit').then(() => 'ended' as const);
    if ((await Promise.race([banner, ended])) === 'ended') {
      throw new Error(`the server of the ${this.title} did not start`);
    }
    child.stdout?.resume();
  }

  /** Stops the server as an operator does, by SIGTERM. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }

  /** Resolves with a description if the server ends without having been told to. */
  async ended(): Promise<string> {
    const child = this.#child;
    if (child === undefined) throw new Error('the server is not running');
    const [code, signal] = await once(child, 'exit');
    return `the server of the ${this.title} ended by itself (${signal ?? `exit code ${code}`})`;
  }

  /** Makes an account by the operator's command, while the server runs. */
  async addUser(localpart: string, password: string): Promise<UserId> {
    const child = this.#spawn('server/kurir.ts', ['user', 'add', localpart, '--password-stdin'], {});
    child.stdin?.end(password);
    const failure = child.stderr === null ? '' : text(child.stderr);
    child.stdout?.resume();
    const [code] = await once(child, 'close');
    if (code !== 0) throw new Error(`${localpart} got no account: ${(await failure).trim()}`);
    return `@${localpart}:${this.serverName}`;
  }

  /** The last lines of the server's log. */
  async log(): Promise<string> {
    const lines = (await readFile(this.#logPath, 'utf8').catch(() => '')).trimEnd().split('\n');
    return lines.slice(-LOG_LINES).join('\n');
  }

  get #logPath(): string {
    return join(this.#folder, 'server.log');
  }

  #spawn(program: string, args: readonly string[], more: Readonly<Record<string, string>>): ChildProcess {
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith('KURIR_'));
    const path = fileURLToPath(new URL(`../../${program}`, import.meta.url));
    return spawn(process.execPath, [...process.execArgv, path, ...args], {
      env: {
        ...Object.fromEntries(own),
        KURIR_SERVER_NAME: this.serverName,
        KURIR_DATA_DIR: this.#folder,
        KURIR_CLIENT_LISTEN: `127.0.0.1:${this.#ports.client}`,
        KURIR_FEDERATION_LISTEN: `127.0.0.1:${this.#ports.federation}`,
        KURIR_FEDERATION_ALLOW_PRIVATE: 'on',
        KURIR_REGISTRATION: 'closed',
        ...more,
      },
    });
  }
}

/** A port of loopback that nobody uses now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port is free');
  return address.port;
}

/**
 * Rocket.Chat as a peer for tests: its own federation SDK behind `rocketchat-host.ts`, with a database, on an address
 * of loopback that is its name. Names have no port, so both sides listen on 8448 of addresses of their own.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import type { TestAuthority } from '#test/harness/certificates.ts';
import type { Body } from '#test/harness/client.ts';
import { freePort } from '#test/harness/free-port.ts';
import { startPython } from '#test/harness/python.ts';
import { until } from '#test/harness/until.ts';
import type { HostSettings } from './rocketchat-host.ts';
import { rocketChatParts } from './rocketchat-parts.ts';

export interface RocketChatOptions {
  /** An empty folder for its database, log and certificate. */
  readonly folder: string;
  readonly authority: TestAuthority;
  /** An address of loopback, and the server's name. */
  readonly address: string;
  readonly users: readonly string[];
}

/** What Rocket.Chat's users are shown. */
export interface News {
  readonly news: string;
  readonly event: Body;
}

export class RocketChat {
  readonly serverName: string;
  /** In the order in which it came, over restarts. */
  readonly news: News[] = [];
  readonly #settings: HostSettings;
  readonly #folder: string;
  readonly #database: ChildProcess;
  readonly #waiting = new Map<number, (answer: { result?: Body; error?: string }) => void>();
  #host: ChildProcess | undefined;
  #calls = 0;

  static async create({ folder, authority, address, users }: RocketChatOptions): Promise<RocketChat> {
    const parts = await rocketChatParts();
    const file = (name: string) => path.join(folder, name);
    const { cert, key } = await authority.issue([address]);
    await writeFile(file('tls.crt'), cert);
    await writeFile(file('tls.key'), key);
    await writeFile(file('ca.crt'), authority.cert);
    const port = await freePort();
    const database = await startDatabase(parts.database, { folder, port });
    const rocketChat = new RocketChat(folder, database, {
      sdkFolder: parts.sdkFolder,
      databaseUri: `mongodb://127.0.0.1:${port}/rocketchat?directConnection=true`,
      serverName: address,
      signingSeed: randomBytes(32).toString('base64'),
      certFile: file('tls.crt'),
      keyFile: file('tls.key'),
      users,
    });
    try {
      await rocketChat.start();
    } catch (error) {
      await rocketChat[Symbol.asyncDispose]();
      throw error;
    }
    return rocketChat;
  }

  private constructor(folder: string, database: ChildProcess, settings: HostSettings) {
    this.#folder = folder;
    this.#database = database;
    this.#settings = settings;
    this.serverName = settings.serverName;
  }

  userId(name: string): string {
    return `@${name}:${this.serverName}`;
  }

  /** Starts it again where and as it was; resolves once it answers. */
  async start(): Promise<void> {
    if (this.#host !== undefined) throw new Error('Rocket.Chat runs already');
    const log = await open(path.join(this.#folder, 'output.log'), 'a');
    const host = fork(
      path.join(import.meta.dirname, 'rocketchat-host.ts'),
      [JSON.stringify(this.#settings)],
      {
        execArgv: ['--disable-warning=ExperimentalWarning'],
        stdio: ['ignore', log.fd, log.fd, 'ipc'],
        env: { ...process.env, NODE_EXTRA_CA_CERTS: path.join(this.#folder, 'ca.crt') },
      },
    );
    await log.close();
    this.#host = host;
    const ready = new Promise<Body>((resolve) => this.#waiting.set(0, resolve));
    host.on('message', (message: Body) => {
      if (message.news !== undefined) this.news.push(message);
      else this.#waiting.get(message.id)?.(message);
    });
    host.on('exit', () => {
      for (const answer of this.#waiting.values()) answer({ error: 'Rocket.Chat has ended' });
    });
    const { error } = await ready;
    this.#waiting.delete(0);
    if (error !== undefined) throw new Error(`${error}\n${await this.log()}`);
  }

  /** Ends it at once, as when its machine fails: what it held in memory is lost. Its database goes on. */
  async kill(): Promise<void> {
    const host = this.#host;
    this.#host = undefined;
    if (host !== undefined) await end(host);
  }

  /** Calls a method of the SDK. Throws what it throws. */
  async call(method: string, ...args: readonly unknown[]): Promise<Body> {
    const host = this.#host;
    if (host === undefined) throw new Error('Rocket.Chat is stopped');
    this.#calls += 1;
    const id = this.#calls;
    const answered = new Promise<{ result?: Body; error?: string }>((resolve) =>
      this.#waiting.set(id, resolve),
    );
    host.send({ id, call: method, args });
    const { result, error } = await answered;
    this.#waiting.delete(id);
    if (error !== undefined) throw new Error(`${method}: ${error}`);
    return result;
  }

  /** What it showed of a room, of some kinds, oldest first. */
  shown(kinds: readonly string[], roomId: string): Body[] {
    return this.news
      .filter(({ news, event }) => kinds.includes(news) && (event.event?.room_id ?? event.room_id) === roomId)
      .map(({ event }) => event);
  }

  /** The texts of the messages that it showed of a room, oldest first. */
  messages(roomId: string): string[] {
    return this.shown(['message'], roomId).map(({ event }) => event.content.body);
  }

  /** The last lines of its log, to say what it thought when a test fails. */
  async log(lines = 60): Promise<string> {
    const text = await readFile(path.join(this.#folder, 'output.log'), 'utf8');
    return text.split('\n').slice(-lines).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await end(this.#database);
  }
}

async function startDatabase(
  program: string,
  { folder, port }: { folder: string; port: number },
): Promise<ChildProcess> {
  const storage = ['--storage-path', path.join(folder, 'database'), '--cache-size', '64M'];
  const child = await startPython({
    python: path.join(path.dirname(program), 'python'),
    program: { script: program },
    args: ['--host', '127.0.0.1', '--port', `${port}`, '--standalone', ...storage],
    cwd: folder,
    output: path.join(folder, 'database.log'),
  });
  try {
    await until(() => {
      if (child.exitCode !== null) throw new Error(`the database ended with ${child.exitCode}`);
      return accepts(port);
    }, 'that the database listens');
  } catch (error) {
    await end(child);
    throw error;
  }
  return child;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

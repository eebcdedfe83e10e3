/** A real Synapse for tests, in a Python virtual environment of its own, federating over TLS on loopback. */

import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { TestAuthority } from '#test/harness/certificates.ts';
import { freePort } from '#test/harness/free-port.ts';
import type { Network } from '#test/harness/network.ts';
import { startPython } from '#test/harness/python.ts';
import { synapsePython } from '#test/harness/synapse-python.ts';

const run = promisify(execFile);

const START_MS = 180_000;
const STOP_MS = 20_000;
export const SHARED_SECRET = 'synapse registration secret of a test';

export interface SynapseOptions {
  /** An empty folder: configuration, database, log and keys. */
  readonly folder: string;
  readonly authority: TestAuthority;
  /** Puts it behind a gate of a network, by which other servers reach it. */
  readonly network?: Network;
}

/** A Synapse with SQLite, no rate limits, and federation to loopback. */
export class Synapse {
  readonly serverName: string;
  readonly clientUrl: string;
  readonly answersAre = 'foreign';
  readonly #folder: string;
  readonly #python: string;
  #child: ChildProcess | undefined;

  static async create({ folder, authority, network }: SynapseOptions): Promise<Synapse> {
    const python = await synapsePython();
    const ports = { client: await freePort(), federation: await freePort() };
    const gate = await network?.open(ports.federation);
    const serverName = gate?.name ?? `localhost:${ports.federation}`;
    const synapse = new Synapse({ folder, python, serverName, clientPort: ports.client });
    await synapse.#configure(authority, ports);
    await synapse.start();
    return synapse;
  }

  private constructor(options: {
    folder: string;
    python: string;
    serverName: string;
    clientPort: number;
  }) {
    this.#folder = options.folder;
    this.#python = options.python;
    this.serverName = options.serverName;
    this.clientUrl = `http://127.0.0.1:${options.clientPort}`;
  }

  /** Starts it again where and as it was; resolves once it answers. */
  async start(): Promise<void> {
    if (this.#child !== undefined) throw new Error('Synapse runs already');
    const child = await startPython({
      python: this.#python,
      program: { module: 'synapse.app.homeserver' },
      args: ['--config-path', path.join(this.#folder, 'homeserver.yaml')],
      cwd: this.#folder,
      output: path.join(this.#folder, 'output.log'),
    });
    this.#child = child;
    const deadline = Date.now() + START_MS;
    while (!(await this.#answers())) {
      if (child.exitCode !== null || Date.now() > deadline) {
        const output = await readFile(path.join(this.#folder, 'output.log'), 'utf8');
        await this.stop();
        throw new Error(`Synapse did not start:\n${output.slice(-4_000)}`);
      }
      await sleep(100);
    }
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    const killer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await exited;
    clearTimeout(killer);
  }

  /** The last lines of its log, to say what it thought when a test fails. */
  async log(lines = 60): Promise<string> {
    const text = await readFile(path.join(this.#folder, 'homeserver.log'), 'utf8');
    return text.split('\n').slice(-lines).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #answers(): Promise<boolean> {
    try {
      return (await fetch(`${this.clientUrl}/_matrix/client/versions`)).ok;
    } catch {
      // Not listening yet: ask again.
      return false;
    }
  }

  async #configure(authority: TestAuthority, ports: { client: number; federation: number }): Promise<void> {
    const { cert, key } = await authority.issue(['localhost', '127.0.0.1']);
    const file = (name: string) => path.join(this.#folder, name);
    await writeFile(file('tls.crt'), cert);
    await writeFile(file('tls.key'), key);
    await writeFile(file('ca.crt'), authority.cert);
    await writeFile(file('log.yaml'), logConfig(file('homeserver.log')));
    // JSON is YAML.
    await writeFile(
      file('homeserver.yaml'),
      JSON.stringify(homeserverConfig({ name: this.serverName, folder: this.#folder, ports })),
    );
    await run(
      this.#python,
      ['-m', 'synapse.app.homeserver', '--config-path', file('homeserver.yaml'), '--generate-keys'],
      { cwd: this.#folder },
    );
  }
}

function homeserverConfig(options: {
  name: string;
  folder: string;
  ports: { client: number; federation: number };
}): object {
  const file = (name: string) => path.join(options.folder, name);
  const listener = { type: 'http', bind_addresses: ['127.0.0.1'] };
  return {
    server_name: options.name,
    report_stats: false,
    pid_file: file('homeserver.pid'),
    signing_key_path: file('signing.key'),
    media_store_path: file('media'),
    log_config: file('log.yaml'),
    database: { name: 'sqlite3', args: { database: file('homeserver.db') } },
    tls_certificate_path: file('tls.crt'),
    tls_private_key_path: file('tls.key'),
    federation_custom_ca_list: [file('ca.crt')],
    listeners: [
      { ...listener, port: options.ports.federation, tls: true, resources: [{ names: ['federation'] }] },
      { ...listener, port: options.ports.client, resources: [{ names: ['client'] }] },
    ],
    trusted_key_servers: [],
    suppress_key_server_warning: true,
    ip_range_blacklist: [],
    federation_ip_range_blacklist: [],
    registration_shared_secret: SHARED_SECRET,
    macaroon_secret_key: 'macaroons of a test',
    form_secret: 'forms of a test',
    allow_public_rooms_over_federation: true,
    // By default nobody may publish a room.
    room_list_publication_rules: [{ action: 'allow' }],
    // Short waits, so that a test of an outage ends in its time.
    federation: {
      destination_min_retry_interval: '1s',
      destination_max_retry_interval: '5s',
      max_long_retries: 1,
      max_long_retry_delay: '1s',
      client_timeout: '10s',
    },
    // By default it answers the same /sync from memory for two minutes.
    caches: { sync_response_cache_duration: '0s' },
    ...noRateLimits(),
  };
}

function noRateLimits(): object {
  const free = { per_second: 10_000, burst_count: 10_000 };
  return {
    rc_message: free,
    rc_registration: free,
    rc_login: { address: free, account: free, failed_attempts: free },
    rc_joins: { local: free, remote: free },
    rc_joins_per_room: free,
    rc_invites: { per_room: free, per_user: free, per_issuer: free },
    rc_room_creation: free,
    rc_federation: {
      window_size: 1_000,
      sleep_limit: 10_000,
      sleep_delay: 1,
      reject_limit: 10_000,
      concurrent: 100,
    },
  };
}

function logConfig(filename: string): string {
  return JSON.stringify({
    version: 1,
    formatters: { plain: { format: '%(asctime)s %(levelname)s %(name)s %(message)s' } },
    handlers: { file: { class: 'logging.FileHandler', filename, formatter: 'plain' } },
    root: { level: 'INFO', handlers: ['file'] },
    disable_existing_loggers: false,
  });
}

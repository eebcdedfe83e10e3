/**
 * Synapse from PyPI in a virtual environment of its own, on SQLite, with rate limits raised; for the rest as it is
 * installed. Needs `python3` with `venv`.
 */

import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort, launch, type ServerKind } from '#bench/servers/server.ts';

const PACKAGE = 'matrix-synapse==1.163.2';
const registrationSecret = 'kurir-bench-secret';
const execute = promisify(execFile);

export const synapse: ServerKind = {
  name: 'synapse',
  prepare: install,
  start: async (folder) => {
    const port = await freePort();
    const config = path.join(folder, 'homeserver.yaml');
    fs.writeFileSync(config, configuration(folder, port));
    fs.writeFileSync(path.join(folder, 'log.yaml'), 'version: 1\nroot: { level: WARNING }\n');
    return launch({
      command: python(),
      args: ['-m', 'synapse.app.homeserver', '-c', config],
      env: { ...process.env },
      url: `http://127.0.0.1:${port}`,
      registrationSecret,
      logFile: path.join(folder, 'bench.log'),
    });
  },
};

/** The environment that the tests against Synapse use too; KURIR_TEST_SYNAPSE_VENV names another. */
function environmentFolder(): string {
  const own = path.resolve(import.meta.dirname, '../../node_modules/.cache/kurir-peers/synapse');
  return process.env.KURIR_TEST_SYNAPSE_VENV ?? own;
}

function python(): string {
  return path.join(environmentFolder(), 'bin', 'python3');
}

async function install(): Promise<void> {
  const folder = environmentFolder();
  if (fs.existsSync(path.join(folder, 'bin', 'synapse_homeserver'))) return;
  console.log(`Installing ${PACKAGE} into ${folder}; this takes a minute or two ...`);
  fs.mkdirSync(folder, { recursive: true });
  await execute('python3', ['-m', 'venv', folder]);
  await execute(python(), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', PACKAGE]);
}

function configuration(folder: string, port: number): string {
  const unlimited = { per_second: 1e6, burst_count: 1e6 };
  // JSON is YAML.
  return JSON.stringify({
    server_name: 'localhost',
    pid_file: path.join(folder, 'synapse.pid'),
    signing_key_path: path.join(folder, 'signing.key'),
    media_store_path: path.join(folder, 'media'),
    log_config: path.join(folder, 'log.yaml'),
    listeners: [
      { port, bind_addresses: ['127.0.0.1'], type: 'http', tls: false, resources: [{ names: ['client'] }] },
    ],
    database: { name: 'sqlite3', args: { database: path.join(folder, 'homeserver.db') } },
    registration_shared_secret: registrationSecret,
    bcrypt_rounds: 4,
    report_stats: false,
    suppress_key_server_warning: true,
    trusted_key_servers: [],
    filter_timeline_limit: -1,
    rc_message: unlimited,
    rc_registration: unlimited,
    rc_login: { address: unlimited, account: unlimited, failed_attempts: unlimited },
    rc_joins: { local: unlimited, remote: unlimited },
    rc_joins_per_room: unlimited,
    rc_room_creation: unlimited,
    rc_admin_redaction: unlimited,
    rc_invites: { per_room: unlimited, per_user: unlimited, per_issuer: unlimited },
  });
}

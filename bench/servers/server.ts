/** What a scenario knows of the server that it measures: enough to run the same one against Kurir and another. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '#bench/lib/connection.ts';

export interface ServerKind {
  readonly name: string;
  /** Whatever must be there before the first start, e.g. an installation. */
  prepare(): Promise<void>;
  /** Starts a server on `folder`, new or of an earlier start; resolves with its first answer. */
  start(folder: string): Promise<RunningServer>;
}

export interface RunningServer {
  /** Base URL of the client API. */
  readonly url: string;
  /** Secret of `/_synapse/admin/v1/register`. */
  readonly registrationSecret: string;
  readonly pid: number;
  /** From the start of the process to the first 200 of /_matrix/client/versions. */
  readonly readyMs: number;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<void>;
  /** kill -9, and waits for the end. */
  kill(): Promise<void>;
}

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly url: string;
  readonly registrationSecret: string;
  /** The server's own output goes there. */
  readonly logFile: string;
}

const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 30_000;

/** Starts a server's process and waits for its first answer. */
export async function launch({
  command,
  args,
  env,
  url,
  registrationSecret,
  logFile,
}: Launch): Promise<RunningServer> {
  const log = fs.openSync(logFile, 'a');
  const started = performance.now();
  const child = spawn(command, args, { env, stdio: ['ignore', log, log] });
  fs.closeSync(log);
  // Ends with us also if the scenario throws.
  const killIt = () => child.kill('SIGKILL');
  process.once('exit', killIt);
  const ended = once(child, 'exit').finally(() => process.off('exit', killIt));
  const end = async (signal: NodeJS.Signals) => {
    const late = setTimeout(killIt, STOP_WITHIN_MS);
    child.kill(signal);
    await ended;
    clearTimeout(late);
  };
  while (!(await answers(url))) {
    if (
      child.exitCode !== null ||
      child.signalCode !== null ||
      performance.now() - started > READY_WITHIN_MS
    ) {
      throw new Error(`${command} ${args.join(' ')} did not start; its log:\n${tail(logFile)}`);
    }
    await sleep(2);
  }
  const readyMs = performance.now() - started;
  return {
    url,
    registrationSecret,
    pid: pidOf(child),
    readyMs,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
}

async function answers(url: string): Promise<boolean> {
  let connection: Connection | undefined;
  try {
    connection = await Connection.open(url);
    return (await connection.request('GET', '/_matrix/client/versions')).status === 200;
  } catch {
    // Refused or closed: not there yet, which is what the caller asks.
    return false;
  } finally {
    connection?.close();
  }
}

function pidOf({ pid }: ChildProcess): number {
  if (pid === undefined) throw new Error('the process did not start');
  return pid;
}

function tail(file: string): string {
  return fs.readFileSync(file, 'utf8').split('\n').slice(-30).join('\n');
}

/** A port of 127.0.0.1 that is free now. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Bytes of all files under a folder, logs not counted. */
export function folderBytes(folder: string): number {
  return fs
    .readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.log'))
    .reduce((sum, entry) => sum + fs.statSync(path.join(entry.parentPath, entry.name)).size, 0);
}

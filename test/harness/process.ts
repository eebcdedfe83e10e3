/** Programs of Kurir as processes of their own, for what only a process can show: signals, exit codes, output. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

export type Environment = Readonly<Record<string, string>>;

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a program to its end. */
export async function run(
  program: 'server/main.ts' | 'server/kurir.ts',
  args: readonly string[],
  { env = {}, input = '' }: { env?: Environment; input?: string } = {},
): Promise<Ended> {
  const { child, output } = start(program, args, env);
  child.stdin?.end(input);
  const [code] = await once(child, 'close');
  return { code, ...output };
}

export interface ServerProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly output: { readonly out: string; readonly err: string };
  readonly clientUrl: string;
  readonly federationUrl: string;
  /** Sends a signal, and answers the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** The environment of a server of its own: free ports, the given folder. */
export function serverEnvironment(dataDir: string): Environment {
  return {
    KURIR_DATA_DIR: dataDir,
    KURIR_CLIENT_LISTEN: '127.0.0.1:0',
    KURIR_FEDERATION_LISTEN: '127.0.0.1:0',
    KURIR_RATE_LIMITS: 'off',
  };
}

/** Starts a server, by `server/main.ts` unless another is named, and waits until it says where it listens. */
export async function startProcess(env: Environment, program = 'server/main.ts'): Promise<ServerProcess> {
  const { child, output } = start(program, [], env);
  child.stdin?.end();
  const ended = once(child, 'close');
  while (!output.out.includes('Ctrl-C')) {
    // Line by line, until the last one.
    const [chunk] = await Promise.race([once(child.stdout ?? child, 'data'), ended]);
    if (typeof chunk === 'number') throw new Error(`the server ended with ${chunk}: ${output.err}`);
  }
  // What it wrote to its log before that may have come in the same turn, to be read after it.
  await nextTurn();
  const url = (name: string) => new RegExp(`${name} +(http\\S+)`).exec(output.out)?.[1] ?? '';
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> => {
    child.kill(signal);
    const [code] = await ended;
    return code;
  };
  return {
    ...{ child, output, stop },
    clientUrl: url('clients'),
    federationUrl: url('federation'),
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) await stop('SIGKILL');
    },
  };
}

function start(
  program: string,
  args: readonly string[],
  env: Environment,
): { child: ChildProcess; output: { out: string; err: string } } {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('KURIR_'));
  const child = spawn(process.execPath, [`${root}${program}`, ...args], {
    cwd: root,
    env: { NODE_COMPILE_CACHE: `${root}node_modules/.cache/kurir`, ...Object.fromEntries(inherited), ...env },
  });
  const output = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output.out += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    output.err += chunk;
  });
  return { child, output };
}

/** Versity's S3 gateway, a store that others wrote, over a folder of the test. */

import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { temporaryFolder } from '#test/harness/databases.ts';
import { freePort } from '#test/harness/free-port.ts';
import { cacheFolder, madeOnce } from '#test/harness/made-once.ts';
import { until } from '#test/harness/until.ts';

const run = promisify(execFile);

const MODULE = 'github.com/versity/versitygw/cmd/versitygw';
const VERSION = 'v1.8.0';
const ACCESS_KEY = 'kurir';
const SECRET_KEY = 'not a secret of anybody';

export const hasGo = spawnSync('go', ['version']).status === 0;

/** Where a bucket is, as the option `media_bucket` says it. */
export interface VersityBucket extends AsyncDisposable {
  readonly url: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: { readonly value: string };
}

/** A store of its own, with an empty bucket. */
export async function startVersity(): Promise<VersityBucket> {
  const program = await versityProgram();
  await using starting = new AsyncDisposableStack();
  const folder = starting.use(await temporaryFolder());
  const files = path.join(folder.path, 'files');
  await mkdir(path.join(files, 'kurir'), { recursive: true });
  const port = await freePort();
  const args = ['--port', `127.0.0.1:${port}`, 'posix', files];
  const env = { PATH: process.env.PATH, ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: SECRET_KEY };
  const child = spawn(program, args, { env, stdio: 'ignore' });
  starting.defer(() => end(child));
  const url = `http://127.0.0.1:${port}`;
  await until(
    () =>
      fetch(url).then(
        () => true,
        () => false,
      ),
    'that the store answers',
  );
  const started = starting.move();
  return {
    url: `${url}/kurir`,
    accessKeyId: ACCESS_KEY,
    secretAccessKey: { value: SECRET_KEY },
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

/** The program, built at first use. */
async function versityProgram(): Promise<string> {
  const folder = cacheFolder(`versitygw-${VERSION}`);
  try {
    await madeOnce(folder, async () => {
      process.stderr.write(`Building versitygw ${VERSION} for the tests, once.\n`);
      await run('go', ['install', `${MODULE}@${VERSION}`], { env: { ...process.env, GOBIN: folder } });
    });
  } catch (cause) {
    throw new Error(
      'versitygw could not be built. The test needs Go 1.25 or newer and a way to its modules.',
      {
        cause,
      },
    );
  }
  return path.join(folder, 'versitygw');
}

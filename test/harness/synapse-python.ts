/** A Python with Synapse in it, for the tests that run Synapse and for those that ask its modules. */

import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder, madeOnce } from './made-once.ts';

const run = promisify(execFile);

const VERSION = '1.163.2';

/**
 * The path of the Python of `KURIR_TEST_SYNAPSE_VENV`, else of a virtual environment that is made at first use.
 * Throws where neither can be had.
 */
export async function synapsePython(): Promise<string> {
  const given = process.env.KURIR_TEST_SYNAPSE_VENV;
  const folder = given ?? cacheFolder(`synapse-${VERSION}`);
  const python = path.join(folder, 'bin/python');
  if (given !== undefined) return python;
  try {
    await madeOnce(folder, async () => {
      process.stderr.write(
        `Installing Synapse ${VERSION} for the tests: this takes a minute or two, once.\n`,
      );
      await run('python3', ['-m', 'venv', folder]);
      const quiet = ['--quiet', '--disable-pip-version-check'];
      await run(python, ['-m', 'pip', 'install', ...quiet, `matrix-synapse==${VERSION}`]);
      await run(python, ['-c', 'import synapse.app.homeserver']);
    });
  } catch (cause) {
    throw new Error(
      'Synapse could not be installed. The tests need python3 with venv (Debian: apt-get install python3-venv) and a way to the Python package index.',
      { cause },
    );
  }
  return python;
}

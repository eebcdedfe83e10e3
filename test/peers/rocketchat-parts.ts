/** What a Rocket.Chat of the tests is made of: its federation SDK and a database, each in a folder of its own. */

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder, madeOnce } from '#test/harness/made-once.ts';

const run = promisify(execFile);

const SDK = '0.8.0';
/** Speaks the protocol of MongoDB, which Rocket.Chat keeps its rooms in. */
const DATABASE = '0.7.0b3';

export interface RocketChatParts {
  /** Where `@rocket.chat/federation-sdk` is installed. */
  readonly sdkFolder: string;
  /** The program of the database. */
  readonly database: string;
}

/** Installs them at first use. Throws, with what is needed, where they cannot be had. */
export async function rocketChatParts(): Promise<RocketChatParts> {
  const sdkFolder = cacheFolder(`rocketchat-sdk-${SDK}`);
  const databaseFolder = cacheFolder(`secantusdb-${DATABASE}`);
  try {
    await madeOnce(sdkFolder, async () => {
      process.stderr.write(`Installing Rocket.Chat's federation SDK ${SDK} for the tests, once.\n`);
      await writeFile(path.join(sdkFolder, 'package.json'), '{ "private": true }');
      const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
      await run('npm', ['install', ...quiet, `@rocket.chat/federation-sdk@${SDK}`], { cwd: sdkFolder });
    });
    await madeOnce(databaseFolder, async () => {
      process.stderr.write(`Installing SecantusDB ${DATABASE} for the tests, once.\n`);
      await run('python3', ['-m', 'venv', databaseFolder]);
      const python = path.join(databaseFolder, 'bin/python');
      const quiet = ['--quiet', '--disable-pip-version-check'];
      await run(python, ['-m', 'pip', 'install', ...quiet, `secantusdb==${DATABASE}`]);
    });
  } catch (cause) {
    throw new Error(
      "Rocket.Chat's federation SDK or its database could not be installed. The tests need npm, python3 with venv (Debian: apt-get install python3-venv) and a way to the npm registry and the Python package index.",
      { cause },
    );
  }
  return { sdkFolder, database: path.join(databaseFolder, 'bin/secantusd-py') };
}

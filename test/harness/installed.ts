/** Programs that others wrote, from the indexes of Python and of npm: each in a folder of its own, made at first use. */

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder, madeOnce } from './made-once.ts';

const run = promisify(execFile);

export interface Installed {
  /** For people. */
  readonly what: string;
  readonly version: string;
  /** The name of the folder, to which the version is added. */
  readonly folder: string;
  /** With their versions, as pip or npm take them. */
  readonly packages: readonly string[];
}

/** The path of a Python that has the packages. Throws, with what is needed, where they cannot be had. */
export async function pythonWith(
  installed: Installed,
  { imports }: { /** A module that must load. */ readonly imports?: string } = {},
): Promise<string> {
  const folder = folderOf(installed);
  const python = path.join(folder, 'bin/python');
  const needs =
    'python3 with venv (Debian: apt-get install python3-venv) and a way to the Python package index';
  await install(installed, needs, async () => {
    await run('python3', ['-m', 'venv', folder]);
    const quiet = ['--quiet', '--disable-pip-version-check'];
    await run(python, ['-m', 'pip', 'install', ...quiet, ...installed.packages]);
    if (imports !== undefined) await run(python, ['-c', `import ${imports}`]);
  });
  return python;
}

/** The folder in whose `node_modules` the packages are. Throws, with what is needed, where they cannot be had. */
export async function nodeModulesWith(installed: Installed): Promise<string> {
  const folder = folderOf(installed);
  await install(installed, 'npm and a way to its registry', async () => {
    await writeFile(path.join(folder, 'package.json'), '{ "private": true }');
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    await run('npm', ['install', ...quiet, ...installed.packages], { cwd: folder });
  });
  return folder;
}

function folderOf({ folder, version }: Installed): string {
  return cacheFolder(`${folder}-${version}`);
}

async function install(installed: Installed, needs: string, make: () => Promise<void>): Promise<void> {
  const { what, version } = installed;
  try {
    await madeOnce(folderOf(installed), async () => {
      process.stderr.write(
        `Installing ${what} ${version} for the tests: this may take a minute or two, once.\n`,
      );
      await make();
    });
  } catch (cause) {
    throw new Error(`${what} could not be installed. The test needs ${needs}.`, { cause });
  }
}

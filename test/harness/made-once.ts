/** What tests need and what takes long to make: made once, and kept in the user's cache for every clone. */

import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 200;
/** Longer than anything takes that is made here. */
const WAIT_MS = 600_000;

/** Where things of a name are kept: `KURIR_TEST_CACHE`, or a folder of the user's cache. */
export function cacheFolder(name: string): string {
  const { KURIR_TEST_CACHE: given, XDG_CACHE_HOME: cache } = process.env;
  return path.join(given ?? path.join(cache ?? path.join(os.homedir(), '.cache'), 'kurir-tests'), name);
}

/**
 * Lets `make` fill the folder unless that was done before. Of several processes one makes it and the others
 * wait; what was cut off is made again from nothing. Throws what `make` throws.
 */
export async function madeOnce(folder: string, make: () => Promise<void>): Promise<void> {
  const done = path.join(folder, 'made');
  if (await exists(done)) return;
  await mkdir(path.dirname(folder), { recursive: true });
  const release = await lock(`${folder}.lock`);
  try {
    if (await exists(done)) return;
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder);
    await make();
    await writeFile(done, '');
  } finally {
    await release();
  }
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

/** Takes a lock that is a file with its holder's process id; that of a process which has ended does not count. */
async function lock(file: string): Promise<() => Promise<void>> {
  const deadline = Date.now() + WAIT_MS;
  while (!(await takes(file))) {
    const holder = Number(await readFile(file, 'utf8').catch(() => '0'));
    if (holder > 0 && !isAlive(holder)) await rm(file, { force: true });
    else if (Date.now() > deadline) throw new Error(`process ${holder} holds ${file} for too long`);
    else await sleep(POLL_MS);
  }
  return () => rm(file, { force: true });
}

async function takes(file: string): Promise<boolean> {
  try {
    await writeFile(file, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

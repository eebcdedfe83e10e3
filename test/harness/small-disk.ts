/** A disk of a few megabytes, which a test fills: a tmpfs of its own, which needs the rights to mount one. */

import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestFolder, temporaryFolder } from './databases.ts';

export interface SmallDisk extends AsyncDisposable {
  /** A folder on it. */
  readonly path: string;
  /** Takes all the space that is left. */
  fill(): Promise<void>;
  /** Gives that back. */
  free(): Promise<void>;
}

/** Why there can be no such disk here, for the name of a test that is skipped; false where there can. */
export const noSmallDisk: string | false = (() => {
  const path = `/tmp/kurir-mount-${process.pid}`;
  const probe = spawnSync('sh', [
    '-c',
    `mkdir ${path} && mount -t tmpfs -o size=1m tmpfs ${path} && umount ${path}`,
  ]);
  rmSync(path, { recursive: true, force: true });
  return probe.status === 0 ? false : 'needs the right to mount a tmpfs';
})();

/** Mounts a disk of so many MiB, on `at` where that is given. */
export async function smallDisk(mib: number, at?: string): Promise<SmallDisk> {
  const folder: TestFolder | undefined = at === undefined ? await temporaryFolder() : undefined;
  const path = at ?? folder?.path ?? '';
  const filler = join(path, 'filler');
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m`, 'tmpfs', path]);
  if (mounted.status !== 0) throw new Error(String(mounted.stderr));
  return {
    path,
    fill: async () => {
      await using file = await open(filler, 'w');
      for (const size of [1_048_576, 4_096]) {
        const block = Buffer.alloc(size, 1);
        while ((await written(file.write(block))) === size);
      }
    },
    free: () => rm(filler, { force: true }),
    [Symbol.asyncDispose]: async () => {
      spawnSync('umount', ['--lazy', path]);
      await folder?.[Symbol.asyncDispose]();
    },
  };
}

/** How many bytes there was space for. */
async function written(write: Promise<{ bytesWritten: number }>): Promise<number> {
  try {
    return (await write).bytesWritten;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return 0;
    throw error;
  }
}

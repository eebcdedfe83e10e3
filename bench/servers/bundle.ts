/** Kurir as the image starts it: from the few files that `bundle.js` makes. */

import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { startKurir } from '#bench/servers/kurir.ts';
import type { ServerKind } from '#bench/servers/server.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const FOLDER = path.join(ROOT, 'node_modules', '.cache', 'kurir-bundle');

export const bundle: ServerKind = {
  name: 'bundle',
  prepare: async () => {
    const program = path.join(ROOT, 'bundle.js');
    const { status, stderr } = spawnSync(process.execPath, [program, FOLDER], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`bundle.js failed: ${stderr}`);
  },
  start: (folder) => startKurir(folder, { program: path.relative(ROOT, path.join(FOLDER, 'main.js')) }),
};

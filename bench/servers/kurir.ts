/** Kurir as `npm start` runs it, from this working tree. */

import path from 'node:path';
import { freePort, launch, type RunningServer, type ServerKind } from '#bench/servers/server.ts';

const registrationSecret = 'kurir-bench-secret';

export const kurir: ServerKind = {
  name: 'kurir',
  prepare: async () => {},
  start: (folder) => startKurir(folder),
};

export interface KurirOptions {
  /** Options of its configuration, and other variables of its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** A module that is loaded before it. */
  readonly preload?: string;
  /** What is started, from the root of the tree; `server/main.ts` unless given. */
  readonly program?: string;
}

/** Starts Kurir on a folder. */
export async function startKurir(
  folder: string,
  { env = {}, preload, program = 'server/main.ts' }: KurirOptions = {},
): Promise<RunningServer> {
  const [clientPort, federationPort] = [await freePort(), await freePort()];
  return launch({
    command: process.execPath,
    // The options that run.js gave this process are the ones that it gives the server.
    args: [
      ...process.execArgv,
      ...(preload === undefined ? [] : ['--import', preload]),
      path.resolve(import.meta.dirname, '../..', program),
    ],
    env: {
      ...process.env,
      KURIR_SERVER_NAME: 'localhost',
      KURIR_DATA_DIR: folder,
      KURIR_CLIENT_LISTEN: `127.0.0.1:${clientPort}`,
      KURIR_FEDERATION_LISTEN: `127.0.0.1:${federationPort}`,
      KURIR_REGISTRATION_SECRET: registrationSecret,
      KURIR_RATE_LIMITS: 'off',
      KURIR_LOG_LEVEL: 'warn',
      ...env,
    },
    url: `http://127.0.0.1:${clientPort}`,
    registrationSecret,
    logFile: path.join(folder, 'bench.log'),
  });
}

/** Kurir as `npm start` runs it, from this working tree. */

import path from 'node:path';
import { freePort, launch, type ServerKind } from '#bench/servers/server.ts';

const registrationSecret = 'kurir-bench';

export const kurir: ServerKind = {
  name: 'kurir',
  prepare: async () => {},
  start: async (folder) => {
    const [clientPort, federationPort] = [await freePort(), await freePort()];
    return launch({
      command: process.execPath,
      // The options that run.js gave this process are the ones that it gives the server.
      args: [...process.execArgv, path.resolve(import.meta.dirname, '../../server/main.ts')],
      env: {
        ...process.env,
        KURIR_SERVER_NAME: 'localhost',
        KURIR_DATA_DIR: folder,
        KURIR_CLIENT_LISTEN: `127.0.0.1:${clientPort}`,
        KURIR_FEDERATION_LISTEN: `127.0.0.1:${federationPort}`,
        KURIR_REGISTRATION_SECRET: registrationSecret,
        KURIR_RATE_LIMITS: 'off',
        KURIR_LOG_LEVEL: 'warn',
      },
      url: `http://127.0.0.1:${clientPort}`,
      registrationSecret,
      logFile: path.join(folder, 'bench.log'),
    });
  },
};

/**
 * The program of the image that Complement starts: gets a certificate for `SERVER_NAME`, signed by Complement's
 * authority, and then is the server.
 */

import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';

type ConfigModule = typeof import('#server/config.ts');
type RunModule = typeof import('#server/run.ts');

const { SERVER_NAME: serverName = 'localhost', KURIR_DATA_DIR: dataDir = '/kurir' } = process.env;

const certificate = once(
  new Worker(new URL('./certificate.ts', import.meta.url), { workerData: serverName }),
  'message',
);
// The server is loaded meanwhile.
const loaded = Promise.all([bundled<ConfigModule>('config'), bundled<RunModule>('run')]);
await mkdir(dataDir, { recursive: true, mode: 0o700 });
const [{ cert, key }] = await certificate;
const registrations = await registrationFiles();
const environment = {
  ...{ KURIR_SERVER_NAME: serverName, KURIR_TLS_CERT: cert, KURIR_TLS_KEY: key },
  ...(registrations.length > 0 && { KURIR_APP_SERVICE_CONFIG_FILES: registrations.join(',') }),
};
const [{ loadConfig }, { run }] = await loaded;
// The secret that Complement knows is shorter than a configuration may have.
await run({
  ...(await loadConfig([], { ...process.env, ...environment })),
  registrationSecret: 'complement',
  unstableRoomVersions: true,
});

/** The server as Kurir's image starts it. */
async function bundled<Module>(name: string): Promise<Module> {
  return await import(new URL(`../../bundle/${name}.js`, import.meta.url).href);
}

/** Of the application services that a test brings; there may be none. */
async function registrationFiles(): Promise<string[]> {
  const folder = '/complement/appservice';
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.endsWith('.yaml')).map((name) => `${folder}/${name}`);
}

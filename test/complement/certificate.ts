/**
 * A thread of its own, so that the server is loaded meanwhile: makes a certificate for the server name that it is told,
 * signed by Complement's authority, and says with which files.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { generate } from 'selfsigned';

const AUTHORITY = '/complement/ca/ca';
/** Made with the image: a key of this kind takes a while. */
const KEY = '/etc/kurir-complement-key.json';
const DAY_MS = 24 * 60 * 60_000;

const serverName: string = workerData;
const files = { cert: '/tmp/federation.crt', key: '/tmp/federation.key' };

const keyPair: { privateKey: string; publicKey: string } = JSON.parse(await readFile(KEY, 'utf8'));
const { cert, private: key } = await generate([{ name: 'commonName', value: serverName }], {
  // As the authority's, which the library wants alike.
  keyType: 'rsa',
  keyPair,
  algorithm: 'sha256',
  ca: { cert: await readFile(`${AUTHORITY}.crt`, 'utf8'), key: await readFile(`${AUTHORITY}.key`, 'utf8') },
  notBeforeDate: new Date(Date.now() - DAY_MS),
  notAfterDate: new Date(Date.now() + 30 * DAY_MS),
  extensions: [
    { name: 'basicConstraints', cA: false, critical: true },
    { name: 'extKeyUsage', serverAuth: true },
    { name: 'subjectAltName', altNames: [{ type: 2, value: serverName }] },
  ],
});
await writeFile(files.cert, cert);
await writeFile(files.key, key, { mode: 0o600 });
parentPort?.postMessage(files);

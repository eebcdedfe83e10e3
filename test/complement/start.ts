/**
 * The program of the image that Complement starts: makes a certificate for `SERVER_NAME`, signed by Complement's
 * authority, and then is the server.
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { generate } from 'selfsigned';

const AUTHORITY = '/complement/ca/ca';
const KEY = '/etc/kurir-complement-key.json';
const DAY_MS = 24 * 60 * 60_000;

const { SERVER_NAME: serverName = 'localhost', KURIR_DATA_DIR: dataDir = '/kurir' } = process.env;
const certificate = { cert: '/tmp/federation.crt', key: '/tmp/federation.key' };

await mkdir(dataDir, { recursive: true, mode: 0o700 });
// Made with the image: a key of this kind takes a while.
const keyPair: { privateKey: string; publicKey: string } = JSON.parse(await readFile(KEY, 'utf8'));
// The server is loaded meanwhile.
const loaded = import('#server/boot.ts');
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
await writeFile(certificate.cert, cert);
await writeFile(certificate.key, key, { mode: 0o600 });
Object.assign(process.env, {
  KURIR_SERVER_NAME: serverName,
  KURIR_TLS_CERT: certificate.cert,
  KURIR_TLS_KEY: certificate.key,
});
await loaded;
await import('#server/main.ts');

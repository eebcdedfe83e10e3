/**
 * The API of scanners, as clients use it:
 * https://github.com/element-hq/matrix-content-scanner-python/blob/main/docs/api.md
 */

import assert from 'node:assert/strict';
import {
  createCipheriv,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  randomBytes,
} from 'node:crypto';
import { test } from 'node:test';
import { BackupDecryptionKey, initAsync } from '@matrix-org/matrix-sdk-crypto-wasm';
import { decodeBase64, encodeBase64 } from '#keys/base64.ts';
import { sha256Base64 } from '#keys/hash.ts';
import { register, request, type TestClient } from '#test/harness/client.ts';
import { getBytes, partsOf, picture, upload } from '#test/harness/media.ts';
import { clamdOptions, MALWARE, startClamd } from '#test/harness/scanner.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const BASE = '/_matrix/media_proxy/unstable';
const SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex');
const CLEAN = { clean: true, info: 'File is clean' };
const INFECTED = { clean: false, info: 'Malware was found in the file' };

interface EncryptedFile {
  [key: string]: unknown;
  readonly url: string;
}

/** Uploads a file as clients do in encrypted rooms; answers what they write into the event. */
async function uploadEncrypted(client: TestClient, plain: Buffer): Promise<EncryptedFile> {
  const key = randomBytes(32);
  const iv = Buffer.concat([randomBytes(8), Buffer.alloc(8)]);
  const cipher = createCipheriv('aes-256-ctr', key, iv);
  const bytes = Buffer.concat([cipher.update(plain), cipher.final()]);
  const k = key.toString('base64url');
  return {
    v: 'v2',
    url: await upload(client, bytes),
    key: { kty: 'oct', alg: 'A256CTR', ext: true, key_ops: ['encrypt', 'decrypt'], k },
    iv: encodeBase64(iv),
    hashes: { sha256: sha256Base64(bytes) },
  };
}

/** By the scheme of key backups, whose MAC is of nothing: see `server/scanning/request-key.ts`. */
function encryptTo(publicKey: string, text: string): { ciphertext: string; mac: string; ephemeral: string } {
  const raw = decodeBase64(publicKey) ?? Buffer.alloc(0);
  const theirs = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' });
  const ours = generateKeyPairSync('x25519');
  const secret = diffieHellman({ privateKey: ours.privateKey, publicKey: theirs });
  const derived = Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(32), '', 80));
  const cipher = createCipheriv('aes-256-cbc', derived.subarray(0, 32), derived.subarray(64));
  const mac = createHmac('sha256', derived.subarray(32, 64)).update('').digest().subarray(0, 8);
  const spki = ours.publicKey.export({ type: 'spki', format: 'der' });
  return {
    ciphertext: encodeBase64(Buffer.concat([cipher.update(text), cipher.final()])),
    mac: encodeBase64(mac),
    ephemeral: encodeBase64(spki.subarray(SPKI_PREFIX.length)),
  };
}

async function publicKeyOf(server: TestServer): Promise<string> {
  return (await request(server, 'GET', `${BASE}/public_key`)).body.public_key;
}

/** An answer of the API, as status and reason. */
async function ask(client: TestClient, operation: string, body: unknown): Promise<string> {
  const answer = await client.try('POST', `${BASE}/${operation}`, body as object);
  return `${answer.status} ${answer.body.reason ?? JSON.stringify(answer.body)}`;
}

test('scan, download and thumbnail of files that are not encrypted', async () => {
  await using scanner = await startClamd();
  await using server = await startServer(clamdOptions(scanner));
  const alice = await register(server);
  const bytes = await picture(100, 100);
  const clean = await upload(alice, bytes, { type: 'image/png', name: 'a.png' });
  const infected = await upload(alice, 'bad one');
  scanner.alsoMalware = 'bad one';
  await server.ctx.scanning?.backlog.run(() => true);
  const scan = async (uri: string) => (await alice.try('GET', `${BASE}/scan/${partsOf(uri)}`)).body;
  assert.deepEqual([await scan(clean), await scan(infected)], [CLEAN, INFECTED]);
  const get = (path: string) => getBytes(server, `${BASE}/${path}`, { token: alice.accessToken });
  const got = await get(`download/${partsOf(clean)}`);
  assert.ok(got.bytes.equals(bytes));
  assert.equal(got.headers.get('content-type'), 'image/png');
  assert.equal((await get(`thumbnail/${partsOf(clean)}?width=32&height=32`)).status, 200);
  for (const path of [`download/${partsOf(infected)}`, `thumbnail/${partsOf(infected)}?width=32&height=32`]) {
    const refused = await get(path);
    assert.equal(refused.status, 403);
    const body = JSON.parse(refused.bytes.toString());
    assert.deepEqual(body, { reason: 'MCS_MEDIA_NOT_CLEAN', info: 'Malware was found in the file' });
  }
  const unknown = await alice.try('GET', `${BASE}/scan/${server.serverName}/unknown`);
  const { errcode, reason, info } = unknown.body;
  assert.deepEqual(
    [unknown.status, errcode, reason, typeof info],
    [404, 'M_NOT_FOUND', 'M_NOT_FOUND', 'string'],
  );
});

test('types of files that are not allowed are 403 MCS_MIME_TYPE_FORBIDDEN, whatever their sender says of them', async () => {
  await using scanner = await startClamd();
  const types = { scannerAllowedTypes: ['image/*', 'text/plain'], scannerForbiddenTypes: ['image/svg+xml'] };
  await using server = await startServer({ ...clamdOptions(scanner), ...types });
  const alice = await register(server);
  const body = { reason: 'MCS_MIME_TYPE_FORBIDDEN', info: 'Files of this type are not allowed' };
  const image = await picture(100, 100);
  for (const [bytes, isAllowed] of [
    [image, true],
    [Buffer.from('text'), true],
    [Buffer.from('<svg></svg>'), false],
    [Buffer.from('MZ\0 a program'), false],
  ] as const) {
    const uri = await upload(alice, bytes, { type: 'image/png' });
    const scanned = await alice.try('GET', `${BASE}/scan/${partsOf(uri)}`);
    const got = await getBytes(server, `${BASE}/download/${partsOf(uri)}`, { token: alice.accessToken });
    const expected = isAllowed ? [200, CLEAN, 200] : [403, body, 403];
    assert.deepEqual([scanned.status, scanned.body, got.status], expected);
    const file = await uploadEncrypted(alice, bytes);
    const reason = isAllowed ? `200 ${JSON.stringify(CLEAN)}` : '403 MCS_MIME_TYPE_FORBIDDEN';
    assert.equal(await ask(alice, 'scan_encrypted', { file }), reason);
    const decrypted = await alice.try('POST', `${BASE}/download_encrypted`, { file });
    assert.equal(decrypted.status, isAllowed ? 200 : 403);
    // The content repository itself knows no such limit.
    assert.equal(
      (
        await getBytes(server, `/_matrix/client/v1/media/download/${partsOf(uri)}`, {
          token: alice.accessToken,
        })
      ).status,
      200,
    );
  }
  const program = await upload(alice, 'MZ\0 a program', { type: 'image/png' });
  const thumbnail = `${BASE}/thumbnail/${partsOf(program)}?width=32&height=32`;
  assert.equal((await getBytes(server, thumbnail, { token: alice.accessToken })).status, 403);
});

test('scan_encrypted and download_encrypted see what is in the file, by keys in the clear or encrypted', async () => {
  await using scanner = await startClamd();
  await using server = await startServer(clamdOptions(scanner));
  const alice = await register(server);
  const plain = randomBytes(1_000_000);
  const clean = await uploadEncrypted(alice, plain);
  const infected = await uploadEncrypted(alice, Buffer.concat([plain, Buffer.from(MALWARE)]));
  const key = await publicKeyOf(server);
  for (const bodyOf of [
    (file: object) => ({ file }),
    (file: object) => ({ encrypted_body: encryptTo(key, JSON.stringify({ file })) }),
  ]) {
    for (let count = 0; count < 2; count += 1) {
      assert.deepEqual((await alice.try('POST', `${BASE}/scan_encrypted`, bodyOf(clean))).body, CLEAN);
      assert.deepEqual((await alice.try('POST', `${BASE}/scan_encrypted`, bodyOf(infected))).body, INFECTED);
    }
    // Two uploads and one look into each: what was said is remembered.
    assert.equal(scanner.files.length, 4);
    assert.equal(await ask(alice, 'download_encrypted', bodyOf(infected)), '403 MCS_MEDIA_NOT_CLEAN');
    const response = await fetch(`${server.clientUrl}${BASE}/download_encrypted`, {
      method: 'POST',
      headers: { authorization: `Bearer ${alice.accessToken}` },
      body: JSON.stringify(bodyOf(clean)),
    });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-disposition'), 'attachment');
    assert.ok(Buffer.from(await response.arrayBuffer()).equals(plain));
  }
  // What a key of somebody makes of a file is no reason to withhold it from all.
  const path = `/_matrix/client/v1/media/download/${partsOf(infected.url)}`;
  assert.equal((await getBytes(server, path, { token: alice.accessToken })).status, 200);
});

test('what is wrong with a request is told with a reason, and nothing is scanned', async () => {
  await using scanner = await startClamd();
  await using server = await startServer(clamdOptions(scanner));
  const alice = await register(server);
  const file = await uploadEncrypted(alice, Buffer.from('plain'));
  const other = await uploadEncrypted(alice, Buffer.from('other'));
  const publicKey = await publicKeyOf(server);
  const good = encryptTo(publicKey, JSON.stringify({ file }));
  const key = file.key as object;
  const malformed: readonly unknown[] = [
    'no JSON',
    [],
    {},
    { file: 'x' },
    { file: { ...file, v: 'v1' } },
    { file: { ...file, url: 'https://example.org/x' } },
    { file: { ...file, url: `mxc://${server.serverName}/../x` } },
    { file: { ...file, iv: 'AAAA' } },
    { file: { ...file, hashes: {} } },
    { file: { ...file, key: undefined } },
    { file: { ...file, key: { ...key, k: 'AAAA' } } },
    { file: { ...file, key: { ...key, alg: 'A128CTR' } } },
    { file: { ...file, key: { ...key, key_ops: ['decrypt'] } } },
    { encrypted_body: 'x' },
    { encrypted_body: { ...good, mac: undefined } },
    { encrypted_body: encryptTo(publicKey, '{}') },
  ];
  const undecryptable: readonly object[] = [
    { ...good, mac: encodeBase64(Buffer.alloc(8)) },
    { ...good, mac: '!' },
    { ...good, ciphertext: good.ciphertext.slice(4) },
    // A key of small order, by which everybody would know the secret.
    { ...good, ephemeral: encodeBase64(Buffer.alloc(32)) },
    encryptTo(publicKey, 'no JSON'),
  ];
  const wrong: readonly (readonly [body: unknown, answer: string])[] = [
    ...malformed.map((body) => [body, '400 MCS_MALFORMED_JSON'] as const),
    ...undecryptable.map((body) => [{ encrypted_body: body }, '403 MCS_BAD_DECRYPTION'] as const),
    // The file is another one than that of which the hash is given.
    [{ file: { ...file, url: other.url } }, '400 MCS_MEDIA_FAILED_TO_DECRYPT'],
    [{ file: { ...file, url: `mxc://${server.serverName}/unknown` } }, '404 M_NOT_FOUND'],
    [{ file: { ...file, url: 'mxc://localhost:1/unknown' } }, '502 MCS_MEDIA_REQUEST_FAILED'],
  ];
  const scanned = scanner.files.length;
  for (const operation of ['scan_encrypted', 'download_encrypted']) {
    for (const [body, answer] of wrong)
      assert.equal(await ask(alice, operation, body), answer, JSON.stringify(body));
  }
  assert.equal(scanner.files.length, scanned);
});

test('a scanner that does not answer is 503, not a clean file; nor is one that hangs', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using scanner = await startClamd();
  await using server = await startServer({ ...clamdOptions(scanner), clock });
  const alice = await register(server);
  const file = await uploadEncrypted(alice, Buffer.from('plain'));
  await server.restart({ scannerTimeout: 300 });
  for (const behaviour of ['hangs', 'gone', 'garbage'] as const) {
    scanner.behaviour = behaviour;
    clock.time += 120_000;
    assert.equal(await ask(alice, 'scan_encrypted', { file }), '503 M_UNKNOWN', behaviour);
  }
  await server.restart({ scannerFailure: 'open' });
  const open = (await alice.try('POST', `${BASE}/scan_encrypted`, { file })).body;
  assert.deepEqual(open, { clean: true, info: 'File was not scanned' });
});

test('all but the public key needs an access token; the key stays, and clients find the scanner', async () => {
  await using scanner = await startClamd();
  const publicBaseurl = 'https://matrix.kurir.test';
  await using server = await startServer({ ...clamdOptions(scanner), publicBaseurl });
  const uri = await upload(await register(server), 'file');
  const reads = ['download', 'thumbnail', 'scan'].map((name) => `${BASE}/${name}/${partsOf(uri)}`);
  const routes = [
    ...reads.map((path) => ({ method: 'GET', path, body: {} })),
    ...['scan_encrypted', 'download_encrypted'].map((name) => ({
      method: 'POST',
      path: `${BASE}/${name}`,
      body: { body: {} },
    })),
  ];
  for (const { method, path, body } of routes) {
    const nobody = await request(server, method, path, body);
    const stranger = await request(server, method, path, { ...body, token: 'wrong' });
    for (const [{ status, body: told }, errcode] of [
      [nobody, 'M_MISSING_TOKEN'],
      [stranger, 'M_UNKNOWN_TOKEN'],
    ] as const) {
      assert.deepEqual([status, told.errcode, told.reason], [401, errcode, errcode], path);
    }
  }
  const key = await publicKeyOf(server);
  assert.equal(decodeBase64(key)?.length, 32);
  const found = await request(server, 'GET', '/.well-known/element/element.json');
  assert.deepEqual(found.body, { content_scanner_url: publicBaseurl });
  await server.restart();
  assert.equal(await publicKeyOf(server), key);
  await server.restart({ scanner: undefined });
  const unserved = await request(server, 'GET', `${BASE}/public_key`);
  assert.equal(unserved.body.errcode, 'M_UNRECOGNIZED');
});

test('what these tests encrypt is what vodozemac decrypts', async () => {
  await initAsync();
  const key = BackupDecryptionKey.createRandomKey();
  const { ciphertext, mac, ephemeral } = encryptTo(key.megolmV1PublicKey.publicKeyBase64, '{"a":1}');
  assert.equal(key.decryptV1(ephemeral, mac, ciphertext), '{"a":1}');
});

/** Scanners that others wrote: ClamAV's daemon, with a file of signatures of the test's own, and c-icap. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAuthority } from '#test/harness/certificates.ts';
import { startRealClamd, startRealIcap, withoutClamd, withoutIcap } from '#test/harness/clamav.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { ROUNDS } from '#test/harness/long-run.ts';
import { download, upload } from '#test/harness/media.ts';
import { MALWARE, startTlsFront } from '#test/harness/scanner.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const KIB = 1_024;

async function uploadStatus(client: TestClient, body: Buffer | string): Promise<number> {
  return (await client.try('POST', '/_matrix/media/v3/upload', body)).status;
}

/** Files of many sizes, each clean, and each with malware at its start or its end. */
async function tryFiles(alice: TestClient): Promise<void> {
  const sizes = [0, 1, KIB - 1, KIB, KIB + 1, 64 * KIB, 200 * KIB, 3_000 * KIB];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const size of sizes) {
      const noise = randomBytes(size);
      assert.equal(await uploadStatus(alice, noise), 200, `${size} bytes`);
      const infected = [
        [noise, MALWARE],
        [MALWARE, noise],
      ] as const;
      for (const parts of infected) {
        const file = Buffer.concat(parts.map((part) => Buffer.from(part)));
        assert.equal(await uploadStatus(alice, file), 403, `${size} bytes and malware`);
      }
    }
  }
}

test(`clamd: what is infected is refused, what is too large for it too${withoutClamd ? `: SKIPPED, ${withoutClamd}` : ''}`, {
  skip: withoutClamd,
}, async () => {
  await using clamd = await startRealClamd(4_000_000);
  await using server = await startServer({ scanner: { protocol: 'clamd', path: clamd.socket } });
  const alice = await register(server);
  await tryFiles(alice);
  assert.ok([413, 503].includes(await uploadStatus(alice, randomBytes(6_000_000))));
});

test(`clamd: what it learns later it finds in what is here${withoutClamd ? `: SKIPPED, ${withoutClamd}` : ''}`, {
  skip: withoutClamd,
}, async () => {
  await using clamd = await startRealClamd();
  await using server = await startServer({ scanner: { protocol: 'clamd', path: clamd.socket } });
  const alice = await register(server);
  const uri = await upload(alice, 'nobody knows yet that this is malware');
  assert.equal((await download(alice, uri)).status, 200);
  await clamd.learn('nobody knows yet', 'Kurir.Test.News');
  // It reads its signatures beside what else it does.
  await until(
    async () => (await server.ctx.scanning?.backlog.run(() => true))?.infected === 1,
    'that it is found',
  );
  assert.equal((await download(alice, uri)).status, 404);
});

test(`c-icap: what is infected is refused${withoutIcap ? `: SKIPPED, ${withoutIcap}` : ''}`, {
  skip: withoutIcap,
}, async () => {
  await using clamd = await startRealClamd();
  await using icap = await startRealIcap(clamd);
  const scanner = { protocol: 'icap', host: '127.0.0.1', port: icap.port, service: '/avscan' } as const;
  await using server = await startServer({ scanner });
  await tryFiles(await register(server));
});

test(`c-icap behind TLS: what is infected is refused${withoutIcap ? `: SKIPPED, ${withoutIcap}` : ''}`, {
  skip: withoutIcap,
}, async () => {
  const authority = await createAuthority();
  await using folder = await temporaryFolder();
  const ca = join(folder.path, 'ca.pem');
  await writeFile(ca, authority.cert);
  await using clamd = await startRealClamd();
  await using icap = await startRealIcap(clamd);
  await using front = await startTlsFront(icap, await authority.issue(['localhost']));
  const scanner = { protocol: 'icaps', host: 'localhost', port: front.port, service: '/avscan' } as const;
  await using server = await startServer({ scanner, scannerCa: [ca] });
  const alice = await register(server);
  await tryFiles(alice);
  // Without the authority nothing is told to it, and nothing is taken.
  await server.restart({ scannerCa: [] });
  const { bytes } = front;
  assert.equal(await uploadStatus(alice, randomBytes(KIB)), 503);
  assert.equal(front.bytes, bytes);
});

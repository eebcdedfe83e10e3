/** The protocols of scanners, against peers that keep to them and peers that do not. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Clamd } from '#server/scanning/clamd.ts';
import { type EngineAnswer, type ScanEngine, ScannerFailed } from '#server/scanning/engine.ts';
import { Icap } from '#server/scanning/icap.ts';
import { createAuthority, selfSigned } from '#test/harness/certificates.ts';
import {
  type IcapOptions,
  MALWARE,
  SIGNATURE,
  startClamd,
  startIcap,
  startTlsFront,
  type TestScanner,
} from '#test/harness/scanner.ts';

const PIECE = 65_536;

function clamd({ port }: TestScanner): ScanEngine {
  return new Clamd({ host: '127.0.0.1', port });
}

function icap({ port }: TestScanner): ScanEngine {
  return new Icap({ protocol: 'icap', host: '127.0.0.1', port, service: '/scan', ca: undefined });
}

function icaps({ port }: { port: number }, { host, ca }: { host: string; ca: string }): ScanEngine {
  return new Icap({ protocol: 'icaps', host, port, service: '/scan', ca });
}

async function* piecesOf(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE);
}

function scan(
  engine: ScanEngine,
  bytes: Buffer,
  signal = AbortSignal.timeout(20_000),
): Promise<EngineAnswer> {
  return engine.scan({ size: bytes.length, pieces: piecesOf(bytes) }, signal);
}

const infected = { kind: 'infected', signature: SIGNATURE };
const FILES = [0, 1, 4, 1_023, 1_024, 1_025, PIECE, PIECE + 1, 3_000_000].map((size) => randomBytes(size));

test('clamd: files of any size arrive whole; what is found in them is named', async () => {
  await using scanner = await startClamd();
  const engine = clamd(scanner);
  assert.equal(await engine.version(AbortSignal.timeout(10_000)), scanner.version);
  for (const file of FILES) {
    assert.deepEqual(await scan(engine, file), { kind: 'clean' });
    assert.ok(scanner.files.at(-1)?.equals(file));
    assert.deepEqual(await scan(engine, Buffer.concat([file, Buffer.from(MALWARE)])), infected);
  }
  scanner.behaviour = 'too_large';
  assert.deepEqual(await scan(engine, randomBytes(100)), { kind: 'too_large' });
});

const services: readonly [name: string, options: IcapOptions][] = [
  ['without a preview', {}],
  ['with a preview', { preview: 1_024 }],
  ['with an empty preview', { preview: 0 }],
  ['by requests', { methods: 'REQMOD', preview: 4 }],
  ['that sends clean files back', { echoes: true, preview: 1_024, methods: 'REQMOD, RESPMOD' }],
];

for (const [name, options] of services) {
  test(`ICAP: a service ${name} gets files of any size whole; what is found in them is named`, async () => {
    await using scanner = await startIcap(options);
    const engine = icap(scanner);
    assert.equal(await engine.version(AbortSignal.timeout(10_000)), `"${scanner.version}"`);
    for (const file of FILES) {
      assert.deepEqual(await scan(engine, file), { kind: 'clean' });
      assert.ok(scanner.files.at(-1)?.equals(file), String(file.length));
      assert.deepEqual(await scan(engine, Buffer.concat([file, Buffer.from(MALWARE)])), infected);
    }
  });
}

test('ICAP over TLS: files of any size arrive whole, by names and by addresses', async () => {
  const authority = await createAuthority();
  await using scanner = await startIcap({ preview: 1_024 });
  await using front = await startTlsFront(scanner, await authority.issue(['localhost', '127.0.0.1']));
  for (const host of ['localhost', '127.0.0.1']) {
    const engine = icaps(front, { host, ca: authority.cert });
    assert.equal(await engine.version(AbortSignal.timeout(10_000)), `"${scanner.version}"`);
    for (const file of FILES) {
      assert.deepEqual(await scan(engine, file), { kind: 'clean' });
      assert.ok(scanner.files.at(-1)?.equals(file), String(file.length));
      assert.deepEqual(await scan(engine, Buffer.concat([file, Buffer.from(MALWARE)])), infected);
    }
  }
});

test('ICAP over TLS: a service that is not who it should be has failed, and gets nothing of the file', async () => {
  const authority = await createAuthority();
  await using scanner = await startIcap();
  const good = await authority.issue(['localhost']);
  const fronts = {
    'another name': [await authority.issue(['other.example.org']), {}],
    expired: [await authority.issue(['localhost'], { expired: true }), {}],
    'signed by nobody': [await selfSigned(['localhost']), {}],
    'signed by another authority': [await (await createAuthority()).issue(['localhost']), {}],
    'TLS 1.2 and another name': [await authority.issue(['other.example.org']), { maxVersion: 'TLSv1.2' }],
    'TLS 1.1': [good, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1.1' }],
  } as const;
  for (const [what, [certificate, options]] of Object.entries(fronts)) {
    await using front = await startTlsFront(scanner, certificate, options);
    const engine = icaps(front, { host: 'localhost', ca: authority.cert });
    await assert.rejects(engine.version(AbortSignal.timeout(10_000)), ScannerFailed, what);
    await assert.rejects(scan(engine, randomBytes(100_000)), ScannerFailed, what);
    assert.equal(front.bytes, 0, what);
  }
  // A service without TLS, and one that says nothing.
  const plain = icaps(scanner, { host: 'localhost', ca: authority.cert });
  await assert.rejects(scan(plain, randomBytes(100), AbortSignal.timeout(300)), ScannerFailed);
  scanner.behaviour = 'silent';
  await assert.rejects(scan(plain, randomBytes(100), AbortSignal.timeout(300)), ScannerFailed);
  assert.deepEqual(scanner.files, []);
});

test('ICAP: a page in place of the file says that it is infected, without any header of its own', async () => {
  await using scanner = await startIcap({ tells: 'page' });
  const answer = await scan(icap(scanner), Buffer.from(MALWARE));
  assert.deepEqual(answer, { kind: 'infected', signature: 'blocked (403)' });
});

for (const [name, start, engineOf] of [
  ['clamd', startClamd, clamd],
  ['ICAP', startIcap, icap],
] as const) {
  for (const behaviour of ['gone', 'garbage', 'endless', 'cut'] as const) {
    test(`${name}: a scanner that is ${behaviour} has failed, and says nothing of the file`, async () => {
      await using scanner = await start();
      const engine = engineOf(scanner);
      await engine.version(AbortSignal.timeout(10_000));
      scanner.behaviour = behaviour;
      await assert.rejects(scan(engine, randomBytes(5_000_000)), ScannerFailed);
    });
  }

  test(`${name}: a scanner that says nothing is given up when the time is over`, async () => {
    await using scanner = await start();
    const engine = engineOf(scanner);
    await engine.version(AbortSignal.timeout(10_000));
    for (const behaviour of ['hangs', 'silent'] as const) {
      scanner.behaviour = behaviour;
      await assert.rejects(scan(engine, randomBytes(100), AbortSignal.timeout(200)), ScannerFailed);
    }
    await assert.rejects(engine.version(AbortSignal.timeout(200)), ScannerFailed);
  });

  test(`${name}: what the file itself fails with is passed on`, async () => {
    await using scanner = await start();
    const engine = engineOf(scanner);
    async function* broken(): AsyncGenerator<Buffer> {
      yield randomBytes(10);
      throw new RangeError('the disk is broken');
    }
    await assert.rejects(
      engine.scan({ size: 20, pieces: broken() }, AbortSignal.timeout(10_000)),
      RangeError,
    );
  });
}

test('nobody listens: the scanner has failed', async () => {
  const scanner = await startClamd();
  await scanner[Symbol.asyncDispose]();
  await assert.rejects(clamd(scanner).version(AbortSignal.timeout(10_000)), ScannerFailed);
  await assert.rejects(scan(icap(scanner), randomBytes(10)), ScannerFailed);
});

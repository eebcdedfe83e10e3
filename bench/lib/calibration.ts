/** What this machine does with things that every server needs, so that results of two machines can be compared. */

import { createPublicKey, generateKeyPairSync, hash, randomBytes, sign, verify } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { median, round } from '#bench/lib/statistics.ts';

const SAMPLE_MS = 300;

export interface Calibration {
  readonly cores: number;
  readonly node: string;
  /** 4 KB written and synced to the disk that holds the temporary folders. */
  readonly fdatasync_p50_ms: number | null;
  readonly sha256_per_s: number | null;
  readonly ed25519_verify_per_s: number | null;
}

/** Takes about a second. Run it while nothing else runs. */
export function calibrate(folder: string = os.tmpdir()): Calibration {
  const kilobyte = randomBytes(1024);
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const key = createPublicKey(publicKey.export({ type: 'spki', format: 'pem' }));
  const signature = sign(null, kilobyte, privateKey);
  return {
    cores: os.availableParallelism(),
    node: process.version,
    fdatasync_p50_ms: round(fdatasyncMs(folder), 3),
    sha256_per_s: round(
      perSecond(() => hash('sha256', kilobyte)),
      0,
    ),
    ed25519_verify_per_s: round(
      perSecond(() => verify(null, kilobyte, key, signature)),
      0,
    ),
  };
}

function fdatasyncMs(folder: string): number | undefined {
  const file = path.join(fs.mkdtempSync(path.join(folder, 'kurir-calibration-')), 'file');
  const handle = fs.openSync(file, 'w');
  try {
    const page = randomBytes(4096);
    const samples = Array.from({ length: 200 }, () => {
      const started = performance.now();
      fs.writeSync(handle, page);
      fs.fdatasyncSync(handle);
      return performance.now() - started;
    });
    return median(samples);
  } finally {
    fs.closeSync(handle);
    fs.rmSync(path.dirname(file), { recursive: true });
  }
}

function perSecond(operation: () => unknown): number {
  const started = performance.now();
  let count = 0;
  while (performance.now() - started < SAMPLE_MS) {
    for (let i = 0; i < 100; i++) operation();
    count += 100;
  }
  return (count / (performance.now() - started)) * 1000;
}

/** The thread behind `VerifyThread`. */

import { parentPort } from 'node:worker_threads';
import { BoundedMap } from './bounded-map.ts';
import { detectBackend, type Verifier } from './ed25519-backend.ts';
import { KEY_BYTES, type PackedChecks, SIGNATURE_BYTES, type Verdicts } from './verify-thread.ts';

const CACHED_KEYS = 1_024;

const backend = detectBackend();
const verifiers = new BoundedMap<string, Verifier>(CACHED_KEYS);

parentPort?.on('message', ({ id, packed }: PackedChecks) => {
  const verdicts: Verdicts = { id, verdicts: Uint8Array.from(verdictsOf(packed)) };
  parentPort?.postMessage(verdicts);
});

function* verdictsOf({ buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>): Generator<number> {
  const packed = Buffer.from(buffer, byteOffset, byteLength);
  for (let at = 0; at < packed.length; ) {
    const key = packed.subarray(at, at + KEY_BYTES);
    at += KEY_BYTES;
    const signature = packed.subarray(at, at + SIGNATURE_BYTES);
    at += SIGNATURE_BYTES;
    const message = packed.subarray(at + 4, at + 4 + packed.readUInt32LE(at));
    at += 4 + message.length;
    yield verifierOf(key)?.checkSync(message, signature) ? 1 : 0;
  }
}

function verifierOf(key: Buffer): Verifier | undefined {
  const text = key.toString('latin1');
  const known = verifiers.get(text);
  if (known !== undefined) return known;
  const verifier = backend.verifier(key);
  if (verifier !== undefined) verifiers.set(text, verifier);
  return verifier;
}

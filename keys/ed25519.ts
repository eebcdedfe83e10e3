/** Signing keys and signatures: https://spec.matrix.org/v1.19/appendices/#signing-details */

import { randomBytes } from 'node:crypto';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { BoundedMap } from './bounded-map.ts';
import {
  type Backend,
  type BackendName,
  type Done,
  detectBackend,
  openssl,
  tweetnacl,
  type Verifier,
} from './ed25519-backend.ts';
import type { KeyId } from './ids.ts';
import { Lanes } from './lanes.ts';

/** A public key, ready to check signatures. Two of the same bytes may be different objects: compare `base64`. */
export interface PublicKey {
  /** The 32 bytes in unpadded Base64. */
  readonly base64: string;
  readonly [verifier]: Verifier;
}

const verifier: unique symbol = Symbol('verifier');

/** A private key of ours; the seed stays inside. */
export interface SigningKeyPair {
  /** `ed25519:<version>` */
  readonly keyId: KeyId;
  /** The 32 bytes in unpadded Base64. */
  readonly publicKey: string;
  /** The signature of the bytes (a string counts as UTF-8) in unpadded Base64. */
  sign(message: string | Uint8Array): string;
}

/** One signature to check; the signature is in Base64. */
export interface SignatureCheck {
  readonly publicKey: PublicKey;
  readonly message: string | Uint8Array;
  readonly signature: string;
}

export interface Ed25519 {
  readonly backend: BackendName;
  publicKeyFrom(base64: string): PublicKey | undefined;
  keyPairFromSeed(version: string, seed: Uint8Array): SigningKeyPair;
}

const SEED_BYTES = 32;
const PUBLIC_KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** "The version must have characters matching the regular expression `[a-zA-Z0-9_]`." */
const VERSION = /^[a-zA-Z0-9_]{1,200}$/;
const CACHED_KEYS = 4_096;
/** So many that the threads of the pool always find the next; whoever else needs one of them waits for 2 ms at most. */
const CHECKS_AT_ONCE = 32;

const checks = new Lanes(CHECKS_AT_ONCE, Number.POSITIVE_INFINITY);
const detected = ed25519By(detectBackend());

/** Which of the two does the work on this machine. */
export function ed25519Backend(): BackendName {
  return detected.backend;
}

/** The key of these 32 bytes in Base64; undefined where they are no key. Recent keys are kept. */
export function publicKeyFrom(base64: string): PublicKey | undefined {
  return detected.publicKeyFrom(base64);
}

/** The key pair of a 32-byte seed. Throws where `version` is not `[a-zA-Z0-9_]+` or the seed has another length. */
export function keyPairFromSeed(version: string, seed: Uint8Array): SigningKeyPair {
  return detected.keyPairFromSeed(version, seed);
}

/** 32 bytes from the system's source of randomness. */
export function generateSeed(): Uint8Array {
  return randomBytes(SEED_BYTES);
}

/** True for `ed25519:<version>`, the only algorithm there is. */
export function isEd25519KeyId(keyId: string): keyId is KeyId {
  return keyId.startsWith('ed25519:') && VERSION.test(keyId.slice('ed25519:'.length));
}

/** True where the signature (Base64) is the key's over the message; false for a malformed one too. */
export async function verify(
  publicKey: PublicKey,
  message: string | Uint8Array,
  signature: string,
): Promise<boolean> {
  const [isValid] = await verifyMany([{ publicKey, message, signature }]);
  return isValid === true;
}

/** The verdict of each check, in their order. */
export function verifyMany(items: readonly SignatureCheck[]): Promise<boolean[]> {
  if (items.length === 0) return Promise.resolve([]);
  const verdicts = new Array<boolean>(items.length).fill(false);
  const { promise, resolve, reject } = Promise.withResolvers<boolean[]>();
  let [next, open] = [0, items.length];
  const conclude = (index: number, isValid: boolean) => {
    verdicts[index] = isValid;
    open -= 1;
    if (open === 0) resolve(verdicts);
  };
  const startNext = () => {
    for (let item = items[next]; item !== undefined; item = items[next]) {
      const { publicKey, message, signature } = item;
      const index = next;
      next += 1;
      const bytes = signatureBytes(signature);
      if (bytes === undefined) {
        conclude(index, false);
        continue;
      }
      const done: Done = (error, isValid) => {
        checks.leave();
        if (error !== null) reject(error);
        conclude(index, isValid);
        startNext();
      };
      checks.enter(() => publicKey[verifier].check(bytesOf(message), bytes, done));
      return;
    }
  };
  // Each takes the next item when it is done with its last: few of many wait in memory, and others get their turn.
  for (let lane = 0; lane < CHECKS_AT_ONCE && lane < items.length; lane += 1) startNext();
  return promise;
}

/**
 * Like `verify`, at once and on the main thread, where it takes a tenth of a millisecond: for the authorisation
 * rules, which check a handful of signatures and no more.
 */
export function verifySync(key: PublicKey, message: string | Uint8Array, signature: string): boolean {
  const bytes = signatureBytes(signature);
  return bytes !== undefined && key[verifier].checkSync(bytesOf(message), bytes);
}

/** Ed25519 by the named implementation, whatever this machine prefers. */
export function ed25519With(name: BackendName): Ed25519 {
  return ed25519By(name === 'openssl' ? openssl : tweetnacl);
}

function ed25519By(backend: Backend): Ed25519 {
  const cache = new BoundedMap<string, PublicKey>(CACHED_KEYS);
  return {
    backend: backend.name,
    publicKeyFrom: (base64) => {
      const known = cache.get(base64);
      if (known !== undefined) return known;
      const key = importPublicKey(backend, base64);
      if (key !== undefined) cache.set(base64, key);
      return key;
    },
    keyPairFromSeed: (version, seed) => pairFromSeed(backend, version, seed),
  };
}

function importPublicKey(backend: Backend, base64: string): PublicKey | undefined {
  const bytes = decodeBase64(base64);
  if (bytes?.length !== PUBLIC_KEY_BYTES) return undefined;
  const check = backend.verifier(bytes);
  return check === undefined ? undefined : { base64: encodeBase64(bytes), [verifier]: check };
}

function pairFromSeed(backend: Backend, version: string, seed: Uint8Array): SigningKeyPair {
  if (!VERSION.test(version)) throw new RangeError('a key version is made of a-z, A-Z, 0-9 and _');
  if (seed.length !== SEED_BYTES) throw new RangeError(`a seed has ${SEED_BYTES} bytes`);
  const { publicKey, sign } = backend.signer(seed);
  return {
    keyId: `ed25519:${version}`,
    publicKey: encodeBase64(publicKey),
    sign: (message) => encodeBase64(sign(bytesOf(message))),
  };
}

function signatureBytes(base64: string): Uint8Array | undefined {
  const bytes = decodeBase64(base64);
  return bytes?.length === SIGNATURE_BYTES ? bytes : undefined;
}

function bytesOf(message: string | Uint8Array): Uint8Array {
  return typeof message === 'string' ? Buffer.from(message) : message;
}

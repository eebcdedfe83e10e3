/**
 * Ed25519 by OpenSSL, and by tweetnacl where OpenSSL refuses it (FIPS mode).
 *
 * Seeds and public keys are 32 bytes, signatures 64 (RFC 8032).
 */

import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import nacl from 'tweetnacl';

export type BackendName = 'openssl' | 'tweetnacl';

/** A callback, which costs a tenth of a promise: signatures come by the ten thousand. */
export type Done = (error: Error | null, isValid: boolean) => void;

/** Checks signatures by one public key. */
export interface Verifier {
  /** Lets others run meanwhile, and tells `done` later. */
  check(message: Uint8Array, signature: Uint8Array, done: Done): void;
  /** Answers at once, on the main thread. */
  checkSync(message: Uint8Array, signature: Uint8Array): boolean;
}
/** Signs with one private key. */
export type Signer = (message: Uint8Array) => Uint8Array;

export interface Backend {
  readonly name: BackendName;
  /** Undefined where the bytes are no key. */
  verifier(publicKey: Uint8Array): Verifier | undefined;
  signer(seed: Uint8Array): { readonly publicKey: Uint8Array; readonly sign: Signer };
}

/** The DER around the 32 bytes of a public key (SubjectPublicKeyInfo) and of a seed (PKCS #8). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Signatures are checked on the thread pool. */
export const openssl: Backend = {
  name: 'openssl',
  verifier(publicKey) {
    const key = createPublicKey({
      key: Buffer.concat([SPKI_PREFIX, publicKey]),
      format: 'der',
      type: 'spki',
    });
    return {
      check: (message, signature, done) => verify(null, message, key, signature, calledBack(done)),
      checkSync: (message, signature) => verify(null, message, key, signature),
    };
  },
  signer(seed) {
    const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
    const der = createPublicKey(key).export({ format: 'der', type: 'spki' });
    return { publicKey: der.subarray(SPKI_PREFIX.length), sign: (message) => sign(null, message, key) };
  },
};

/** Runs on the main thread, some milliseconds a signature, so it lets others run before each. */
export const tweetnacl: Backend = {
  name: 'tweetnacl',
  verifier(publicKey) {
    const checkSync: Verifier['checkSync'] = (message, signature) =>
      nacl.sign.detached.verify(message, signature, publicKey);
    return {
      check: (message, signature, done) => setImmediate(() => done(null, checkSync(message, signature))),
      checkSync,
    };
  },
  signer(seed) {
    const pair = nacl.sign.keyPair.fromSeed(seed);
    return { publicKey: pair.publicKey, sign: (message) => nacl.sign.detached(message, pair.secretKey) };
  },
};

/** OpenSSL where it signs with Ed25519 on this machine, else tweetnacl. */
export function detectBackend(): Backend {
  try {
    openssl.signer(new Uint8Array(32)).sign(new Uint8Array(1));
    return openssl;
  } catch {
    // OpenSSL says no in several ways (unknown algorithm, disabled for FIPS): each means the same here.
    return tweetnacl;
  }
}

/**
 * Calls another function each time, once. A job of Node's that is over may stay until V8 collects what is old, and with it
 * the function that it called, and what that knows: of ten thousand signatures the events. So the function is one that
 * was made before, and knows nothing any more.
 */
class Callback {
  #done: Done | undefined;

  set(done: Done): void {
    this.#done = done;
  }

  readonly call: Done = (error, isValid) => {
    const done = this.#done;
    this.#done = undefined;
    idle.push(this);
    done?.(error, isValid);
  };
}

/** As many as were ever needed at once. */
const idle: Callback[] = [];

function calledBack(done: Done): Done {
  const callback = idle.pop() ?? new Callback();
  callback.set(done);
  return callback.call;
}

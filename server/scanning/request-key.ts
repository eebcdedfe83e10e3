/**
 * The key to which clients encrypt what they ask the scanner, so that no proxy on the way learns the keys of files.
 * The scheme is that of key backups:
 * https://spec.matrix.org/v1.19/client-server-api/#backup-algorithm-mmegolm_backupv1curve25519-aes-sha2
 *
 * 1. X25519 with the ephemeral key of the message gives a secret; HKDF-SHA-256 of it, with a salt of 32 zero bytes and no
 *    info, gives the AES key, the MAC key and the IV.
 * 2. The text is decrypted by AES-256-CBC.
 * 3. The MAC is of an empty text, as in libolm and all that followed it: it says that the key is the right one, and nothing
 *    about the text. One of the text is taken too.
 */

import {
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeBase64, encodeBase64 } from '#keys/base64.ts';
import { ConfigError } from '../config/config-file.ts';

/** As clients send it: all in Base64. */
export interface EncryptedBody {
  readonly ciphertext: string;
  readonly mac: string;
  readonly ephemeral: string;
}

const FILE = 'scanner.key';
const KEY_BYTES = 32;
const MAC_BYTES = 8;
const SALT = Buffer.alloc(KEY_BYTES);
/** What stands before the 32 bytes of a public key in SubjectPublicKeyInfo (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex');

export class RequestKey {
  readonly #key: KeyObject;

  constructor(key: KeyObject) {
    this.#key = key;
  }

  /** With the key of a data folder, which is made where there is none. */
  static async open(dataDir: string): Promise<RequestKey> {
    const path = join(dataDir, FILE);
    const { privateKey } = generateKeyPairSync('x25519');
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
    try {
      await writeFile(path, pem, { flag: 'wx', mode: 0o600, flush: true });
      return new RequestKey(privateKey);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const key = privateKeyOf(await readFile(path, 'utf8'));
    if (key !== undefined) return new RequestKey(key);
    throw new ConfigError(`${path} is no key: remove it, and another one is made at the start`);
  }

  /** In Base64 without padding. */
  get publicKey(): string {
    const spki = createPublicKey(this.#key).export({ type: 'spki', format: 'der' });
    return encodeBase64(spki.subarray(SPKI_PREFIX.length));
  }

  /** The text of a message; undefined for one that was not encrypted to this key. */
  decrypt(message: EncryptedBody): string | undefined {
    const [ciphertext, mac, ephemeral] = [message.ciphertext, message.mac, message.ephemeral].map(
      decodeBase64,
    );
    if (ciphertext === undefined || mac?.length !== MAC_BYTES || ephemeral?.length !== KEY_BYTES)
      return undefined;
    try {
      const derived = Buffer.from(hkdfSync('sha256', this.#agree(ephemeral), SALT, '', 80));
      const [aesKey, macKey, iv] = [derived.subarray(0, 32), derived.subarray(32, 64), derived.subarray(64)];
      const isRight = ['', ciphertext].some((text) =>
        timingSafeEqual(createHmac('sha256', macKey).update(text).digest().subarray(0, MAC_BYTES), mac),
      );
      if (!isRight) return undefined;
      const decipher = createDecipheriv('aes-256-cbc', aesKey, iv);
      return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8');
    } catch {
      // A key that gives no secret, or a padding that is none.
      return undefined;
    }
  }

  #agree(ephemeral: Uint8Array): Buffer {
    const der = Buffer.concat([SPKI_PREFIX, ephemeral]);
    const publicKey = createPublicKey({ key: der, format: 'der', type: 'spki' });
    return diffieHellman({ privateKey: this.#key, publicKey });
  }
}

function privateKeyOf(pem: string): KeyObject | undefined {
  try {
    const key = createPrivateKey(pem);
    return key.asymmetricKeyType === 'x25519' ? key : undefined;
  } catch {
    return undefined;
  }
}

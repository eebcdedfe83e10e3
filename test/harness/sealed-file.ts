/** Files as clients encrypt them: https://spec.matrix.org/v1.19/client-server-api/#sending-encrypted-attachments */

import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';

/** A file as it goes up, and what the room is told of it: `EncryptedFile`, but for its address. */
export interface Sealed {
  readonly bytes: Buffer;
  readonly file: Readonly<Record<string, unknown>>;
  readonly open: (bytes: Buffer) => Buffer;
}

export function sealed(plain: Buffer): Sealed {
  const [key, iv] = [randomBytes(32), randomBytes(16)];
  const cipher = createCipheriv('aes-256-ctr', key, iv);
  const bytes = Buffer.concat([cipher.update(plain), cipher.final()]);
  const jwk = { kty: 'oct', key_ops: ['encrypt', 'decrypt'], alg: 'A256CTR', ext: true };
  const sha256 = createHash('sha256').update(bytes).digest('base64').replaceAll('=', '');
  return {
    bytes,
    file: {
      ...{ v: 'v2', key: { ...jwk, k: key.toString('base64url') }, hashes: { sha256 } },
      iv: iv.toString('base64').replaceAll('=', ''),
    },
    open: (encrypted) => {
      const decipher = createDecipheriv('aes-256-ctr', key, iv);
      return Buffer.concat([decipher.update(encrypted), decipher.final()]);
    },
  };
}

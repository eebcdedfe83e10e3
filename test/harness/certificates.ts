/** Certificates for tests: an authority of the test's own, and server certificates that it signs. */

import { isIP } from 'node:net';
import { generate } from 'selfsigned';

export interface TestCertificate {
  /** PEM. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

export interface TestAuthority extends TestCertificate {
  /** A certificate for host names and IP addresses. */
  issue(names: readonly string[], options?: { readonly expired?: boolean }): Promise<TestCertificate>;
}

const DAY_MS = 24 * 60 * 60_000;

/** A new certificate authority. Its `cert` is the root that a client of the test must trust. */
export async function createAuthority(): Promise<TestAuthority> {
  const now = Date.now();
  const pems = await generate([{ name: 'commonName', value: 'Kurir test authority' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(now - DAY_MS),
    notAfterDate: new Date(now + DAY_MS),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const authority = { cert: pems.cert, key: pems.private };
  return { ...authority, issue: (names, options = {}) => issue(authority, names, options) };
}

async function issue(
  ca: TestCertificate,
  names: readonly string[],
  { expired = false }: { readonly expired?: boolean },
): Promise<TestCertificate> {
  const now = Date.now();
  const pems = await generate([{ name: 'commonName', value: names[0] ?? 'localhost' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    ca,
    notBeforeDate: new Date(now - 2 * DAY_MS),
    notAfterDate: new Date(now + (expired ? -DAY_MS : DAY_MS)),
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: names.map((name) => (isIP(name) === 0 ? { type: 2, value: name } : { type: 7, ip: name })),
      },
    ],
  });
  return { cert: pems.cert, key: pems.private };
}

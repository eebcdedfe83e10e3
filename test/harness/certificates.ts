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
  issue(names: readonly string[], options?: IssueOptions): Promise<TestCertificate>;
  /** An authority below this one: whoever trusts this one needs its `cert` too, from the server. */
  intermediate(): Promise<TestAuthority>;
}

interface IssueOptions {
  readonly expired?: boolean;
  /** How long it is valid; a day unless given. */
  readonly days?: number;
}

const DAY_MS = 24 * 60 * 60_000;

/** A new certificate authority. Its `cert` is the root that a client of the test must trust. */
export function createAuthority(): Promise<TestAuthority> {
  return authorityBy(undefined, 'Kurir test authority');
}

/** A certificate that no authority has signed. */
export async function selfSigned(names: readonly string[]): Promise<TestCertificate> {
  return issue(undefined, names, {});
}

async function authorityBy(ca: TestCertificate | undefined, name: string): Promise<TestAuthority> {
  const now = Date.now();
  const pems = await generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    algorithm: 'sha256',
    ...(ca !== undefined && { ca }),
    notBeforeDate: new Date(now - DAY_MS),
    notAfterDate: new Date(now + DAY_MS),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const authority = { cert: pems.cert, key: pems.private };
  return {
    ...authority,
    issue: (names, options = {}) => issue(authority, names, options),
    intermediate: () => authorityBy(authority, 'Kurir test intermediate'),
  };
}

async function issue(
  ca: TestCertificate | undefined,
  names: readonly string[],
  { expired = false, days = 1 }: IssueOptions,
): Promise<TestCertificate> {
  const now = Date.now();
  const pems = await generate([{ name: 'commonName', value: names[0] ?? 'localhost' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    ...(ca !== undefined && { ca }),
    notBeforeDate: new Date(now - 2 * DAY_MS),
    notAfterDate: new Date(now + (expired ? -DAY_MS : days * DAY_MS)),
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

/** Chromium, as the system has it, on servers of the test that have names and TLS. */

import { createHash, createPublicKey, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';
import { LONGEST_MS } from '#test/harness/until.ts';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Where it is: what KURIR_TEST_CHROMIUM names, or Debian's. */
export const chromiumPath = [process.env.KURIR_TEST_CHROMIUM ?? '', ...PLACES].find(existsSync);

/** For the name of a test, and its options. */
export const skip = chromiumPath === undefined;
export const why = skip ? ' (skipped: there is no Chromium; apt-get install chromium)' : '';

/** A browser that finds all names of `kurir.test` at `port`, and trusts the certificate of the servers there. */
export function startChromium({ cert, port }: { cert: string; port: number }): Promise<Browser> {
  const key = createPublicKey(new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'pem' }));
  const spki = createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('base64');
  return chromium.launch({
    ...(chromiumPath !== undefined && { executablePath: chromiumPath }),
    timeout: LONGEST_MS,
    args: [
      '--no-sandbox',
      '--disable-quic',
      `--host-resolver-rules=MAP *.kurir.test:443 127.0.0.1:${port}`,
      `--ignore-certificate-errors-spki-list=${spki}`,
    ],
  });
}

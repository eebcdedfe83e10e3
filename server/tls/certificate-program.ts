/** The process that makes a self-signed certificate: told what by its argument, it prints the answer as JSON. */

import { generate } from 'selfsigned';
import { isIpLiteral } from '#keys/ids.ts';

export interface CertificateRequest {
  /** A host name, an IPv4 address, or an IPv6 address in brackets. */
  readonly host: string;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
}

const request: CertificateRequest = JSON.parse(process.argv[2] ?? '');
process.stdout.write(JSON.stringify(await certificateFor(request)));

async function certificateFor({ host, notBefore, notAfter }: CertificateRequest) {
  const names = isIpLiteral(host) ? [] : [{ type: 2 as const, value: host }];
  const addresses = isIpLiteral(host) ? [host.replace(/^\[|\]$/g, ''), '127.0.0.1'] : ['127.0.0.1'];
  const { cert, private: key } = await generate([{ name: 'commonName', value: host }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(notBefore),
    notAfterDate: new Date(notAfter),
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [...names, ...addresses.map((ip) => ({ type: 7 as const, ip }))],
      },
    ],
  });
  return { cert, key };
}

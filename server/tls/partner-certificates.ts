import { X509Certificate } from 'node:crypto';
import { MAX_CA_BYTES } from '#federation/partners/partner.ts';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** The certificates of a PEM text; undefined where one of them, or all of it, is none. */
export function certificatesIn(pem: string): X509Certificate[] | undefined {
  const texts = pem.match(CERTIFICATE);
  if (texts === null) return undefined;
  try {
    return texts.map((text) => new X509Certificate(text));
  } catch {
    // The parser says no more than that it is none.
    return undefined;
  }
}

/** Why a PEM text cannot be the authorities of a partner, or nothing. */
export function faultOfCertificates(pem: string): string | undefined {
  if (Buffer.byteLength(pem) > MAX_CA_BYTES)
    return `holds more than ${MAX_CA_BYTES} bytes: take fewer certificates`;
  if (certificatesIn(pem) === undefined) return 'holds no certificate: use a PEM file of one or several';
  return undefined;
}

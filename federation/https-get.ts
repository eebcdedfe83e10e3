import { type IncomingMessage, request as requestHttp } from 'node:http';
import { isIP } from 'node:net';
import type { Dialer } from './dial.ts';

export interface GetOptions {
  /** The types that are asked for, as in the header. */
  readonly accept: string;
  /** PEM certificates of the only authorities that are trusted; unless given, the usual ones. */
  readonly ca?: string;
  /** Ends the request and its answer. */
  readonly signal: AbortSignal;
  /** The longest pause before and within the answer, in milliseconds. */
  readonly idleMs?: number;
}

/**
 * Asks for a URL that a stranger named: over TLS whatever its scheme says, at addresses that are allowed, without
 * following redirects. The caller reads the answer's body, or destroys it. Rejects where there is no answer.
 */
export async function getOverHttps(
  dialer: Dialer,
  url: URL,
  { accept, ca, signal, idleMs }: GetOptions,
): Promise<IncomingMessage> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const endpoint = { host, port: url.port === '' ? 443 : Number(url.port) };
  const trust = { tlsName: host, ...(ca !== undefined && { ca }) };
  const socket = await dialer.dial({ endpoints: [endpoint], ...trust, signal });
  return new Promise((resolve, reject) => {
    const request = requestHttp({
      createConnection: () => socket,
      path: `${url.pathname}${url.search}`,
      headers: { host: isIP(host) === 0 && endpoint.port === 443 ? host : url.host, accept },
      maxHeaderSize: 16 * 1024,
      signal,
    });
    if (idleMs !== undefined) {
      request.setTimeout(idleMs, () => request.destroy(new Error('nothing came for too long')));
    }
    request.once('response', resolve).once('error', reject).end();
  });
}

import type { IncomingMessage } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { Dialer } from './dial.ts';
import { nodeHttp } from './node-http.ts';

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
export async function getOverHttps(dialer: Dialer, url: URL, options: GetOptions): Promise<IncomingMessage> {
  const { ca, signal } = options;
  const host = hostOf(url);
  const endpoint = { host, port: url.port === '' ? 443 : Number(url.port) };
  const trust = { tlsName: host, ...(ca !== undefined && { ca }) };
  const socket = await dialer.dial({ endpoints: [endpoint], ...trust, signal });
  const hostHeader = isIP(host) === 0 && endpoint.port === 443 ? host : url.host;
  return getBy(socket, url, { ...options, headers: { host: hostHeader } });
}

/** As `getOverHttps`, for a page of the web: without TLS where that is its scheme. */
export async function getPage(dialer: Dialer, url: URL, options: GetOptions): Promise<IncomingMessage> {
  const headers = { host: url.host, 'user-agent': 'Kurir (bot)', 'accept-encoding': 'identity' };
  const [host, port] = [hostOf(url), Number(url.port)];
  const { signal } = options;
  const socket =
    url.protocol === 'http:'
      ? await dialer.connect({ host, port: port || 80 }, signal)
      : await dialer.dial({ endpoints: [{ host, port: port || 443 }], tlsName: host, signal });
  return getBy(socket, url, { ...options, headers });
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

function getBy(
  socket: Socket,
  url: URL,
  { accept, signal, idleMs, headers }: GetOptions & { readonly headers: Readonly<Record<string, string>> },
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = nodeHttp.request({
      createConnection: () => socket,
      path: `${url.pathname}${url.search}`,
      headers: { ...headers, accept },
      maxHeaderSize: 16 * 1024,
      signal,
    });
    if (idleMs !== undefined) {
      request.setTimeout(idleMs, () => request.destroy(new Error('nothing came for too long')));
    }
    request.once('response', resolve).once('error', reject).end();
  });
}

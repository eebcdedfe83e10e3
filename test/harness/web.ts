/** A web server whose pages the test writes. */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A page: its HTML, or how it is answered. */
export type WebPage = string | ((request: IncomingMessage, response: ServerResponse) => void);

export interface WebSite extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly pages: Map<string, WebPage>;
  /** The paths that were asked for, in the order of arrival. */
  readonly hits: string[];
  /** The answers that were not read to their end. */
  readonly cutOff: string[];
}

/** At an address of loopback; `url` names it as it is given. */
export async function startWebSite(host = '127.0.0.1'): Promise<WebSite> {
  const pages = new Map<string, WebPage>();
  const hits: string[] = [];
  const cutOff: string[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    hits.push(path);
    response.on('close', () => {
      if (!response.writableFinished) cutOff.push(path);
    });
    const page = pages.get(path);
    if (typeof page === 'function') page(request, response);
    else if (page === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page);
  });
  server.listen(0, host === 'localhost' ? '127.0.0.1' : host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    ...{ url: `http://${host}:${port}`, port, pages, hits, cutOff },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A page that is some bytes of a type. */
export function file(bytes: Uint8Array | string, contentType: string): WebPage {
  return (_, response) => response.writeHead(200, { 'content-type': contentType }).end(bytes);
}

/** A page that is somewhere else. */
export function redirect(location: string, status = 302): WebPage {
  return (_, response) => response.writeHead(status, { location }).end();
}

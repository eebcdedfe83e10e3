/** A server behind a proxy with TLS, an identity provider behind it, a website with a client, and Chromium in front. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import path from 'node:path';
import { build } from 'esbuild';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { selfSigned } from '#test/harness/certificates.ts';
import { type MailServer, mailOptions, startMailServer } from '#test/harness/mail-server.ts';
import { startServer, type TestServer, type TestServerOptions } from '#test/harness/server.ts';
import { LONGEST_MS } from '#test/harness/until.ts';
import { IdentityProvider } from '#test/server/providers/identity-provider.ts';
import { startChromium } from './chromium.ts';

/** The server's address, and that of the website with the client. */
export const SERVER = 'https://matrix.kurir.test';
export const WEBSITE = 'https://chat.kurir.test';

export interface Stage extends AsyncDisposable {
  readonly server: TestServer;
  readonly provider: IdentityProvider;
  readonly mail: MailServer;
  readonly browser: Browser;
  /** What browsers had to say of pages of the server, but for refused requests: nothing, if all is well. */
  readonly complaints: string[];
  open(options?: BrowserContextOptions): Promise<Page>;
}

export async function startStage(options: TestServerOptions = {}): Promise<Stage> {
  const stack = new AsyncDisposableStack();
  try {
    const redirectUri = `${SERVER}/sign-in/provider/staff/callback`;
    const provider = stack.use(await IdentityProvider.start(redirectUri));
    const mail = stack.use(await startMailServer());
    const server = stack.use(
      await startServer({
        ...mailOptions(mail),
        ...{ publicBaseurl: SERVER, oidcProviders: provider.option({ label: 'Staff account' }) },
        ...options,
      }),
    );
    const certificate = await selfSigned(['matrix.kurir.test', 'chat.kurir.test']);
    const app = await bundle();
    const front = createServer(certificate, (request, response) => {
      if (request.headers.host === 'chat.kurir.test') sendWebsite(request, response, app);
      else passOn(server, request, response);
    }).listen(0, '127.0.0.1');
    stack.defer(() => {
      front.closeAllConnections();
      front.close();
    });
    await once(front, 'listening');
    const address = front.address();
    assert.ok(address !== null && typeof address === 'object');
    const browser = await startChromium({ cert: certificate.cert, port: address.port });
    stack.defer(() => browser.close());
    const complaints: string[] = [];
    const open = async (more: BrowserContextOptions = {}) => {
      const context: BrowserContext = await browser.newContext({ locale: 'en-GB', ...more });
      const page = await context.newPage();
      page.setDefaultTimeout(LONGEST_MS);
      const complain = (text: string) => {
        const isOurs = page.url().startsWith(SERVER) && !text.startsWith('Failed to load resource');
        if (isOurs) complaints.push(`${page.url()}: ${text}`);
      };
      page.on('pageerror', (error) => complain(error.message));
      page.on('console', (line) => {
        if (line.type() === 'error') complain(line.text());
      });
      return page;
    };
    const dispose = stack.move();
    return {
      ...{ server, provider, mail, browser, complaints, open },
      [Symbol.asyncDispose]: () => dispose.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** The client as one script. */
async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [path.join(import.meta.dirname, 'chat-app.ts')],
    ...{ bundle: true, write: false, format: 'esm', target: 'chrome120', logLevel: 'error' },
    define: { global: 'globalThis' },
  });
  return outputFiles[0]?.text ?? '';
}

function sendWebsite(request: IncomingMessage, response: ServerResponse, app: string): void {
  const isScript = request.url === '/chat.js';
  const type = isScript ? 'text/javascript' : 'text/html; charset=utf-8';
  response.writeHead(200, { 'content-type': type });
  response.end(
    isScript ? app : '<!doctype html><title>Chat</title><script type="module" src="/chat.js"></script>',
  );
}

/** As the reverse proxy in front of a server. */
function passOn(server: TestServer, request: IncomingMessage, response: ServerResponse): void {
  const { method = 'GET', url, headers } = request;
  const onward = httpRequest(`${server.clientUrl}${url}`, { method, headers });
  onward.once('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  onward.once('error', () => response.destroy());
  request.pipe(onward);
}

/** A server of the test's own that Kurir talks to: real HTTPS on loopback, answers of the test's choice. */

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type ServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import { buildServerKeyDocument } from '#keys/server-key-document.ts';
import type { SigningKey } from '#keys/signing-key.ts';
import type { TestAuthority } from './certificates.ts';
import { freePort } from './free-port.ts';

export interface PeerRequest {
  readonly method: string;
  /** As received. */
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  readonly bytes: Buffer;
}

/** Answers with JSON, or by hand. */
export type PeerAnswer =
  | { readonly status?: number; readonly json: JsonObject; readonly headers?: Record<string, string> }
  | ((response: ServerResponse) => void);

export interface Peer extends AsyncDisposable {
  /** `localhost:PORT` */
  readonly name: string;
  readonly port: number;
  readonly signingKey: SigningKey;
  readonly requests: PeerRequest[];
  /** Stops listening and cuts every connection; `start` listens on the same port again. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** From the next connection on it has another certificate, or other versions of TLS. */
  useTls(tls: ServerOptions): void;
}

export interface PeerOptions {
  readonly authority: TestAuthority;
  /** Besides `localhost` and `127.0.0.1`. */
  readonly names?: readonly string[];
  /** In place of a certificate that the authority signs; with it, other versions of TLS. */
  readonly certificate?: ServerOptions | undefined;
  readonly answer: (request: PeerRequest, peer: Peer) => PeerAnswer | Promise<PeerAnswer>;
}

export async function startPeer({ authority, names = [], answer, ...given }: PeerOptions): Promise<Peer> {
  const certificate = given.certificate ?? (await authority.issue(['localhost', '127.0.0.1', ...names]));
  const requests: PeerRequest[] = [];
  const server = createServer(certificate, async (incoming, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const { method = '', url = '', headers } = incoming;
    const bytes = Buffer.concat(chunks);
    const request = { method, url, headers, body: bytes.toString(), bytes };
    requests.push(request);
    const reply = await answer(request, peer);
    if (typeof reply === 'function') {
      reply(response);
      return;
    }
    response.writeHead(reply.status ?? 200, { 'content-type': 'application/json', ...reply.headers });
    response.end(encodeCanonical(reply.json));
  });
  server.on('tlsClientError', () => undefined);
  // Those in the middle of a handshake too, which the server does not close.
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  const port = await freePort();
  const start = async (): Promise<void> => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  const stop = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  await start();
  const peer: Peer = {
    name: `localhost:${port}`,
    port,
    signingKey: { keyPair: keyPairFromSeed('peer', generateSeed()), oldKeys: [] },
    requests,
    ...{ start, stop },
    useTls: (other) => server.setSecureContext(other),
    [Symbol.asyncDispose]: stop,
  };
  return peer;
}

/** The peer's key document, valid for an hour. */
export function keyDocumentOf(peer: Pick<Peer, 'name' | 'signingKey'>): JsonObject {
  const { name: serverName, signingKey } = peer;
  return buildServerKeyDocument({ serverName, signingKey, validUntilTs: Date.now() + 3_600_000 });
}

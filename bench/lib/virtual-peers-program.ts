/** The process of `virtual-peers.ts`. */

import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import { createServer as createTcp } from 'node:net';

let handshakes = 0;
let transactions = 0;
let pdus = 0;
let latencies: number[] = [];
const finished = new Set<string>();
let server: Server | undefined;
let port = 0;

process.on(
  'message',
  async (message: 'seen' | 'stop' | 'listen' | { certificate: { cert: string; key: string } }) => {
    if (message === 'seen') {
      const { user, system } = process.cpuUsage();
      const cpuMs = (user + system) / 1000;
      process.send?.({ handshakes, transactions, pdus, latencies, finished: finished.size, cpuMs });
      latencies = [];
    } else if (message === 'stop') {
      server?.close();
      server?.closeAllConnections();
      process.send?.('stopped');
    } else if (message === 'listen') {
      server?.listen(port, '127.0.0.1');
      if (server !== undefined) await once(server, 'listening');
      process.send?.('listening');
    } else {
      const silent = createTcp((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
      server = peersWith(message.certificate).listen(0, '127.0.0.1', 4_096);
      await Promise.all([once(silent, 'listening'), once(server, 'listening')]);
      port = portOf(server);
      process.send?.({ port, silentPort: portOf(silent) });
    }
  },
);
process.on('disconnect', () => process.exit());

function peersWith(certificate: { cert: string; key: string }): Server {
  const peers = createServer({ ...certificate, keepAlive: true }, async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString('latin1');
    const now = Date.now();
    // Not parsed: what a real server would do with it is not what is measured.
    const sent = [...text.matchAll(/"sent_at":(\d+)/g)];
    transactions += 1;
    pdus += text.split('"prev_events":').length - 1;
    for (const [, at] of sent) latencies.push(now - Number(at));
    if (text.includes('"body":"last"')) finished.add(request.headers.host ?? '');
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end('{"pdus":{}}');
  });
  peers.keepAliveTimeout = 60_000;
  peers.on('secureConnection', () => {
    handshakes += 1;
  });
  peers.on('tlsClientError', () => undefined);
  return peers;
}

function portOf(listening: { address(): unknown }): number {
  const address = listening.address();
  if (typeof address !== 'object' || address === null || !('port' in address))
    throw new Error('not listening');
  return Number(address.port);
}

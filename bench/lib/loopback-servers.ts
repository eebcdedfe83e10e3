/** Other servers in one process, each at an address of its own of 127.0.0.0/8, which on Linux is all this machine. */

import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import net from 'node:net';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { ServerName } from '#keys/ids.ts';
import { buildServerKeyDocument } from '#keys/server-key-document.ts';
import type { TestCertificate } from '#test/harness/certificates.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';

export interface LoopbackServers {
  /** What they are asked; which of them, the `host` header tells. */
  readonly https: Server;
  readonly names: readonly ServerName[];
}

/** The addresses of `count` servers: 127.1.0.1 and so on. */
export function loopbackHosts(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `127.1.${Math.floor(index / 250)}.${(index % 250) + 1}`);
}

/** As Kurir has it, and the proxies that stand before most servers. Node's own 5 s would cost each who asks a handshake more. */
const KEEP_ALIVE_MS = 75_000;

/** Listens at each of the addresses, which the certificate is for, on one port. */
export async function listenOnLoopback(
  certificate: TestCertificate,
  hosts: readonly string[],
): Promise<LoopbackServers> {
  const https = createServer({ ...certificate, keepAliveTimeout: KEEP_ALIVE_MS });
  let port = 0;
  for (const host of hosts) {
    const server = net.createServer((socket) => https.emit('connection', socket));
    server.listen(port, host);
    await once(server, 'listening');
    const address = server.address();
    if (address !== null && typeof address !== 'string') port = address.port;
  }
  return { https, names: hosts.map((host): ServerName => `${host}:${port}`) };
}

/** The answer to `/_matrix/key/v2/server`: the key by which `room-builder.ts` signs. */
export function keyAnswer(serverName: ServerName): string {
  const signingKey = { keyPair: keyPairOf(serverName), oldKeys: [] };
  const validUntilTs = Date.now() + 3_600_000;
  return encodeCanonical(buildServerKeyDocument({ serverName, signingKey, validUntilTs }));
}

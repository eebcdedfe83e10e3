/** Other servers in one process, each at an address of its own of 127.0.0.0/8, which on Linux is all this machine. */

import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { ServerName } from '#keys/ids.ts';
import { buildServerKeyDocument } from '#keys/server-key-document.ts';
import type { TestAuthority, TestCertificate } from '#test/harness/certificates.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';

export interface LoopbackServer {
  readonly host: string;
  /** For this host alone, as a server's is: of one for all of them each handshake would read all names. */
  readonly certificate: TestCertificate;
}

/** `count` servers to be: at 127.1.0.1 and so on. */
export function loopbackServers(authority: TestAuthority, count: number): Promise<LoopbackServer[]> {
  const hosts = Array.from({ length: count }, (_, at) => `127.1.${Math.floor(at / 250)}.${(at % 250) + 1}`);
  return Promise.all(hosts.map(async (host) => ({ host, certificate: await authority.issue([host]) })));
}

/** As Kurir has it, and the proxies that stand before most servers. Node's own 5 s would cost each who asks a handshake more. */
const KEEP_ALIVE_MS = 75_000;

/** Listens at each of the addresses on one port; which is asked, the `host` header tells. Answers their names. */
export async function listenOnLoopback(
  servers: readonly LoopbackServer[],
  onRequest: RequestListener,
): Promise<ServerName[]> {
  let port = 0;
  for (const { host, certificate } of servers) {
    const server = createServer({ ...certificate, keepAliveTimeout: KEEP_ALIVE_MS }, onRequest);
    server.listen(port, host);
    await once(server, 'listening');
    const address = server.address();
    if (address !== null && typeof address !== 'string') port = address.port;
  }
  return servers.map(({ host }): ServerName => `${host}:${port}`);
}

/** The answer to `/_matrix/key/v2/server`: the key by which `room-builder.ts` signs. */
export function keyAnswer(serverName: ServerName): string {
  const signingKey = { keyPair: keyPairOf(serverName), oldKeys: [] };
  const validUntilTs = Date.now() + 3_600_000;
  return encodeCanonical(buildServerKeyDocument({ serverName, signingKey, validUntilTs }));
}

/** Several real servers that talk to each other over TLS on loopback, with names such as `localhost:40123`. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAuthority, type TestAuthority } from './certificates.ts';
import { type TestFolder, temporaryFolder } from './databases.ts';
import { freePort } from './free-port.ts';
import { startServer, type TestServer, type TestServerOptions } from './server.ts';

export class Fleet {
  readonly servers: readonly TestServer[];
  /** Signs for all servers, and for peers of the test's own that they are to trust. */
  readonly authority: TestAuthority;
  readonly #folder: TestFolder;

  constructor(servers: readonly TestServer[], authority: TestAuthority, folder: TestFolder) {
    this.servers = servers;
    this.authority = authority;
    this.#folder = folder;
  }

  /** One of the servers, by its number from 0. */
  at(index: number): TestServer {
    const server = this.servers[index];
    if (server === undefined) throw new Error(`the fleet has ${this.servers.length} servers`);
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.servers.map((server) => server[Symbol.asyncDispose]()));
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** Starts servers that trust the certificates of one authority. `await using` stops them all. */
export async function startFleet(count: number, options: TestServerOptions = {}): Promise<Fleet> {
  const folder = await temporaryFolder();
  const authority = await createAuthority();
  const ca = join(folder.path, 'ca.crt');
  await writeFile(ca, authority.cert);
  const certificate = await authority.issue(['localhost', '127.0.0.1']);
  const tlsCert = join(folder.path, 'server.crt');
  const tlsKey = join(folder.path, 'server.key');
  await writeFile(tlsCert, certificate.cert);
  await writeFile(tlsKey, certificate.key);
  const servers: TestServer[] = [];
  try {
    for (let index = 0; index < count; index++) {
      const port = await freePort();
      const server = await startServer({
        serverName: `localhost:${port}`,
        federationListen: { host: '127.0.0.1', port },
        federationCa: [ca],
        federationAllowPrivate: true,
        ...{ tlsCert, tlsKey },
        ...options,
      });
      servers.push(server);
    }
    return new Fleet(servers, authority, folder);
  } catch (error) {
    await new Fleet(servers, authority, folder)[Symbol.asyncDispose]();
    throw error;
  }
}

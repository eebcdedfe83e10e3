/** Several real servers that talk to each other over TLS on loopback, with names such as `localhost:40123`. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAuthority, type TestAuthority } from './certificates.ts';
import { type TestFolder, temporaryFolder } from './databases.ts';
import { freePort } from './free-port.ts';
import { Network } from './network.ts';
import { startServer, type TestServer, type TestServerOptions } from './server.ts';

export class Fleet {
  readonly servers: readonly TestServer[];
  /** Signs for all servers, and for peers of the test's own that they are to trust. */
  readonly authority: TestAuthority;
  readonly #folder: TestFolder;
  readonly #network: Network | undefined;

  constructor(
    servers: readonly TestServer[],
    shared: { authority: TestAuthority; folder: TestFolder; network: Network | undefined },
  ) {
    this.servers = servers;
    this.authority = shared.authority;
    this.#folder = shared.folder;
    this.#network = shared.network;
  }

  /** Of a fleet that has one. */
  get network(): Network {
    if (this.#network === undefined) throw new Error('the servers of the fleet talk to each other directly');
    return this.#network;
  }

  /** One of the servers, by its number from 0. */
  at(index: number): TestServer {
    const server = this.servers[index];
    if (server === undefined) throw new Error(`the fleet has ${this.servers.length} servers`);
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.servers.map((server) => server[Symbol.asyncDispose]()));
    await this.#network?.[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }
}

export interface FleetOptions extends TestServerOptions {
  /** The links between the servers can be cut, by `fleet.network`. */
  readonly hasNetwork?: boolean;
}

/** Starts servers that trust the certificates of one authority. `await using` stops them all. */
export async function startFleet(count: number, fleetOptions: FleetOptions = {}): Promise<Fleet> {
  const { hasNetwork = false, ...options } = fleetOptions;
  const folder = await temporaryFolder();
  const authority = await createAuthority();
  const network = hasNetwork ? new Network(authority) : undefined;
  const shared = { authority, folder, network };
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
      const gate = await network?.open(port);
      const server = await startServer({
        serverName: gate?.name ?? `localhost:${port}`,
        federationListen: { host: '127.0.0.1', port },
        federationCa: [ca],
        federationAllowPrivate: true,
        ...{ tlsCert, tlsKey },
        ...options,
      });
      servers.push(server);
    }
    return new Fleet(servers, shared);
  } catch (error) {
    await new Fleet(servers, shared)[Symbol.asyncDispose]();
    throw error;
  }
}

/** A Kurir and a Rocket.Chat that federate, each at an address of loopback that is its name. */

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ConfiguredPartner } from '#server/config/partner-option.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startServer, type TestServer, type TestServerOptions } from '#test/harness/server.ts';
import { RocketChat } from './rocketchat.ts';

export interface Pair extends AsyncDisposable {
  readonly kurir: TestServer;
  readonly rocketChat: RocketChat;
}

export interface PairOptions extends TestServerOptions {
  /** Kurir's operator has listed Rocket.Chat as a partner, without saying what it is. */
  readonly isPartner?: boolean;
}

/** Starts the two; `await using` stops them. `users` have accounts at Rocket.Chat. */
export async function startPair(users: readonly string[], pairOptions: PairOptions = {}): Promise<Pair> {
  const { isPartner = false, ...options } = pairOptions;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const authority = await createAuthority();
  const addresses = loopbackAddresses();
  const file = (name: string) => path.join(folder.path, name);
  const { cert, key } = await authority.issue([addresses.kurir]);
  await writeFile(file('kurir.crt'), cert);
  await writeFile(file('kurir.key'), key);
  await writeFile(file('ca.crt'), authority.cert);
  const kurir = stack.use(
    await startServer({
      serverName: addresses.kurir,
      federationListen: { host: addresses.kurir, port: 8448 },
      federationCa: [file('ca.crt')],
      federationAllowPrivate: true,
      tlsCert: file('kurir.crt'),
      tlsKey: file('kurir.key'),
      ...(isPartner && { partners: [partnerOf(addresses.rocketChat)] }),
      ...options,
    }),
  );
  const rocketChat = stack.use(
    await RocketChat.create({ folder: folder.path, authority, address: addresses.rocketChat, users }),
  );
  const resources = stack.move();
  return { kurir, rocketChat, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

function partnerOf(name: string): ConfiguredPartner {
  return { name, direction: 'both', profile: undefined, keys: new Map(), ca: undefined, note: '' };
}

/** Of the addresses of this machine alone, two for this process: tests in other processes have others. */
function loopbackAddresses(): { kurir: string; rocketChat: string } {
  const network = `127.${1 + ((process.pid >> 8) % 254)}.${process.pid & 255}`;
  return { kurir: `${network}.2`, rocketChat: `${network}.3` };
}

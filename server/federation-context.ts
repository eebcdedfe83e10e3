import { readFile } from 'node:fs/promises';
import { AddressGuard } from '#federation/address-guard.ts';
import { Backoff } from '#federation/backoff.ts';
import { FederationClient } from '#federation/client.ts';
import type { FederationContext } from '#federation/context.ts';
import { Dialer } from '#federation/dial.ts';
import { remoteKeySource } from '#federation/remote-keys.ts';
import { ServerResolver } from '#federation/resolve.ts';
import { fetchDelegation, WellKnown } from '#federation/well-known.ts';
import { KeyRing } from '#keys/key-ring.ts';
import type { SigningKey } from '#keys/signing-key.ts';
import type { Clock, Log } from '#rooms/context.ts';
import { createRoomCache } from '#rooms/room-cache.ts';
import type { Database } from '#storage/database.ts';
import { KeyedQueue } from '#storage/locks.ts';
import type { Streams } from '#storage/streams.ts';
import { TypingUsers } from '#storage/typing.ts';
import { type Config, options } from './config.ts';
import { ConfigError } from './config-file.ts';

export interface Foundation {
  readonly config: Config;
  readonly db: Database;
  readonly streams: Streams;
  readonly signingKey: SigningKey;
  readonly clock: Clock;
  readonly log: Log;
}

/** Builds what rooms and federation need; whoever stays alive is put on `closing`. */
export async function openFederation(
  foundation: Foundation,
  closing: AsyncDisposableStack,
): Promise<FederationContext> {
  const { config, db, streams, signingKey, clock, log } = foundation;
  const { serverName } = config;
  const guard = new AddressGuard({ allowPrivate: config.federationAllowPrivate });
  const dialer = new Dialer({ guard, extraCa: await extraRoots(config.federationCa) });
  const wellKnown = new WellKnown((hostname) => fetchDelegation(dialer, hostname), clock);
  const resolver = new ServerResolver({
    delegationOf: (hostname) => wellKnown.delegationOf(hostname),
    clock,
  });
  const backoff = new Backoff({ db, clock });
  const { keyPair } = signingKey;
  const client = closing.use(new FederationClient({ serverName, keyPair, resolver, dialer, backoff }));
  const reportError = (error: unknown) => log.warn({ err: error }, 'looking up a signing key failed');
  const own = { serverName, signingKey };
  const keyRing = closing.use(new KeyRing(remoteKeySource({ client, db, clock, own, reportError })));
  const typing = closing.use(new TypingUsers(streams, clock));
  const rooms = createRoomCache();
  const roomLocks = new KeyedQueue();
  return {
    ...{ serverName, signingKey, keyRing, db, streams, roomLocks, rooms, clock, log },
    ...{ client, resolver, backoff, typing },
    sender: { wake: () => undefined, forward: async () => undefined },
    federation: { version: await version(), publicAddress: config.federationAddress },
  };
}

/** The version in package.json. */
export async function version(): Promise<string> {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  const { version: value } = JSON.parse(text) as { version: string };
  return value;
}

async function extraRoots(paths: readonly string[]): Promise<string | undefined> {
  if (paths.length === 0) return undefined;
  const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8').catch(unreadable(path))));
  return texts.join('\n');
}

function unreadable(path: string): (cause: NodeJS.ErrnoException) => never {
  return (cause) => {
    const { key } = options.federationCa;
    throw new ConfigError(`${key}: ${path} cannot be read (${cause.code}): check the path and its rights`, {
      cause,
    });
  };
}

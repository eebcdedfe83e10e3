import { readFile } from 'node:fs/promises';
import { connectFederation } from '#federation/connect.ts';
import type { FederationContext } from '#federation/context.ts';
import { FederationSender } from '#federation/outbound/sender.ts';
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

/** What rooms and federation need; whoever has a life of its own is put on `closing`. */
export async function openFederation(
  foundation: Foundation,
  closing: AsyncDisposableStack,
): Promise<{ federation: FederationContext; sender: FederationSender }> {
  const { config, db, streams, signingKey, clock, log } = foundation;
  const { serverName } = config;
  const softwareVersion = await version();
  const { client, resolver, backoff, keySource } = connectFederation({
    ...{ serverName, signingKey, db, clock, version: softwareVersion },
    allowPrivate: config.federationAllowPrivate,
    extraCa: await extraRoots(config.federationCa),
    reportError: (error) => log.warn({ err: error }, 'looking up a signing key failed'),
  });
  closing.use(client);
  const keyRing = closing.use(new KeyRing(keySource));
  const typing = closing.use(new TypingUsers(streams, clock));
  const context = {
    ...{ serverName, signingKey, keyRing, db, streams, clock, log },
    ...{ roomLocks: new KeyedQueue(), rooms: createRoomCache() },
    ...{ client, resolver, backoff, typing },
    federation: { version: softwareVersion, publicAddress: config.federationAddress },
  };
  const sender = closing.use(new FederationSender(context));
  return { federation: { ...context, sender }, sender };
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
    const line = `${key}: ${path} cannot be read (${cause.code}): check the path and its rights`;
    throw new ConfigError(line, { cause });
  };
}

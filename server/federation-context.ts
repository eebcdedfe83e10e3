import { readFile } from 'node:fs/promises';
import { Backoff } from '#federation/backoff.ts';
import { FederationClient } from '#federation/client.ts';
import type { FederationContext } from '#federation/context.ts';
import { Callers } from '#federation/doctor/callers.ts';
import { DeviceListNews } from '#federation/e2ee-keys/device-lists-news.ts';
import { DeviceListResync } from '#federation/e2ee-keys/device-lists-resync.ts';
import { Stage } from '#federation/inbound/stage.ts';
import { AddressGuard } from '#federation/network/address-guard.ts';
import { Dialer } from '#federation/network/dial.ts';
import type { Network } from '#federation/network/network.ts';
import { type Outreach, ServerResolver } from '#federation/network/resolve.ts';
import { fetchDelegation, WellKnown } from '#federation/network/well-known.ts';
import { OutgoingPresence } from '#federation/outbound/presence.ts';
import { FederationSender } from '#federation/outbound/sender.ts';
import { PartnerRegistry } from '#federation/partners/registry.ts';
import { PolicyAsker } from '#federation/policy/asker.ts';
import { identityAddress } from '#federation/remote/identity.ts';
import { remoteKeySource } from '#federation/remote-keys.ts';
import { parseServerName } from '#keys/ids.ts';
import { KeyRing } from '#keys/key-ring.ts';
import type { SigningKey } from '#keys/signing-key.ts';
import type { Clock, Log } from '#rooms/context.ts';
import { createRoomCache } from '#rooms/room-cache.ts';
import type { Database } from '#storage/database.ts';
import { KeyedQueue } from '#storage/locks.ts';
import { Presences } from '#storage/presences.ts';
import type { Streams } from '#storage/streams.ts';
import { TypingUsers } from '#storage/typing.ts';
import { partnerSettings } from './config/partner-option.ts';
import type { Config } from './config-options.ts';
import { openPolicyServer } from './policy-server.ts';
import { configuredRoots } from './tls/certificate.ts';

const DEFAULT_PORT = 8448;

export interface Foundation {
  readonly config: Config;
  readonly db: Database;
  readonly streams: Streams;
  readonly signingKey: SigningKey;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * What rooms and federation need; whoever has a life of its own is put on `closing`. `begin` takes up what the last
 * process left: deliveries to other servers, and events received from them.
 */
export async function openFederation(
  foundation: Foundation,
  closing: AsyncDisposableStack,
): Promise<{ federation: FederationContext; dialer: Dialer; begin: () => void }> {
  const { config, db, streams, signingKey, clock, log } = foundation;
  const { serverName } = config;
  const softwareVersion = await version();
  const partners = await PartnerRegistry.open({ db, clock, settings: await partnerSettings(config) });
  const network = await openNetwork(config, partners);
  const wellKnown = new WellKnown((hostname) => network.fetchDelegation(hostname), clock);
  const delegationOf = (hostname: string) => wellKnown.delegationOf(hostname);
  const resolver = new ServerResolver({ delegationOf, partners: network.partners, clock });
  const backoff = new Backoff({ db, clock });
  const userAgent = `Kurir/${softwareVersion}`;
  const { dialer } = network;
  const client = closing.use(
    new FederationClient({ serverName, signingKey, resolver, dialer, backoff, userAgent }),
  );
  const reportError = (error: unknown) => log.warn({ err: error }, 'looking up a signing key failed');
  const own = { serverName, signingKey };
  const notaries = config.trustedKeyServers.filter((notary) => notary !== serverName);
  const pinned = (server: string) => partners.pinnedKeysOf(server);
  const keyRing = closing.use(
    new KeyRing(remoteKeySource({ client, db, clock, own, notaries, pinned, reportError })),
  );
  const typing = closing.use(new TypingUsers(streams, clock));
  const { presence: mode } = config;
  const presence = closing.use(await Presences.open({ db, streams, clock, log, serverName, mode }));
  const ownPolicy = await openPolicyServer(config);
  const policySigner = new PolicyAsker({ client, clock, serverName, own: ownPolicy });
  const context = {
    ...{ policySigner, ownPolicy, serverName, signingKey, keyRing, db, streams, clock, log },
    ...{ roomLocks: new KeyedQueue(), rooms: createRoomCache() },
    ...{ client, resolver, backoff, typing, presence, network, partners, callers: new Callers(clock) },
    replayOf: (server: string) => partners.profileOf(server).replay,
    federation: {
      version: softwareVersion,
      publicAddress: withPort(config.federationAddress),
      tellsDeviceNames: config.federationDeviceNames,
    },
  };
  const inbound = closing.use(new Stage(context));
  const sender = closing.use(new FederationSender(context));
  const outgoingPresence = closing.use(new OutgoingPresence({ ...context, sender }));
  const deviceListNews = closing.use(new DeviceListNews({ ...context, sender }));
  const deviceListResync = closing.use(new DeviceListResync(context));
  const begin = () => {
    inbound.start();
    sender.start();
    outgoingPresence.start();
    deviceListNews.start();
    deviceListResync.start();
  };
  return { federation: { ...context, inbound, sender }, dialer, begin };
}

/** What connections to other servers are made with, by the configuration and the partners. */
export async function openNetwork(config: Config, registry: PartnerRegistry): Promise<Network> {
  const guard = new AddressGuard({ allowPrivate: config.federationAllowPrivate });
  const dialer = new Dialer({ guard, extraCa: await configuredRoots(config.federationCa) });
  const identityServers = new Set(config.identityServers.map(identityAddress));
  const partners: Outreach = {
    // Whether we can be reached is looked at as others do; identity servers are no servers of the federation.
    mayCall: (server) =>
      server === config.serverName || identityServers.has(server) || registry.mayCall(server),
    caOf: (server) => registry.caOf(server),
  };
  return {
    ...{ guard, dialer, partners },
    // A name that is looked up has no port, so that it is the name of the server, too.
    fetchDelegation: (hostname) => fetchDelegation(dialer, hostname, undefined, registry.caOf(hostname)),
  };
}

/** Some servers take port 443 where none is named. */
function withPort(address: string | undefined): string | undefined {
  const named = address === undefined ? undefined : parseServerName(address);
  return named === undefined || named.port !== undefined ? address : `${address}:${DEFAULT_PORT}`;
}

/** The version in package.json. */
export async function version(): Promise<string> {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  const { version: value } = JSON.parse(text) as { version: string };
  return value;
}

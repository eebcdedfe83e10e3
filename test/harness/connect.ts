/** What talks to other servers, for tests that need no whole server. */

import type { LookupFunction } from 'node:net';
import { Backoff } from '#federation/backoff.ts';
import { FederationClient } from '#federation/client.ts';
import { Callers } from '#federation/doctor/callers.ts';
import { AddressGuard } from '#federation/network/address-guard.ts';
import { Dialer } from '#federation/network/dial.ts';
import type { Network } from '#federation/network/network.ts';
import { type Outreach, ServerResolver } from '#federation/network/resolve.ts';
import { fetchDelegation, WellKnown } from '#federation/network/well-known.ts';
import { remoteKeySource } from '#federation/remote-keys.ts';
import type { ServerName } from '#keys/ids.ts';
import type { KeySource } from '#keys/key-ring.ts';
import type { SigningKey } from '#keys/signing-key.ts';
import type { Database } from '#storage/database.ts';

export interface ConnectOptions {
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly db: Database;
  readonly clock: { now(): number };
  /** Permits loopback, private and other special addresses. */
  readonly allowPrivate: boolean;
  /** PEM certificates that are trusted as roots besides those of the platform. */
  readonly extraCa?: string | undefined;
  readonly notaries?: readonly ServerName[];
  readonly reportError?: (error: unknown) => void;
  /** Stands in for the system's resolver of host names. */
  readonly lookup?: LookupFunction;
  /** Everybody may be called unless given. */
  readonly partners?: Outreach;
}

export interface Connected {
  /** Dispose of it last: the key ring and the sender use it. */
  readonly client: FederationClient;
  readonly resolver: ServerResolver;
  readonly backoff: Backoff;
  readonly dialer: Dialer;
  readonly network: Network;
  readonly callers: Callers;
  /** For `new KeyRing`. */
  readonly keySource: KeySource;
}

/** No allow-list, and the usual authorities for all. */
export const everybody: Outreach = { mayCall: () => true, caOf: () => undefined };

export function connectFederation(options: ConnectOptions): Connected {
  const { serverName, signingKey, db, clock, allowPrivate, extraCa, notaries, reportError, lookup } = options;
  const guard = new AddressGuard({ allowPrivate, ...(lookup !== undefined && { lookup }) });
  const dialer = new Dialer({ guard, extraCa });
  const { partners = everybody } = options;
  const wellKnown = new WellKnown((hostname) => fetchDelegation(dialer, hostname), clock);
  const resolver = new ServerResolver({
    delegationOf: (hostname) => wellKnown.delegationOf(hostname),
    partners,
    clock,
  });
  const backoff = new Backoff({ db, clock });
  const client = new FederationClient({ serverName, signingKey, resolver, dialer, backoff });
  const keySource = remoteKeySource({
    client,
    db,
    clock,
    own: { serverName, signingKey },
    ...(notaries !== undefined && { notaries }),
    ...(reportError !== undefined && { reportError }),
  });
  const network = {
    ...{ guard, dialer, partners },
    fetchDelegation: (hostname: string) => fetchDelegation(dialer, hostname),
  };
  return { client, resolver, backoff, dialer, network, callers: new Callers(clock), keySource };
}

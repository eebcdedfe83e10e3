/**
 * How far one comes on the way to a server, from its name to TLS, step by step. What a running server keeps of earlier
 * answers is not used. Says what was seen, and judges nothing: that is `diagnose.ts`.
 */

import type { ServerName } from '#keys/ids.ts';
import { factsOf, messageOf } from '../client.ts';
import type { CertificateFacts } from '../fault.ts';
import { certificateFactsOf, type DialOptions, type Endpoint } from '../network/dial.ts';
import { machineHasIpv6, type Network } from '../network/network.ts';
import { type Destination, ServerResolver, systemSrv } from '../network/resolve.ts';
import { TimeLimit } from '../network/time-limit.ts';
import type { Delegation } from '../network/well-known.ts';

/** What was seen on the way to a server. */
export interface ReachFacts {
  readonly server: string;
  /** Our time, in milliseconds since 1970. */
  readonly ts: number;
  /** Undefined where the name has a port or is an address: those are not delegated. */
  readonly delegation: Delegation | undefined;
  /** Empty where nothing was looked up. */
  readonly srv: readonly SrvFacts[];
  /** Undefined where it is no server name, or where that could not be looked up in time. */
  readonly destination: Destination | undefined;
  readonly isUnresolved: boolean;
  readonly hosts: readonly HostFacts[];
  /** One for each address that we may connect to. */
  readonly attempts: readonly AttemptFacts[];
  /** Whether this machine can reach others by IPv6. */
  readonly hasIpv6: boolean;
}

export interface SrvFacts {
  readonly name: string;
  readonly targets: readonly Endpoint[];
  /** What the look-up failed with; ENOTFOUND and ENODATA where there is none. */
  readonly code?: string;
}

export interface HostFacts {
  readonly host: string;
  readonly port: number;
  readonly addresses: readonly { readonly address: string; readonly isAllowed: boolean }[];
  /** What the look-up failed with. */
  readonly code?: string;
}

export interface AttemptFacts {
  readonly address: string;
  readonly port: number;
  /** The address accepted a connection, before TLS. */
  readonly isConnected: boolean;
  /** Undefined where TLS was agreed upon. */
  readonly failure?: ConnectionFailure;
  readonly certificate?: CertificateFacts;
}

export interface ConnectionFailure {
  readonly message: string;
  readonly code?: string;
  readonly certificate?: CertificateFacts;
}

/** For a `.well-known` and two SRV records, each of which has a limit of its own. */
const RESOLVE_MS = 30_000;
const LOOKUP_MS = 10_000;
const CONNECT_MS = 8_000;
const MOST_ADDRESSES = 8;

/**
 * The way to `server`, and a resolver that knows it. Does not reject for what the network does; rejects with
 * `NotAPartner` for a server that is not to be called.
 */
export async function reach(
  network: Network,
  server: ServerName,
  { clock, signal }: { readonly clock: { now(): number }; readonly signal: AbortSignal },
): Promise<{ readonly facts: ReachFacts; readonly resolver: ServerResolver }> {
  const { resolver, seen } = watchedResolver(network, clock);
  const { destination, isUnresolved } = await resolved(resolver, server, signal);
  const endpoints = destination === undefined ? [] : [destination, ...destination.fallbacks];
  const hosts = await Promise.all(endpoints.map((endpoint) => lookUp(network, endpoint, signal)));
  const targets = hosts.flatMap(({ addresses, port }) =>
    addresses.filter(({ isAllowed }) => isAllowed).map(({ address }) => ({ host: address, port })),
  );
  const { tlsName = '', ca } = destination ?? {};
  const trust = { tlsName, ...(ca !== undefined && { ca }) };
  const attempts = await Promise.all(
    targets.slice(0, MOST_ADDRESSES).map((target) => attempt(network, { target, trust }, signal)),
  );
  const hasIpv6 = network.hasIpv6 ?? machineHasIpv6();
  const ts = clock.now();
  return { facts: { server, ts, ...seen, destination, isUnresolved, hosts, attempts, hasIpv6 }, resolver };
}

async function resolved(
  resolver: ServerResolver,
  server: ServerName,
  signal: AbortSignal,
): Promise<Pick<ReachFacts, 'destination' | 'isUnresolved'>> {
  using time = new TimeLimit(RESOLVE_MS, [signal]);
  try {
    return { destination: await time.race(resolver.resolve(server)), isUnresolved: false };
  } catch (error) {
    if (!time.signal.aborted) throw error;
    return { destination: undefined, isUnresolved: true };
  }
}

/** True where TLS was agreed upon with one of its addresses. */
export function isReached({ attempts }: ReachFacts): boolean {
  return attempts.some(({ failure }) => failure === undefined);
}

/** Resolves as Kurir always does (`network/resolve.ts`), and keeps what it was told on the way. */
function watchedResolver(network: Network, clock: { now(): number }) {
  const seen: { delegation: Delegation | undefined; srv: SrvFacts[] } = { delegation: undefined, srv: [] };
  const resolveSrv = network.resolveSrv ?? systemSrv();
  let asked: Promise<Delegation> | undefined;
  const resolver = new ServerResolver({
    clock,
    partners: network.partners,
    delegationOf: async (hostname) => {
      // Once: there is one name, and each request of the check comes by here.
      asked ??= network.fetchDelegation(hostname);
      const delegation = await asked;
      seen.delegation = delegation;
      return delegation.kind === 'delegated' ? delegation.server : undefined;
    },
    resolveSrv: async (name) => {
      try {
        const records = await resolveSrv(name);
        seen.srv.push({ name, targets: records.map((record) => ({ host: record.name, port: record.port })) });
        return records;
      } catch (error) {
        seen.srv.push({ name, targets: [], code: factsOf(error).code ?? 'unknown' });
        throw error;
      }
    },
  });
  return { resolver, seen };
}

async function lookUp({ guard }: Network, { host, port }: Endpoint, signal: AbortSignal): Promise<HostFacts> {
  using time = new TimeLimit(LOOKUP_MS, [signal]);
  try {
    return { host, port, addresses: await time.race(guard.addressesOf(host)) };
  } catch (error) {
    return { host, port, addresses: [], code: factsOf(error).code ?? 'EAI_AGAIN' };
  }
}

async function attempt(
  { dialer, connectTimeoutMs = CONNECT_MS }: Network,
  { target, trust }: { readonly target: Endpoint; readonly trust: Pick<DialOptions, 'tlsName' | 'ca'> },
  signal: AbortSignal,
): Promise<AttemptFacts> {
  using time = new TimeLimit(connectTimeoutMs, [signal]);
  const { host: address, port } = target;
  let isConnected = false;
  const onConnected = (): void => {
    isConnected = true;
  };
  try {
    const socket = await dialer.dial({ endpoints: [target], ...trust, signal: time.signal, onConnected });
    const certificate = certificateFactsOf(socket.getPeerCertificate());
    socket.destroy();
    return { address, port, isConnected, ...(certificate !== undefined && { certificate }) };
  } catch (error) {
    const failure = time.signal.aborted
      ? { message: 'no connection in time', code: 'KURIR_TIMEOUT' }
      : { message: messageOf(error), ...factsOf(error) };
    return { address, port, isConnected, failure };
  }
}

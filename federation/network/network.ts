/** What connections to other servers are made with, below names and signatures. */

import type { SrvRecord } from 'node:dns';
import { networkInterfaces } from 'node:os';
import type { AddressGuard } from './address-guard.ts';
import type { Dialer } from './dial.ts';
import type { Outreach } from './resolve.ts';
import type { Delegation } from './well-known.ts';

export interface Network {
  readonly guard: AddressGuard;
  readonly dialer: Dialer;
  /** Whom we may call, and whose certificates count for whom. */
  readonly partners: Outreach;
  /** What a host name delegates to, asked now. */
  fetchDelegation(hostname: string): Promise<Delegation>;
  /** The system's resolver unless given. */
  readonly resolveSrv?: (name: string) => Promise<SrvRecord[]>;
  /** Whether this machine has an IPv6 address to reach others from; by its interfaces unless given. */
  readonly hasIpv6?: boolean;
  /** How long a check waits for a connection, in milliseconds. */
  readonly connectTimeoutMs?: number;
}

const LINK_LOCAL = /^fe[89ab]/i;

/** True where an interface has an IPv6 address besides those of the machine and the link themselves. */
export function machineHasIpv6(): boolean {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .some(({ family, internal, address }) => family === 'IPv6' && !internal && !LINK_LOCAL.test(address));
}

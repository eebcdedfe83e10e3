/**
 * A small internet on loopback, in which a test puts one thing wrong: names with addresses, SRV records, web servers.
 * Loopback counts as public in it. What is examined in it is the real way of Kurir to a server.
 */

import type { SrvRecord } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { Backoff } from '#federation/backoff.ts';
import { type CheckContext, type CheckFacts, checkServer } from '#federation/doctor/check-server.ts';
import { diagnose } from '#federation/doctor/diagnose.ts';
import type { Step, StepName } from '#federation/doctor/step.ts';
import { AddressGuard } from '#federation/network/address-guard.ts';
import { Dialer } from '#federation/network/dial.ts';
import type { Network } from '#federation/network/network.ts';
import { fetchDelegation } from '#federation/network/well-known.ts';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import type { SigningKey } from '#keys/signing-key.ts';
import { RoomCache } from '#rooms/room-cache.ts';
import type { Database } from '#storage/database.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { everybody } from '#test/harness/connect.ts';
import { temporarySqlite } from '#test/harness/databases.ts';
import { freePort } from '#test/harness/free-port.ts';
import {
  keyDocumentOf,
  type Peer,
  type PeerAnswer,
  type PeerOptions,
  startPeer,
} from '#test/harness/peer.ts';

export interface World {
  /** The addresses of host names, or the code that their look-up fails with; others are not found. */
  readonly names?: Readonly<Record<string, readonly string[] | string>>;
  readonly srv?: Readonly<Record<string, readonly SrvRecord[]>>;
  /** The ports at which web servers of host names answer for their port 443. */
  readonly web?: Readonly<Record<string, number>>;
  /** In place of `srv`. */
  readonly resolveSrv?: Network['resolveSrv'] & object;
  /** When the check is given up. */
  readonly stop?: AbortSignal;
  readonly hasIpv6?: boolean;
  readonly connectTimeoutMs?: number;
  /** Our own name; `here.test` unless given. */
  readonly serverName?: string;
  readonly signingKey?: SigningKey;
  /** What is known already. */
  readonly prepare?: (db: Database) => Promise<void>;
  readonly live?: CheckContext['live'];
}

export const authority = await createAuthority();
const closedPort = await freePort();
const ownKey = { keyPair: keyPairFromSeed('ours', generateSeed()), oldKeys: [] };

class LoopbackIsPublic extends AddressGuard {
  override allows(address: string): boolean {
    return address.startsWith('127.') || address === '100::1' || super.allows(address);
  }
}

/** The facts of a check in the world. */
export async function factsIn(world: World, server: string): Promise<CheckFacts> {
  await using opened = await temporarySqlite();
  await world.prepare?.(opened.db);
  const { signingKey = ownKey, serverName = 'here.test', live } = world;
  const backoff = new Backoff({ db: opened.db, clock: Date });
  const ctx = {
    ...{ serverName, signingKey, db: opened.db, clock: Date, rooms: new RoomCache(), backoff },
    ...{ network: networkOf(world), ...(live !== undefined && { live }) },
  };
  return await checkServer(ctx, server, world.stop);
}

/** The steps of a check in the world. */
export async function stepsIn(world: World, server: string): Promise<Step[]> {
  return diagnose(await factsIn(world, server));
}

/** What a step says of the other server; several where it found several things. */
export function of(steps: readonly Step[], name: StepName): Step[] {
  return steps.filter((step) => step.name === name);
}

/** The faults of the other server, by their causes. */
export function faultsOf(steps: readonly Step[]): (string | undefined)[] {
  return steps
    .filter(({ name, state }) => state === 'fault' && name !== 'this server')
    .map(({ fault }) => fault?.cause);
}

/** What a good server of that name answers; `changed` gives other answers by the end of the path. */
export function honest(
  name: string,
  changed: Readonly<Record<string, PeerAnswer>> = {},
): PeerOptions['answer'] {
  return ({ url }, { signingKey }) => {
    const [path = ''] = url.split('?');
    const other = Object.entries(changed).find(([end]) => path.endsWith(end));
    if (other !== undefined) return other[1];
    if (path === '/_matrix/key/v2/server') return { json: keyDocumentOf({ name, signingKey }) };
    if (path.endsWith('/version')) return { json: { server: { name: 'Synapse', version: '1.150.0' } } };
    return refusal(404, 'M_NOT_FOUND');
  };
}

/** A good server at `localhost:PORT`, with a change. */
export function startHonest(
  changed: Readonly<Record<string, PeerAnswer>> = {},
  options: Partial<PeerOptions> = {},
): Promise<Peer> {
  const answer: PeerOptions['answer'] = (request, peer) => honest(peer.name, changed)(request, peer);
  return startPeer({ authority, answer, ...options });
}

export function refusal(status: number, errcode: string, json: JsonObject = {}): PeerAnswer {
  return { status, json: { errcode, error: `refused with ${status}`, ...json } };
}

/** An answer of a web server that knows nothing of Matrix. */
export function html(status = 200): PeerAnswer {
  return (response) => {
    response.writeHead(status, { 'content-type': 'text/html' }).end('<!doctype html><title>Welcome</title>');
  };
}

function networkOf(world: World): Network {
  const { names = {}, srv = {}, web = {}, hasIpv6 = true, connectTimeoutMs } = world;
  const lookup: LookupFunction = (hostname, options, callback) => {
    const found = hostname === 'localhost' ? ['127.0.0.1'] : (names[hostname] ?? 'ENOTFOUND');
    if (typeof found === 'string') {
      callback(Object.assign(new Error(`getaddrinfo ${found} ${hostname}`), { code: found }), []);
      return;
    }
    const addresses = found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    if (options.all) callback(null, addresses);
    else callback(null, addresses[0]?.address ?? '', addresses[0]?.family);
  };
  const guard = new LoopbackIsPublic({ allowPrivate: false, lookup });
  const dialer = new Dialer({ guard, extraCa: authority.cert });
  return {
    ...{ guard, dialer, hasIpv6, partners: everybody },
    fetchDelegation: (hostname) => fetchDelegation(dialer, hostname, web[hostname] ?? closedPort),
    resolveSrv:
      world.resolveSrv ??
      (async (name) => {
        const records = srv[name];
        if (records === undefined) throw Object.assign(new Error(`querySrv ${name}`), { code: 'ENOTFOUND' });
        return [...records];
      }),
    ...(connectTimeoutMs !== undefined && { connectTimeoutMs }),
  };
}

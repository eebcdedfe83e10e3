/**
 * Server name -> where to connect to. The steps are numbered as in the specification:
 * https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
 */

import { promises as dns, type SrvRecord } from 'node:dns';
import { isIpLiteral, parseServerName, type ServerName } from '#keys/ids.ts';
import { Lru } from '#storage/lru.ts';
import type { Endpoint } from './dial.ts';

/** Where and how to reach a server. */
export interface Destination {
  /** A host name, or an IP address without brackets. */
  readonly host: string;
  readonly port: number;
  /** The name, or the IP address without brackets, that the certificate must be for. */
  readonly tlsName: string;
  /** The `Host` header. */
  readonly hostHeader: string;
  /** Where else to connect to if `host` does not answer: an SRV record's other targets. */
  readonly fallbacks: readonly Endpoint[];
  /** PEM certificates of the only authorities that are trusted for it; absent: the usual ones. */
  readonly ca?: string;
}

/** Whom this server may call, and whose certificates count for whom: a `PartnerRegistry`. */
export interface Outreach {
  mayCall(server: ServerName): boolean;
  caOf(server: ServerName): string | undefined;
}

/** The server is no partner, and only partners are called: nothing is looked up. */
export class NotAPartner extends Error {
  override readonly name = 'NotAPartner';
  readonly code = 'KURIR_NOT_A_PARTNER';

  constructor(server: ServerName) {
    super(`${server} is not a partner of this server. Ask your administrator to make it one`);
  }
}

export interface ResolverOptions {
  /** The delegation of a host name, cached; undefined where there is none. */
  readonly delegationOf: (hostname: string) => Promise<ServerName | undefined>;
  readonly partners: Outreach;
  readonly clock: { now(): number };
  /** The records of a name; rejects with the code ENOTFOUND or ENODATA where there are none. */
  readonly resolveSrv?: (name: string) => Promise<SrvRecord[]>;
  readonly random?: () => number;
}

const DEFAULT_PORT = 8448;
const SRV_TTL_MS = 5 * 60_000;
const SRV_ERROR_TTL_MS = 30_000;
const MOST_ENTRIES = 10_000;
const MOST_TARGETS = 8;

export class ServerResolver {
  readonly #delegationOf: (hostname: string) => Promise<ServerName | undefined>;
  readonly #partners: Outreach;
  readonly #clock: { now(): number };
  readonly #resolveSrv: (name: string) => Promise<SrvRecord[]>;
  readonly #random: () => number;
  readonly #srv = new Lru<string, { records: readonly SrvRecord[]; until: number }>({
    maxEntries: MOST_ENTRIES,
  });

  constructor(options: ResolverOptions) {
    this.#delegationOf = options.delegationOf;
    this.#partners = options.partners;
    this.#clock = options.clock;
    this.#resolveSrv = options.resolveSrv ?? systemSrv();
    this.#random = options.random ?? Math.random;
  }

  /**
   * Where to connect to for `server`; undefined where it is not a server name. Every request asks here first, so that
   * this is where servers that are no partners are kept out of reach: it rejects with `NotAPartner`, at once.
   */
  async resolve(server: ServerName): Promise<Destination | undefined> {
    const name = parseServerName(server);
    if (name === undefined) return undefined;
    if (!this.#partners.mayCall(server)) throw new NotAPartner(server);
    const destination = await this.#find(server, name);
    const ca = this.#partners.caOf(server);
    return ca === undefined ? destination : { ...destination, ca };
  }

  async #find(
    server: ServerName,
    name: { readonly host: string; readonly port: number | undefined },
  ): Promise<Destination> {
    // Step 1 (IP literal) and step 2 (explicit port).
    if (isIpLiteral(name.host) || name.port !== undefined) return direct(server, name);
    // Step 3.
    const delegated = await this.#delegationOf(name.host);
    const target = delegated === undefined ? undefined : parseServerName(delegated);
    if (delegated === undefined || target === undefined) return this.#bySrv(name.host);
    // Steps 3.1 and 3.2, then 3.3 to 3.5.
    if (isIpLiteral(target.host) || target.port !== undefined) return direct(delegated, target);
    return this.#bySrv(target.host);
  }

  /** Steps 3.3 to 3.5 for a delegated host name, steps 4 to 6 for the server's own. */
  async #bySrv(hostname: string): Promise<Destination> {
    let records = await this.#records(`_matrix-fed._tcp.${hostname}`);
    if (records.length === 0) records = await this.#records(`_matrix._tcp.${hostname}`);
    const [first = { host: hostname, port: DEFAULT_PORT }, ...fallbacks] = this.#targetsOf(records);
    return { ...first, tlsName: hostname, hostHeader: hostname, fallbacks };
  }

  /** In the order of RFC 2782: by priority, within it at random by weight. */
  #targetsOf(records: readonly SrvRecord[]): Endpoint[] {
    return records
      .map((record) => ({ record, draw: this.#random() ** (1 / Math.max(record.weight, 0.01)) }))
      .sort((a, b) => a.record.priority - b.record.priority || b.draw - a.draw)
      .slice(0, MOST_TARGETS)
      .map(({ record }) => ({ host: record.name, port: record.port }));
  }

  async #records(name: string): Promise<readonly SrvRecord[]> {
    const now = this.#clock.now();
    const known = this.#srv.get(name);
    if (known !== undefined && known.until > now) return known.records;
    const { records, ttlMs } = await this.#lookup(name);
    this.#srv.set(name, { records, until: now + ttlMs });
    return records;
  }

  async #lookup(name: string): Promise<{ records: readonly SrvRecord[]; ttlMs: number }> {
    try {
      const records = await this.#resolveSrv(name);
      // RFC 2782: a target of "." means that the service is decidedly not available.
      return {
        records: records.filter((record) => record.name !== '' && record.name !== '.'),
        ttlMs: SRV_TTL_MS,
      };
    } catch (error) {
      // No DNS failure is final: the next step is safe whatever the reason, since the certificate decides.
      const absent = error instanceof Error && 'code' in error && ABSENT.has(String(error.code));
      return { records: [], ttlMs: absent ? SRV_TTL_MS : SRV_ERROR_TTL_MS };
    }
  }
}

const ABSENT: ReadonlySet<string> = new Set(['ENOTFOUND', 'ENODATA']);

function direct(hostHeader: string, name: { host: string; port: number | undefined }): Destination {
  const host = name.host.replace(/^\[(.*)\]$/, '$1');
  return { host, port: name.port ?? DEFAULT_PORT, tlsName: host, hostHeader, fallbacks: [] };
}

/** The SRV records of a name, by the system's name servers. */
export function systemSrv(): (name: string) => Promise<SrvRecord[]> {
  const resolver = new dns.Resolver({ timeout: 3_000, tries: 2 });
  return (name) => resolver.resolveSrv(name);
}

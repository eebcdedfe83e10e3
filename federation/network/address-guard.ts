/**
 * Which addresses Kurir connects to when a stranger names the host: none of a private, loopback, link-local,
 * multicast or otherwise special network, unless the operator permits it.
 */

import { lookup as systemLookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

const SPECIAL_IPV4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
];

/** An IPv4 address that is written as IPv6 (::ffff:0:0/96) is judged as what it is: `BlockList` does that. */
const SPECIAL_IPV6 = [
  '::/128',
  '::1/128',
  '64:ff9b:1::/48',
  '2001::/32',
  '2001:db8::/32',
  '2002::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
];

/** What `AddressGuard.lookup` fails with, and the connection after it. */
export class AddressDenied extends Error {
  override readonly name = 'AddressDenied';
  readonly code = 'KURIR_ADDRESS_DENIED';
}

export class AddressGuard {
  readonly #allowPrivate: boolean;
  readonly #resolve: LookupFunction;
  readonly #special = new BlockList();

  /** `lookup` stands in for the system's resolver. */
  constructor(options: { readonly allowPrivate: boolean; readonly lookup?: LookupFunction }) {
    this.#allowPrivate = options.allowPrivate;
    this.#resolve = options.lookup ?? systemLookup;
    for (const subnet of SPECIAL_IPV4) addSubnet(this.#special, subnet, 'ipv4');
    for (const subnet of SPECIAL_IPV6) addSubnet(this.#special, subnet, 'ipv6');
  }

  /** True where Kurir may connect to the IP address (no brackets); false for what is no address. */
  allows(address: string): boolean {
    const [bare = ''] = address.split('%', 1);
    switch (isIP(bare)) {
      case 4:
        return this.#allowPrivate || !this.#special.check(bare, 'ipv4');
      case 6: {
        if (this.#allowPrivate) return true;
        const translated = nat64Target(bare);
        if (translated !== undefined) return this.allows(translated);
        return !this.#special.check(bare, 'ipv6');
      }
      default:
        return false;
    }
  }

  /** All addresses of a host name or an IP address (no brackets), allowed or not. Rejects as the resolver does. */
  addressesOf(hostname: string): Promise<{ readonly address: string; readonly isAllowed: boolean }[]> {
    if (isIP(hostname) !== 0) {
      return Promise.resolve([{ address: hostname, isAllowed: this.allows(hostname) }]);
    }
    return new Promise((resolve, reject) => {
      this.#resolve(hostname, { all: true }, (error, found) => {
        if (error) {
          reject(error);
          return;
        }
        const addresses = typeof found === 'string' ? [found] : found.map(({ address }) => address);
        resolve(addresses.map((address) => ({ address, isAllowed: this.allows(address) })));
      });
    });
  }

  /** For `net.connect`: resolves a name to those of its addresses that are allowed; fails where none is. */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    this.#resolve(hostname, { ...options, all: true }, (error, found) => {
      if (error) {
        callback(error, []);
        return;
      }
      const addresses = typeof found === 'string' ? [{ address: found, family: isIP(found) }] : found;
      const allowed = addresses.filter(({ address }) => this.allows(address));
      const [first] = allowed;
      if (first === undefined) callback(new AddressDenied(`${hostname} has no address that is allowed`), []);
      else if (options.all) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

function addSubnet(list: BlockList, subnet: string, family: 'ipv4' | 'ipv6'): void {
  const [network = '', prefix] = subnet.split('/');
  list.addSubnet(network, Number(prefix), family);
}

/** The IPv4 address behind a NAT64 address (64:ff9b::/96), which networks without IPv4 use for every public host. */
function nat64Target(address: string): string | undefined {
  const groups = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const match = /^64:ff9b::(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,4})?$/.exec(groups);
  if (match === null) return undefined;
  const [high, low] = [match[1] ?? '0', match[2] ?? '0'].map((group) => Number.parseInt(group, 16));
  if (high === undefined || low === undefined) return undefined;
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

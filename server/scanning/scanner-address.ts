/** Where a scanner for malware is, as an operator writes it. */

import type { ValueKind } from '../config/config-types.ts';

export type ScannerAddress =
  | { readonly protocol: 'clamd'; readonly path: string }
  | { readonly protocol: 'clamd'; readonly host: string; readonly port: number }
  | {
      readonly protocol: 'icap' | 'icaps';
      readonly host: string;
      readonly port: number;
      /** With the slash that it begins with. */
      readonly service: string;
    };

const PORTS = { clamd: 3310, icap: 1344, icaps: 11_344 } as const;
const SOCKET = /^clamd:(\/[^/\0][^\0]*)$/;
const REMOTE =
  /^(clamd|icap|icaps):\/\/(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?(\/[\x21-\x7e]*)?$/;

export const scannerKind: ValueKind<ScannerAddress> = {
  expects:
    'an address such as clamd:/run/clamav/clamd.ctl, clamd://127.0.0.1:3310, icap://av.example.org/avscan or icaps://av.example.org/avscan',
  parse: (value) => (typeof value === 'string' ? addressOf(value) : undefined),
  format: (address) => {
    if ('path' in address) return `clamd:${address.path}`;
    const { protocol, host, port } = address;
    const service = address.protocol === 'clamd' ? '' : address.service;
    return `${protocol}://${hostText(host)}:${port}${service}`;
  },
};

/** A host as addresses write it. */
export function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function addressOf(text: string): ScannerAddress | undefined {
  const path = SOCKET.exec(text)?.[1];
  if (path !== undefined) return { protocol: 'clamd', path };
  const [, scheme, ip6, name, digits, service] = REMOTE.exec(text) ?? [];
  const protocol = scheme === 'clamd' || scheme === 'icap' || scheme === 'icaps' ? scheme : undefined;
  const host = ip6 ?? name;
  if (protocol === undefined || host === undefined) return undefined;
  const port = digits === undefined ? PORTS[protocol] : Number(digits);
  if (port < 1 || port > 65_535) return undefined;
  if (protocol !== 'clamd') return { protocol, host, port, service: service ?? '/' };
  return service === undefined || service === '/' ? { protocol, host, port } : undefined;
}

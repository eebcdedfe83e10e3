/** A partner: a server, or all servers under a suffix, that the operator has an agreement with. */

import { isEd25519KeyId, publicKeyFrom } from '#keys/ed25519.ts';
import { isServerName, type KeyId, type ServerName } from '#keys/ids.ts';
import type { ProfileName } from './profiles.ts';

export const DIRECTIONS = ['both', 'inbound', 'outbound'] as const;
/** Who may call whom, where only partners may: `inbound`, they may call us; `outbound`, we may call them. */
export type Direction = (typeof DIRECTIONS)[number];

export interface Partner {
  /** A server name (`example.org`), or a suffix (`*.example.org`) that stands for all names which end in it. */
  readonly name: string;
  readonly direction: Direction;
  /** Undefined where it is left to us to find out. */
  readonly profile: ProfileName | undefined;
  /** The only signing keys that are accepted of it, unpadded Base64 by id; empty: those that it publishes. */
  readonly keys: ReadonlyMap<KeyId, string>;
  /** PEM certificates of the only authorities that are trusted for it; undefined: the usual ones. */
  readonly ca: string | undefined;
  readonly note: string;
  /** Partners of the configuration file are changed there and nowhere else. */
  readonly source: 'configuration' | 'command';
}

/** As many pinned keys, and characters of a note, as anybody needs. */
export const MOST_KEYS = 10;
export const LONGEST_NOTE = 500;
/** Of the certificates of one partner. */
export const MAX_CA_BYTES = 32 * 1024;

/** A partner of whom the operator's command says nothing but the name (see `partnerName`). */
export function newPartner(name: string): Partner {
  return {
    name,
    direction: 'both',
    profile: undefined,
    keys: new Map(),
    ca: undefined,
    note: '',
    source: 'command',
  };
}

/** The name as it is kept, in lower case; undefined for what names neither a server nor a suffix. */
export function partnerName(text: string): string | undefined {
  const name = text.trim().toLowerCase();
  const suffix = name.startsWith('*.') ? name.slice(2) : undefined;
  if (suffix === undefined) return isServerName(name) ? name : undefined;
  return suffix !== '' && !suffix.startsWith('[') && isServerName(suffix) ? name : undefined;
}

/** True where a partner's name (see `partnerName`) stands for the server. Host names have no case. */
export function standsFor(name: string, server: ServerName): boolean {
  const lower = server.toLowerCase();
  return name.startsWith('*.')
    ? lower.endsWith(name.slice(1)) && lower.length >= name.length
    : lower === name;
}

/** `ed25519:ID=BASE64` as an entry of `Partner.keys`; undefined for what is none. */
export function pinnedKey(text: string): readonly [KeyId, string] | undefined {
  const [, keyId = '', base64 = ''] = /^([^=]+)=([A-Za-z0-9+/]+)=*$/.exec(text.trim()) ?? [];
  return isEd25519KeyId(keyId) && publicKeyFrom(base64) !== undefined ? [keyId, base64] : undefined;
}

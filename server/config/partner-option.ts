/** The option `partners`: how partners stand in the configuration, and what they are there. */

import { readFile } from 'node:fs/promises';
import {
  DIRECTIONS,
  LONGEST_NOTE,
  MOST_KEYS,
  type Partner,
  partnerName,
  pinnedKey,
} from '#federation/partners/partner.ts';
import { isProfileName, PROFILE_NAMES } from '#federation/partners/profiles.ts';
import { MOST_PARTNERS, type PartnerSettings } from '#federation/partners/registry.ts';
import { type KeyId, parseServerName, type ServerName } from '#keys/ids.ts';
import { faultOfCertificates } from '../tls/partner-certificates.ts';
import { ConfigError } from './config-file.ts';
import type { ValueKind } from './config-types.ts';

/** A partner of the configuration file. */
export interface ConfiguredPartner extends Omit<Partner, 'ca' | 'source'> {
  /** The path of a PEM file. */
  readonly ca: string | undefined;
}

const MEMBERS = ['name', 'direction', 'profile', 'keys', 'ca', 'note'];

export const partnersKind: ValueKind<readonly ConfiguredPartner[]> = {
  expects: 'a list of server names such as example.org or *.example.org, or of mappings with a name',
  parse: (value) => {
    const items = typeof value === 'string' ? value.split(',') : value;
    if (!Array.isArray(items) || items.length > MOST_PARTNERS) return undefined;
    const partners: ConfiguredPartner[] = [];
    for (const item of items) {
      const partner = partnerOf(item);
      if (partner === undefined) return undefined;
      partners.push(partner);
    }
    const names = partners.map(({ name }) => name);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) throw new ConfigError(`partners: ${twice} is there twice: remove one`);
    return partners;
  },
  format: (partners) => partners.map(formatOf).join(', '),
};

/**
 * The partners of the configuration, with the certificates that they name.
 *
 * @throws ConfigError if a file cannot be read or holds no certificate
 */
export async function partnerSettings(config: {
  readonly federationInbound: PartnerSettings['inbound'];
  readonly federationOutbound: PartnerSettings['outbound'];
  readonly partners: readonly ConfiguredPartner[];
}): Promise<PartnerSettings> {
  const configured = await Promise.all(config.partners.map(withCertificates));
  return { inbound: config.federationInbound, outbound: config.federationOutbound, configured };
}

/** What an operator should know about these partners, one line each. */
export function partnerWarnings(config: {
  readonly serverName: ServerName;
  readonly partners: readonly ConfiguredPartner[];
}): string[] {
  const own = portWarning(config.serverName);
  const others = config.partners.filter(({ profile }) => profile === 'rocketchat');
  const named = others.map(({ name }) => portWarning(name)).filter((line) => line !== undefined);
  return others.length > 0 && own !== undefined ? [own, ...named] : named;
}

/** What to say of a name with a port, where Rocket.Chat has to do with it. */
export function portWarning(name: string): string | undefined {
  if (parseServerName(name)?.port === undefined) return undefined;
  return `Rocket.Chat cannot federate by ${name}: it takes what follows the last colon for the name. Use names without ports.`;
}

async function withCertificates(partner: ConfiguredPartner): Promise<Partner> {
  const { ca: path, ...rest } = partner;
  if (path === undefined) return Object.freeze({ ...rest, ca: undefined, source: 'configuration' });
  const ca = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new ConfigError(`partners: ${path} cannot be read (${cause.code}): check the path and its rights`, {
      cause,
    });
  });
  const fault = faultOfCertificates(ca);
  if (fault !== undefined) throw new ConfigError(`partners: ${path} ${fault}`);
  return Object.freeze({ ...rest, ca, source: 'configuration' });
}

/** @throws ConfigError that names what is wrong in a mapping */
function partnerOf(item: unknown): ConfiguredPartner | undefined {
  const given: ReadonlyMap<unknown, unknown> | undefined =
    typeof item === 'string' ? new Map([['name', item]]) : item instanceof Map ? item : undefined;
  if (given === undefined) return undefined;
  const text = (member: string): string | undefined => {
    const value = given.get(member);
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'string' && value.trim() !== '') return value.trim();
    throw new ConfigError(`partners: ${member} of ${String(given.get('name'))} is no text`);
  };
  const name = partnerName(text('name') ?? '');
  if (name === undefined) return undefined;
  const unknown = [...given.keys()].find((member) => !MEMBERS.includes(String(member)));
  if (unknown !== undefined) {
    throw new ConfigError(
      `partners: ${name} has the unknown member ${String(unknown)}: use ${MEMBERS.join(', ')}`,
    );
  }
  const direction = text('direction') ?? 'both';
  const profile = text('profile');
  const known = DIRECTIONS.find((each) => each === direction);
  if (known === undefined) throw wrong(name, 'direction', DIRECTIONS);
  if (profile !== undefined && !isProfileName(profile)) throw wrong(name, 'profile', PROFILE_NAMES);
  const note = (text('note') ?? '').slice(0, LONGEST_NOTE);
  return { name, direction: known, profile, keys: keysOf(name, given.get('keys')), ca: text('ca'), note };
}

function keysOf(name: string, value: unknown): ReadonlyMap<KeyId, string> {
  if (value === undefined || value === null) return new Map();
  const entries =
    value instanceof Map ? [...value].map(([id, key]) => pinnedKey(`${id}=${key}`)) : [undefined];
  const keys = entries.filter((entry) => entry !== undefined);
  if (keys.length === entries.length && keys.length <= MOST_KEYS) return new Map(keys);
  throw new ConfigError(
    `partners: keys of ${name} must map ids (ed25519:...) to keys in Base64, ${MOST_KEYS} at most`,
  );
}

function wrong(name: string, member: string, choices: readonly string[]): ConfigError {
  return new ConfigError(`partners: ${member} of ${name} must be one of ${choices.join(', ')}`);
}

function formatOf({ name, direction, profile, keys, ca }: ConfiguredPartner): string {
  const notes = [
    direction === 'both' ? '' : direction,
    profile ?? '',
    keys.size === 0 ? '' : 'pinned keys',
    ca === undefined ? '' : 'pinned authority',
  ].filter((note) => note !== '');
  return notes.length === 0 ? name : `${name} (${notes.join(', ')})`;
}

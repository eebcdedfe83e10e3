/** The option `ldap`: a directory by which people sign in with their password there. */

import { ConfigError } from '../config/config-file.ts';
import { durationOrOffKind, flagKind, textKind, type ValueKind } from '../config/config-types.ts';
import { type Mapping, mappingMembers } from './oidc-option.ts';
import { fromJson, Members, mappingOf, type Secret } from './option-reader.ts';

export interface LdapOption extends Mapping {
  /** `ldaps://` or `ldap://`, in the order in which they are tried. */
  readonly urls: readonly string[];
  /** Whether an `ldap://` connection is encrypted by StartTLS. */
  readonly startTls: boolean;
  /** The path of a PEM file. */
  readonly ca: string | undefined;
  /** Who searches; nobody in particular unless given. */
  readonly bindDn: string | undefined;
  readonly bindPassword: Secret | undefined;
  /** Where people are. */
  readonly base: string;
  /** Which entries are people who may sign in. */
  readonly filter: string;
  /** What people call themselves when they sign in. */
  readonly nameAttribute: string;
  /** What never changes of a person, and is given to nobody else. */
  readonly idAttribute: string;
  /** The name of a person's entry, with `{name}`; searched for unless given. */
  readonly dnTemplate: string | undefined;
  /** Where groups are, if people's entries do not name them. */
  readonly groupBase: string | undefined;
  /** With `{dn}` for a person's entry. */
  readonly groupFilter: string;
  /** How often it is asked whether people may still sign in, in milliseconds; 0: never. */
  readonly checkEvery: number;
}

const DEFAULT_CHECK_MS = 30_000;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
const MOST_URLS = 10;
const DEFAULTS = {
  localpart: '{uid}',
  displayName: '{cn}',
  email: '{mail}',
  // A directory is the organisation's own.
  trustsEmail: true,
  groups: 'memberOf',
};

const urlsKind: ValueKind<readonly string[]> = {
  expects: 'an address such as ldaps://ldap.example.org, or a list of them',
  parse: (value) => {
    const urls = typeof value === 'string' ? value.split(',').map((url) => url.trim()) : value;
    if (!Array.isArray(urls) || urls.length === 0 || urls.length > MOST_URLS) return undefined;
    return urls.every(isLdapUrl) ? urls : undefined;
  },
  format: (value) => value.join(','),
};

const attributeKind: ValueKind<string> = {
  expects: 'the name of an attribute such as uid',
  parse: (value) => (typeof value === 'string' && /^[A-Za-z][\w-]{0,63}$/.test(value) ? value : undefined),
  format: (value) => value,
};

const filterKind: ValueKind<string> = {
  expects: 'a filter such as (objectClass=inetOrgPerson)',
  parse: (value) => (typeof value === 'string' && /^\(.*\)$/s.test(value) ? value : undefined),
  format: (value) => value,
};

export const ldapKind: ValueKind<LdapOption> = {
  expects: 'a mapping with url and base; in the environment as JSON',
  parse: (value) => {
    const given = mappingOf(fromJson(value));
    return given === undefined ? undefined : optionOf(new Members('ldap', given));
  },
  format: ({ urls, base }) => `${urls.join(',')} (${base})`,
};

function optionOf(members: Members): LdapOption {
  const text = textKind('a text');
  const idAttribute = members.optional('id_attribute', attributeKind) ?? 'entryUUID';
  const nameAttribute = members.optional('name_attribute', attributeKind) ?? 'uid';
  const option: LdapOption = {
    urls: members.required('url', urlsKind),
    startTls: members.optional('starttls', flagKind) ?? true,
    ca: members.optional('ca', textKind('the path of a PEM file')),
    bindDn: members.optional('bind_dn', text),
    bindPassword: members.secret('bind_password', text),
    base: members.required('base', text),
    filter: members.optional('filter', filterKind) ?? '(objectClass=person)',
    nameAttribute,
    idAttribute,
    dnTemplate: members.optional('dn_template', text),
    groupBase: members.optional('group_base', text),
    groupFilter: members.optional('group_filter', filterKind) ?? '(member={dn})',
    checkEvery: members.optional('check_every', durationOrOffKind) ?? DEFAULT_CHECK_MS,
    ...mappingMembers(members, { ...DEFAULTS, localpart: `{${nameAttribute}}` }),
  };
  members.refuseOthers();
  refuseWrong(option, members);
  return option;
}

/** @throws ConfigError */
function refuseWrong(option: LdapOption, members: Members): void {
  const { urls, startTls, bindDn, bindPassword, dnTemplate } = option;
  if ((bindDn === undefined) !== (bindPassword === undefined)) {
    throw members.wrong('bind_dn and bind_password belong together: give both, or none');
  }
  if (dnTemplate !== undefined && !dnTemplate.includes('{name}')) {
    throw members.wrong('dn_template has no {name} in it');
  }
  const plain = urls.find((url) => url.startsWith('ldap:') && !LOOPBACK.test(new URL(url).hostname));
  if (plain !== undefined && !startTls) {
    throw new ConfigError(`ldap: ${plain} without starttls would send passwords in the clear: use ldaps://`);
  }
}

function isLdapUrl(value: unknown): value is string {
  if (typeof value !== 'string' || !/^ldaps?:\/\/[^/]+\/?$/.test(value) || !URL.canParse(value)) return false;
  return new URL(value).username === '';
}

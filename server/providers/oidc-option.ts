/** The option `oidc_providers`: identity providers by which people sign in. */

import { ConfigError } from '../config/config-file.ts';
import {
  baseUrlKind,
  choiceKind,
  durationKind,
  flagKind,
  listKind,
  textKind,
  type ValueKind,
} from '../config/config-types.ts';
import { isClaimPath, isTemplate } from './claims.ts';
import { fromJson, Members, mappingOf, type Secret } from './option-reader.ts';

export const clientAuthMethods = [
  'client_secret_basic',
  'client_secret_post',
  'private_key_jwt',
  'none',
] as const;
const updates = ['first', 'always'] as const;

/** What people's accounts are made of, whoever says it. */
export interface Mapping {
  /** Templates over what the provider says, such as `{preferred_username}`. */
  readonly localpart: string;
  readonly displayName: string;
  readonly email: string;
  /** True where addresses count as confirmed though the provider does not say `email_verified`. */
  readonly trustsEmail: boolean;
  /** When the display name and the e-mail address are taken over. */
  readonly update: (typeof updates)[number];
  /** False where only those sign in who have an account already, linked by the operator. */
  readonly createsAccounts: boolean;
  /** The path of what the directory that keeps users by SCIM has as their `externalId`. */
  readonly scimExternalId?: string | undefined;
  /** The path of the groups. */
  readonly groups: string;
  /** Only who is in one of them may sign in; with none, everybody. */
  readonly allowGroups: readonly string[];
  readonly refuseGroups: readonly string[];
  /** Who is in one of them is an administrator, who is not is none; with none, nothing changes. */
  readonly adminGroups: readonly string[];
}

/** A provider of the configuration file. */
export interface OidcOption extends Mapping {
  readonly id: string;
  readonly label: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: Secret | undefined;
  readonly clientAuth: (typeof clientAuthMethods)[number];
  /** The path of a PEM file. */
  readonly clientKeyFile: string | undefined;
  readonly scopes: readonly string[];
  readonly brand: string | undefined;
  /** An `mxc://` address. */
  readonly icon: string | undefined;
  /** The path of a PEM file. */
  readonly ca: string | undefined;
  /** The claims that together are the permanent id of a person at this issuer. */
  readonly subjectClaims: readonly string[];
  /** Hosts besides the issuer's that may be asked, wherever they are. */
  readonly hosts: readonly string[];
  /** Whether what the ID token says is completed by what the userinfo endpoint says. */
  readonly userinfo: boolean;
  /** How often it is asked whether a person still has a session there, in milliseconds. */
  readonly checkEvery: number | undefined;
}

const MOST_PROVIDERS = 50;
const ID = /^[a-z0-9][a-z0-9_.-]{0,63}$/;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

const idKind: ValueKind<string> = {
  expects: 'a short name of letters a-z, digits and . _ -',
  parse: (value) => (typeof value === 'string' && ID.test(value) ? value : undefined),
  format: (value) => value,
};

const issuerKind: ValueKind<string> = {
  expects: 'an https address such as https://login.example.org/realms/staff',
  parse: (value) => {
    if (baseUrlKind.parse(value) === undefined) return undefined;
    const { protocol, hostname } = new URL(String(value));
    // "The Issuer Identifier ... MUST be a URL using the https scheme": but for trying out on one machine.
    return protocol === 'https:' || LOOPBACK.test(hostname) ? String(value) : undefined;
  },
  format: (value) => value,
};

const mxcKind: ValueKind<string> = {
  expects: 'the address of an uploaded image such as mxc://example.org/abc',
  parse: (value) =>
    typeof value === 'string' && /^mxc:\/\/[^/\s]+\/[\w-]+$/.test(value) ? value : undefined,
  format: (value) => value,
};

const templateKind: ValueKind<string> = {
  expects: 'a template such as {preferred_username}',
  parse: (value) => (typeof value === 'string' && isTemplate(value) ? value : undefined),
  format: (value) => value,
};

const pathKind: ValueKind<string> = {
  expects: 'the name of a claim, or a path such as realm_access.roles',
  parse: (value) => (typeof value === 'string' && isClaimPath(value) ? value : undefined),
  format: (value) => value,
};

export const oidcProvidersKind: ValueKind<readonly OidcOption[]> = {
  expects: 'a list of mappings with id, issuer and client_id; in the environment as JSON',
  parse: (value) => {
    const items = fromJson(value);
    if (!Array.isArray(items) || items.length > MOST_PROVIDERS) return undefined;
    const providers = items.map(providerOf);
    const ids = providers.map(({ id }) => id);
    const twice = ids.find((id, index) => ids.indexOf(id) !== index);
    if (twice !== undefined) throw new ConfigError(`oidc_providers: ${twice} is there twice: remove one`);
    return providers;
  },
  format: (providers) => providers.map(({ id, issuer }) => `${id} (${issuer})`).join(', '),
};

/** The members of a mapping that say what accounts are made of. */
export function mappingMembers(
  members: Members,
  defaults: Pick<Mapping, 'localpart' | 'displayName' | 'email' | 'trustsEmail' | 'groups'>,
): Mapping {
  const names = listKind('a list of names of groups');
  return {
    localpart: members.optional('localpart', templateKind) ?? defaults.localpart,
    displayName: members.optional('display_name', templateKind) ?? defaults.displayName,
    email: members.optional('email', templateKind) ?? defaults.email,
    trustsEmail: members.optional('trust_email', flagKind) ?? defaults.trustsEmail,
    update: members.optional('update', choiceKind(updates)) ?? 'first',
    createsAccounts: members.optional('create_accounts', flagKind) ?? true,
    scimExternalId: members.optional('scim_external_id', pathKind),
    groups: members.optional('groups', pathKind) ?? defaults.groups,
    allowGroups: members.optional('allow_groups', names) ?? [],
    refuseGroups: members.optional('refuse_groups', names) ?? [],
    adminGroups: members.optional('admin_groups', names) ?? [],
  };
}

const DEFAULTS = {
  localpart: '{preferred_username}',
  displayName: '{name}',
  email: '{email}',
  trustsEmail: false,
  groups: 'groups',
};

function providerOf(item: unknown): OidcOption {
  const given = mappingOf(item);
  if (given === undefined) throw new ConfigError('oidc_providers: each must be a mapping with id and issuer');
  const id = new Members('oidc_providers', given).required('id', idKind);
  const members = new Members(`oidc_providers: ${id}`, given);
  const text = textKind('a text');
  const clientSecret = members.secret('client_secret', text);
  const clientKeyFile = members.optional('client_key_file', textKind('the path of a PEM file'));
  const assumed = clientKeyFile !== undefined ? 'private_key_jwt' : 'client_secret_basic';
  const provider: OidcOption = {
    id: members.required('id', idKind),
    label: members.optional('label', text) ?? id,
    issuer: members.required('issuer', issuerKind),
    clientId: members.required('client_id', text),
    clientSecret,
    clientAuth:
      members.optional('client_auth', choiceKind(clientAuthMethods)) ??
      (clientSecret === undefined && clientKeyFile === undefined ? 'none' : assumed),
    clientKeyFile,
    scopes: members.optional('scopes', listKind('a list of scopes')) ?? ['openid', 'profile', 'email'],
    brand: members.optional('brand', idKind),
    icon: members.optional('icon', mxcKind),
    ca: members.optional('ca', textKind('the path of a PEM file')),
    subjectClaims: members.optional('subject_claims', listKind('a list of claims', isClaimPath)) ?? ['sub'],
    hosts: members.optional('hosts', listKind('a list of host names')) ?? [],
    userinfo: members.optional('userinfo', flagKind) ?? true,
    checkEvery: members.optional('check_every', durationKind),
    ...mappingMembers(members, DEFAULTS),
  };
  members.refuseOthers();
  refuseHalves(provider, members);
  return provider;
}

function refuseHalves(provider: OidcOption, members: Members): void {
  const { clientAuth, clientSecret, clientKeyFile, scopes } = provider;
  if (clientAuth.startsWith('client_secret') && clientSecret === undefined) {
    throw members.wrong(`client_auth ${clientAuth} needs client_secret or client_secret_file`);
  }
  if (clientAuth === 'private_key_jwt' && clientKeyFile === undefined) {
    throw members.wrong('client_auth private_key_jwt needs client_key_file');
  }
  if (!scopes.includes('openid')) throw members.wrong('scopes must have openid');
}

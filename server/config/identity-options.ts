/** The options about identity servers, and about terms for who has an account. Part of the table of `config-options.ts`. */

import { isServerName, type ServerName } from '#keys/ids.ts';
import type { PolicyText } from '../consent/terms.ts';
import { ConfigError } from './config-file.ts';
import { flagKind, listKind, type Option, type ValueKind } from './config-types.ts';

export interface IdentityConfig {
  /** Those that may be asked for the sake of a user. */
  readonly identityServers: readonly ServerName[];
  readonly termsEnforced: boolean;
  readonly termsReminder: boolean;
}

const serverNames = listKind('names such as vector.im, or id.example.org:8443', isServerName);

const identityServersKind: ValueKind<readonly ServerName[]> = {
  ...serverNames,
  parse: (value) => serverNames.parse(value)?.filter(isServerName),
};

export const identityOptions: {
  readonly [Name in keyof IdentityConfig]: Option<IdentityConfig[Name]>;
} = {
  identityServers: {
    key: 'identity_servers',
    kind: identityServersKind,
    default: [],
    describes:
      'Identity servers that users may have this server ask: to invite people by e-mail address, and to let others ' +
      'find them by theirs. An identity server learns the addresses, who invites, and the name of the room. With none, ' +
      'no identity server is asked for anything. In the environment several are divided by commas.',
  },
  termsEnforced: {
    key: 'terms_enforced',
    kind: flagKind,
    default: false,
    describes:
      'Whether who has an account already must accept the policies of `terms` too, and again each time that the ' +
      'version of one changes. Until then people read, but do not write; their client shows them the page on which ' +
      'they accept. Administrators, guests and application services are spared. Needs `public_baseurl`.',
  },
  termsReminder: {
    key: 'terms_reminder',
    kind: flagKind,
    default: false,
    describes:
      'Sends each user who has not accepted the policies a notice with the address of that page, once for each ' +
      'version. Needs `terms` and `public_baseurl`; works without `terms_enforced` too.',
  },
};

export function identityConfig(required: <T>(option: Option<T>) => T): IdentityConfig {
  return {
    identityServers: required(identityOptions.identityServers),
    termsEnforced: required(identityOptions.termsEnforced),
    termsReminder: required(identityOptions.termsReminder),
  };
}

/** @throws ConfigError for options that need another one */
export function refuseHalfTerms(
  config: IdentityConfig & {
    readonly terms: readonly PolicyText[];
    readonly publicBaseurl: string | undefined;
  },
): void {
  const option = config.termsEnforced ? 'terms_enforced' : 'terms_reminder';
  if (!config.termsEnforced && !config.termsReminder) return;
  if (config.terms.length === 0)
    throw new ConfigError(`${option} is on without terms: there is nothing to accept`);
  if (config.publicBaseurl === undefined) {
    throw new ConfigError(`${option} is on without public_baseurl: the address of the page begins with it`);
  }
}

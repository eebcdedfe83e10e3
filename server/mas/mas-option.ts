/** The option `mas`: a Matrix Authentication Service that signs people in, in place of this server. */

import { ConfigError } from '../config/config-file.ts';
import { baseUrlKind, textKind, type ValueKind } from '../config/config-types.ts';
import type { Config } from '../config-options.ts';
import { fromJson, Members, mappingOf, type Secret } from '../providers/option-reader.ts';

export interface MasOption {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** What it and this server know each other by. */
  readonly secret: Secret;
  /** The path of a PEM file. */
  readonly ca: string | undefined;
}

export const masKind: ValueKind<MasOption> = {
  expects: 'a mapping with endpoint and secret; in the environment as JSON',
  parse: (value) => {
    const given = mappingOf(fromJson(value));
    if (given === undefined) return undefined;
    const members = new Members('mas', given);
    const endpoint = members.required('endpoint', baseUrlKind);
    const secret = members.secret('secret', textKind('a text'));
    const ca = members.optional('ca', textKind('the path of a PEM file'));
    members.refuseOthers();
    if (secret === undefined) throw members.wrong('secret is missing: give it, or secret_file');
    return { endpoint, secret, ca };
  },
  format: ({ endpoint }) => endpoint,
};

/**
 * The options where such a service signs people in: this server does not then, in any way.
 *
 * @throws ConfigError for options that would have it do so
 */
export function withDelegatedLogin(config: Config): Config {
  if (config.mas === undefined) return config;
  if (config.oidcProviders.length > 0 || config.ldap !== undefined) {
    throw new ConfigError('mas signs people in: give oidc_providers and ldap to it, and remove them here');
  }
  return {
    ...config,
    ...{ oauth: false, legacyLogin: false, passwordLogin: false, guestAccess: false, registration: 'closed' },
  };
}

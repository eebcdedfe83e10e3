/** The options of signing in by others: identity providers, a directory, an authentication service. */

import { ConfigError } from '../config/config-file.ts';
import { flagKind, listKind, type Option } from '../config/config-types.ts';
import { type MasOption, masKind } from '../mas/mas-option.ts';
import { type LdapOption, ldapKind } from './ldap-option.ts';
import { type OidcOption, oidcProvidersKind } from './oidc-option.ts';

export interface SignInConfig {
  readonly passwordLogin: boolean;
  readonly oidcProviders: readonly OidcOption[];
  readonly ldap: LdapOption | undefined;
  readonly mas: MasOption | undefined;
  /** Beginnings of addresses of clients to which people are sent without being asked. */
  readonly ssoTrustedClients: readonly string[];
}

export const signInOptions: {
  readonly [Name in keyof SignInConfig]: Option<NonNullable<SignInConfig[Name]>>;
} = {
  passwordLogin: {
    key: 'password_login',
    kind: flagKind,
    default: true,
    describes:
      'Whether people sign in by user name and password. Where it is off and there is one identity provider, they are ' +
      'led to it at once.',
  },
  oidcProviders: {
    key: 'oidc_providers',
    kind: oidcProvidersKind,
    default: [],
    describes:
      'Identity providers of OpenID Connect by which people sign in, such as Keycloak and Entra ID. Needs ' +
      '`public_baseurl`. The members of each, and what to set up at the provider, are in [Sign-in](sign-in.md).',
  },
  ldap: {
    key: 'ldap',
    kind: ldapKind,
    default: undefined,
    describes:
      'A directory (OpenLDAP, Active Directory) by which people sign in with their password there. Its members are in ' +
      '[Sign-in](sign-in.md).',
  },
  mas: {
    key: 'mas',
    kind: masKind,
    default: undefined,
    describes:
      'A Matrix Authentication Service that signs people in. This server then does not: it has no `/login`, no OAuth and ' +
      'no registration of its own. What to set up is in [Sign-in](sign-in.md).',
  },
  ssoTrustedClients: {
    key: 'sso_trusted_clients',
    kind: listKind('addresses such as https://chat.example.org/', isClientAddress),
    default: [],
    describes:
      'Clients that people are signed in to without being asked, where they come by `m.login.sso`: each an address ' +
      'that the address of the client begins with. In the environment several are divided by commas.',
  },
};

/** The values of these options. */
export function signInConfig(
  read: <T>(option: Option<T>) => T | undefined,
  required: <T>(option: Option<T>) => T,
): SignInConfig {
  return {
    passwordLogin: required(signInOptions.passwordLogin),
    oidcProviders: required(signInOptions.oidcProviders),
    ldap: read(signInOptions.ldap),
    mas: read(signInOptions.mas),
    ssoTrustedClients: required(signInOptions.ssoTrustedClients),
  };
}

/** @throws ConfigError for options that need another one */
export function refuseHalfSignIn(
  config: SignInConfig & { readonly publicBaseurl: string | undefined },
): void {
  if (config.oidcProviders.length > 0 && config.publicBaseurl === undefined) {
    throw new ConfigError(
      'oidc_providers is given without public_baseurl: providers send people back to an address that begins with it',
    );
  }
}

/** With a path: `https://chat.example.org` would also be the beginning of `https://chat.example.org.evil`. */
function isClientAddress(text: string): boolean {
  return /^https?:\/\/[^/?#@\\]+\/|^[a-z][a-z0-9+.-]*:\/.+/i.test(text) && URL.canParse(text);
}

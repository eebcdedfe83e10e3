/** The options about accounts: guests, tokens, passwords, terms, e-mail and TURN. Part of the table of `config-options.ts`. */

import { type PolicyText, termsKind } from '../consent/terms.ts';
import { canonicalEmail } from '../email/address.ts';
import { ConfigError } from './config-file.ts';
import {
  choiceKind,
  durationKind,
  flagKind,
  integerKind,
  type ListenAddress,
  listenKind,
  listKind,
  type Option,
  textKind,
  type ValueKind,
} from './config-types.ts';

const emailPolicies = ['off', 'optional', 'required'] as const;
const securities = ['starttls', 'tls', 'none'] as const;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const DOMAIN = /^[a-z0-9.-]+$/i;
const TURN_URI = /^(turns?|stuns?):[A-Za-z0-9.:[\]-]+(\?transport=(udp|tcp))?$/;

export interface AccountConfig {
  readonly oauth: boolean;
  readonly legacyLogin: boolean;
  readonly guestAccess: boolean;
  /** In milliseconds. */
  readonly accessTokenLifetime: number;
  readonly refreshTokenLifetime: number | undefined;
  readonly passwordMinLength: number;
  readonly terms: readonly PolicyText[];
  readonly registrationEmail: (typeof emailPolicies)[number];
  readonly emailDomains: readonly string[];
  /** Where letters are handed in; without it there are none. */
  readonly smtpServer: ListenAddress | undefined;
  readonly smtpSecurity: (typeof securities)[number];
  /** Paths of PEM files. */
  readonly smtpCa: readonly string[];
  readonly smtpUser: string | undefined;
  readonly smtpPassword: string | undefined;
  readonly smtpFrom: string | undefined;
  readonly nextLinkDomains: readonly string[];
  readonly turnUris: readonly string[];
  readonly turnSecret: string | undefined;
  /** In milliseconds. */
  readonly turnLifetime: number;
}

/** `address`, or `name <address>`. */
const senderKind: ValueKind<string> = {
  expects: 'an e-mail address such as matrix@example.org, or Matrix <matrix@example.org>',
  parse: (value) => {
    const [, address] = /^[^<>\r\n"]*<([^<>]+)>$/.exec(String(value)) ?? [undefined, String(value)];
    return address !== undefined && canonicalEmail(address) !== undefined ? String(value) : undefined;
  },
  format: (value) => value,
};

const smtpServerKind: ValueKind<ListenAddress> = {
  ...listenKind,
  expects: 'host:port, such as mail.example.org:587',
};

export const accountOptions: {
  readonly [Name in keyof AccountConfig]: Option<NonNullable<AccountConfig[Name]>>;
} = {
  oauth: {
    key: 'oauth',
    kind: flagKind,
    default: true,
    describes:
      'Lets clients sign users in by OAuth 2.0: in the browser, on pages of this server. Element X asks for it. Needs ' +
      '`public_baseurl` with https; without that it is off.',
  },
  legacyLogin: {
    key: 'legacy_login',
    kind: flagKind,
    default: true,
    describes:
      'Lets clients sign users in by `/login` and `/register` too, where the client asks for the password itself. ' +
      'Programs that know no OAuth 2.0 need it. Switched off, who is signed in stays so.',
  },
  guestAccess: {
    key: 'guest_access',
    kind: flagKind,
    default: false,
    describes:
      'Lets anybody use this server without an account, as a guest: guests see and join the rooms that allow it.',
  },
  accessTokenLifetime: {
    key: 'access_token_lifetime',
    kind: durationKind,
    default: HOUR_MS,
    describes:
      'For how long a client that can refresh its access token may use it. Other clients get one that stays good ' +
      'until they sign out.',
  },
  refreshTokenLifetime: {
    key: 'refresh_token_lifetime',
    kind: durationKind,
    default: undefined,
    describes:
      'After how long without use such a client must sign in again. Without it a device stays signed in until it is ' +
      'signed out.',
  },
  passwordMinLength: {
    key: 'password_min_length',
    kind: integerKind(1, 512),
    default: 8,
    describes:
      'The fewest characters of a password that users choose. What the operator and `registration_secret` set is not ' +
      'measured.',
  },
  terms: {
    key: 'terms',
    kind: termsKind,
    default: [],
    describes:
      'Policies that people must accept when they register: for each language an item of an id, a version, the ' +
      'language, the address of the text, and its name. The versions that a user accepted are kept. In the ' +
      'environment several are divided by commas.',
  },
  registrationEmail: {
    key: 'registration_email',
    kind: choiceKind(emailPolicies),
    default: 'optional',
    describes:
      'Whether people who register confirm an e-mail address, by which they can set a new password later: never ' +
      '(`off`), if they like (`optional`), or always (`required`). Only where `smtp_server` is set. With `required` ' +
      'people register in a client, not on the page of this server.',
  },
  emailDomains: {
    key: 'email_domains',
    kind: listKind('domains such as example.org', (text) => DOMAIN.test(text)),
    default: [],
    describes:
      'The only domains that e-mail addresses of users may be of, each exactly as it is; with none, any. In the ' +
      'environment several are divided by commas.',
  },
  smtpServer: {
    key: 'smtp_server',
    kind: smtpServerKind,
    default: undefined,
    describes:
      'The mail server that takes the letters of this server: people then can add e-mail addresses to their accounts, ' +
      'and set a new password where they forgot theirs. Needs `smtp_from` and `public_baseurl`.',
  },
  smtpSecurity: {
    key: 'smtp_security',
    kind: choiceKind(securities),
    default: 'starttls',
    describes:
      'How the mail server is spoken to: by STARTTLS, by TLS from the first byte, or in the clear (`none`, for one on ' +
      'the same machine). Without encryption nothing is sent where it is asked for.',
  },
  smtpCa: {
    key: 'smtp_ca',
    kind: listKind('the path of a PEM file, or several'),
    default: [],
    describes:
      'Certificates of authorities that are trusted for the mail server, besides the ones that Node trusts. In the ' +
      'environment several paths are divided by commas.',
  },
  smtpUser: {
    key: 'smtp_user',
    kind: textKind('the name of a user'),
    default: undefined,
    describes: 'The name that the mail server knows this server by, if it asks for one.',
  },
  smtpPassword: {
    key: 'smtp_password',
    kind: textKind('a password'),
    default: undefined,
    describes: 'The password of `smtp_user`.',
    secret: true,
  },
  smtpFrom: {
    key: 'smtp_from',
    kind: senderKind,
    default: undefined,
    describes: 'The sender of the letters.',
  },
  nextLinkDomains: {
    key: 'next_link_domains',
    kind: listKind('host names such as app.example.org', (text) => DOMAIN.test(text)),
    default: [],
    describes:
      'Hosts that people may be sent on to once they have confirmed an e-mail address, where their client asks for it ' +
      '(`next_link`). Other links are ignored, so that nobody is led elsewhere by a letter of this server. In the ' +
      'environment several are divided by commas.',
  },
  turnUris: {
    key: 'turn_uris',
    kind: listKind('TURN URIs such as turns:turn.example.org?transport=tcp', (text) => TURN_URI.test(text)),
    default: [],
    describes:
      'TURN servers for calls, told to users by `/voip/turnServer`. In the environment several are divided by commas.',
  },
  turnSecret: {
    key: 'turn_secret',
    kind: textKind('the secret of the TURN servers'),
    default: undefined,
    describes:
      'The secret that this server shares with the TURN servers (`static-auth-secret` of coturn), by which each user ' +
      'gets credentials for a time.',
    secret: true,
  },
  turnLifetime: {
    key: 'turn_lifetime',
    kind: durationKind,
    default: DAY_MS,
    describes: 'For how long such credentials are good.',
  },
};

/** The values of these options. */
export function accountConfig(
  read: <T>(option: Option<T>) => T | undefined,
  required: <T>(option: Option<T>) => T,
): AccountConfig {
  const { smtpServer, smtpUser, smtpPassword, smtpFrom, turnSecret } = accountOptions;
  return {
    oauth: required(accountOptions.oauth),
    legacyLogin: required(accountOptions.legacyLogin),
    guestAccess: required(accountOptions.guestAccess),
    accessTokenLifetime: required(accountOptions.accessTokenLifetime),
    refreshTokenLifetime: read(accountOptions.refreshTokenLifetime),
    passwordMinLength: required(accountOptions.passwordMinLength),
    terms: required(accountOptions.terms),
    registrationEmail: required(accountOptions.registrationEmail),
    emailDomains: required(accountOptions.emailDomains),
    smtpServer: read(smtpServer),
    smtpSecurity: required(accountOptions.smtpSecurity),
    smtpCa: required(accountOptions.smtpCa),
    smtpUser: read(smtpUser),
    smtpPassword: read(smtpPassword),
    smtpFrom: read(smtpFrom),
    nextLinkDomains: required(accountOptions.nextLinkDomains),
    turnUris: required(accountOptions.turnUris),
    turnSecret: read(turnSecret),
    turnLifetime: required(accountOptions.turnLifetime),
  };
}

/** @throws ConfigError where nobody could sign in */
export function refuseNoLogin(config: AccountConfig & { readonly publicBaseurl: string | undefined }): void {
  const isHttps = config.publicBaseurl?.startsWith('https:') ?? false;
  if (!config.legacyLogin && !(config.oauth && isHttps)) {
    throw new ConfigError(
      'legacy_login is off without oauth, or without a public_baseurl with https: nobody could sign in',
    );
  }
}

/** @throws ConfigError for options that need another one */
export function refuseHalfMail(config: AccountConfig & { readonly publicBaseurl: string | undefined }): void {
  const { smtpServer, smtpFrom, smtpUser, smtpPassword, publicBaseurl, turnUris, turnSecret } = config;
  if (smtpServer !== undefined && smtpFrom === undefined) {
    throw new ConfigError('smtp_server is given without smtp_from: give the sender of the letters');
  }
  if (smtpServer !== undefined && publicBaseurl === undefined) {
    throw new ConfigError('smtp_server is given without public_baseurl: the links in letters begin with it');
  }
  if ((smtpUser === undefined) !== (smtpPassword === undefined)) {
    throw new ConfigError('smtp_user and smtp_password belong together: give both, or none');
  }
  if (smtpServer === undefined && config.registrationEmail === 'required') {
    throw new ConfigError('registration_email is "required" without smtp_server: nobody could confirm one');
  }
  if (turnUris.length > 0 !== (turnSecret !== undefined)) {
    throw new ConfigError('turn_uris and turn_secret belong together: give both, or none');
  }
}

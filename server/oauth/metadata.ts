/** Where clients find what of OAuth 2.0: https://spec.matrix.org/v1.19/client-server-api/#server-metadata-discovery */

import type { JsonObject } from '#keys/json.ts';
import type { Config } from '../config-options.ts';

export const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

/** The ways to tokens that this server knows. */
export const grantTypes = ['authorization_code', 'refresh_token', DEVICE_GRANT] as const;
export type GrantType = (typeof grantTypes)[number];

export const responseModes = ['query', 'fragment'] as const;
export type ResponseMode = (typeof responseModes)[number];

export const paths = {
  authorize: '/oauth2/authorize',
  token: '/oauth2/token',
  register: '/oauth2/register',
  revoke: '/oauth2/revoke',
  deviceAuthorization: '/oauth2/device_authorization',
  device: '/oauth2/device',
  account: '/account',
} as const;

const ACTIONS = [
  'org.matrix.profile',
  'org.matrix.devices_list',
  'org.matrix.device_view',
  'org.matrix.device_delete',
  'org.matrix.account_deactivate',
  'org.matrix.cross_signing_reset',
];

type OAuthConfig = Pick<Config, 'oauth' | 'publicBaseurl'>;

/** "a URL that uses the `https` scheme"; in the clear only on the machine itself, for trying out. */
const ISSUER = /^(https:\/\/|http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$)/i;

/** The issuer identifier; undefined where there is no OAuth: it is off, or this server has no address for it. */
export function issuerOf({ oauth, publicBaseurl }: OAuthConfig): string | undefined {
  if (!oauth || publicBaseurl === undefined || !ISSUER.test(publicBaseurl)) return undefined;
  return `${publicBaseurl}/`;
}

/** The account page, for one thing that is to be done there where `action` says so. */
export function accountUrl(issuer: string, action?: string): string {
  const query = action === undefined ? '' : `?${new URLSearchParams({ action })}`;
  return `${urlOf(issuer, paths.account)}${query}`;
}

export function urlOf(issuer: string, path: string): string {
  return `${issuer}${path.slice(1)}`;
}

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1auth_metadata */
export function authMetadata(config: OAuthConfig & Pick<Config, 'registration'>, issuer: string): JsonObject {
  const account = { uri: accountUrl(issuer), actions: ACTIONS };
  return {
    issuer,
    authorization_endpoint: urlOf(issuer, paths.authorize),
    token_endpoint: urlOf(issuer, paths.token),
    registration_endpoint: urlOf(issuer, paths.register),
    revocation_endpoint: urlOf(issuer, paths.revoke),
    device_authorization_endpoint: urlOf(issuer, paths.deviceAuthorization),
    response_types_supported: ['code'],
    response_modes_supported: [...responseModes],
    grant_types_supported: [...grantTypes],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['none'],
    revocation_endpoint_auth_methods_supported: ['none'],
    scopes_supported: ['urn:matrix:client:api:*', 'urn:matrix:org.matrix.msc2967.client:api:*'],
    authorization_response_iss_parameter_supported: true,
    request_parameter_supported: false,
    request_uri_parameter_supported: false,
    ...(config.registration !== 'closed' && { prompt_values_supported: ['create'] }),
    account_management_uri: account.uri,
    account_management_actions_supported: account.actions,
    // By their names of before Matrix 1.18 (MSC4191).
    'org.matrix.msc4191.account_management_uri': account.uri,
    'org.matrix.msc4191.account_management_actions_supported': account.actions,
  };
}

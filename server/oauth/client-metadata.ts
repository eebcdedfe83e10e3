/** What clients say of themselves: https://spec.matrix.org/v1.19/client-server-api/#client-metadata */

import { isStringArray, type JsonObject, own } from '#keys/json.ts';
import { OAuthError } from './errors.ts';
import { type GrantType, grantTypes } from './metadata.ts';
import {
  type ApplicationType,
  applicationTypes,
  faultOfRedirectUri,
  httpsUrl,
  isWithin,
} from './redirect-uri.ts';

/** The metadata as they are registered: nothing else is kept. */
export interface ClientMetadata {
  readonly client_uri: string;
  readonly client_name?: string;
  readonly logo_uri?: string;
  readonly tos_uri?: string;
  readonly policy_uri?: string;
  readonly redirect_uris: readonly string[];
  readonly response_types: readonly string[];
  readonly grant_types: readonly GrantType[];
  readonly token_endpoint_auth_method: 'none';
  readonly application_type: ApplicationType;
}

const MOST_URIS = 20;
const MAX_NAME = 100;
/** All that is kept of a client, as JSON. */
const MAX_METADATA = 4_096;
const LINKS = ['logo_uri', 'tos_uri', 'policy_uri'] as const;
/** Signs that would turn or hide what stands beside a name. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** @throws OAuthError for what cannot be registered */
export function parseMetadata(body: JsonObject): ClientMetadata {
  const clientUri = text(body, 'client_uri');
  if (clientUri === undefined) throw invalid('client_uri is missing');
  const url = httpsUrl(clientUri);
  if (url === undefined) throw invalid('client_uri must be an https URL without user and password');
  // What everybody may have a name under is nobody's.
  if (!/^[^.].*\.[^.\d][^.]*$/.test(url.hostname)) throw invalid('client_uri must have the name of a host');
  const type = applicationType(body);
  const name = text(body, 'client_name')?.replaceAll(UNSEEN, '').trim().slice(0, MAX_NAME).toWellFormed();
  const metadata: ClientMetadata = {
    client_uri: clientUri,
    ...(name !== undefined && name !== '' && { client_name: name }),
    ...linksOf(body, url.hostname),
    redirect_uris: redirectUris(body, { host: url.hostname, type }),
    response_types: responseTypes(body),
    grant_types: grants(body),
    token_endpoint_auth_method: authMethod(body),
    application_type: type,
  };
  const usesCodes = metadata.grant_types.includes('authorization_code');
  if (usesCodes && metadata.redirect_uris.length === 0) {
    throw new OAuthError(
      'invalid_redirect_uri',
      'redirect_uris: at least one is needed for authorization_code',
    );
  }
  if (usesCodes && !metadata.response_types.includes('code')) {
    throw invalid('response_types must have code for authorization_code');
  }
  if (Buffer.byteLength(JSON.stringify(metadata)) > MAX_METADATA) throw invalid('The metadata are too large');
  return metadata;
}

function text(body: JsonObject, key: string): string | undefined {
  const value = own(body, key);
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw invalid(`${key} must be a string`);
  return value;
}

function texts(body: JsonObject, key: string): readonly string[] | undefined {
  const value = own(body, key);
  if (value === undefined || value === null) return undefined;
  if (!isStringArray(value)) throw invalid(`${key} must be a list of strings`);
  return value;
}

function linksOf(body: JsonObject, host: string): Pick<ClientMetadata, (typeof LINKS)[number]> {
  const links = LINKS.flatMap((key) => {
    const value = text(body, key);
    if (value === undefined) return [];
    const url = httpsUrl(value);
    if (url === undefined || !isWithin(url.hostname, host)) {
      throw invalid(`${key} must be an https URL on the host of client_uri`);
    }
    return [[key, value]];
  });
  return Object.fromEntries(links);
}

function redirectUris(
  body: JsonObject,
  client: { readonly host: string; readonly type: ApplicationType },
): readonly string[] {
  const value = own(body, 'redirect_uris') ?? [];
  if (!isStringArray(value))
    throw new OAuthError('invalid_redirect_uri', 'redirect_uris must be a list of strings');
  const uris = [...new Set(value)];
  if (uris.length > MOST_URIS) throw new OAuthError('invalid_redirect_uri', 'redirect_uris: too many');
  for (const [at, uri] of uris.entries()) {
    const fault = faultOfRedirectUri(uri, client);
    if (fault !== undefined)
      throw new OAuthError('invalid_redirect_uri', `redirect_uris: number ${at + 1} ${fault}`);
  }
  return uris;
}

/** "The server MUST ignore values that it does not understand." */
function responseTypes(body: JsonObject): readonly string[] {
  return (texts(body, 'response_types') ?? ['code']).includes('code') ? ['code'] : [];
}

function grants(body: JsonObject): readonly GrantType[] {
  const asked = texts(body, 'grant_types') ?? ['authorization_code', 'refresh_token'];
  const known = grantTypes.filter((type) => asked.includes(type));
  if (known.length === 0) throw invalid('grant_types has none that this server knows');
  return known;
}

function authMethod(body: JsonObject): 'none' {
  const method = text(body, 'token_endpoint_auth_method') ?? 'none';
  if (method !== 'none')
    throw invalid('token_endpoint_auth_method must be none: there are no secrets of clients');
  return method;
}

function applicationType(body: JsonObject): ApplicationType {
  const asked = text(body, 'application_type') ?? 'web';
  const type = applicationTypes.find((known) => known === asked);
  if (type === undefined) throw invalid('application_type must be web or native');
  return type;
}

function invalid(description: string): OAuthError {
  return new OAuthError('invalid_client_metadata', description);
}

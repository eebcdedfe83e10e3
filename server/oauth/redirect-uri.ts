/** https://spec.matrix.org/v1.19/client-server-api/#redirect-uri-validation */

import type { ResponseMode } from './metadata.ts';

const MAX_URI = 1_024;
/** Characters of RFC 3986. What a browser would read in another way, such as `\`, is in none. */
const URI = /^[a-z][a-z0-9+.-]*:[\w.~:/?#[\]@!$&'()*+,;=%-]*$/i;
const LOOPBACK = /^http:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?=[/?]|$)/;
const LOOPBACK_WITH_PORT = /^(http:\/\/(?:localhost|127\.0\.0\.1|\[::1\])):\d{1,5}(?=[/?]|$)/;
/** Parameters of answers: a URI that has one would make two of it. */
const OURS = ['code', 'state', 'iss', 'error', 'error_description', 'error_uri'];

export const applicationTypes = ['web', 'native'] as const;
export type ApplicationType = (typeof applicationTypes)[number];

/** A URL with https, without user and password. */
export function httpsUrl(text: string): URL | undefined {
  if (text.length > MAX_URI || !URI.test(text) || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isPlain = url.username === '' && url.password === '' && !/^https:\/\/[^/?#]*@/i.test(text);
  return url.protocol === 'https:' && isPlain ? url : undefined;
}

/** "either on the same host or on a subdomain of the host of the `client_uri`" */
export function isWithin(host: string, base: string): boolean {
  return host === base || host.endsWith(`.${base}`);
}

/** Why a client may not register a redirect URI, or nothing. */
export function faultOfRedirectUri(
  uri: string,
  client: { readonly host: string; readonly type: ApplicationType },
): string | undefined {
  if (uri.length > MAX_URI || !URI.test(uri) || !URL.canParse(uri)) return 'is no URI';
  if (uri.includes('#')) return 'has a fragment';
  const url = new URL(uri);
  if (OURS.some((name) => url.searchParams.has(name))) return 'has a parameter that the answer has';
  if (url.protocol === 'https:') {
    const https = httpsUrl(uri);
    if (https === undefined) return 'has a user or a password';
    return isWithin(https.hostname, client.host) ? undefined : 'is not on the host of client_uri';
  }
  if (client.type === 'web') return 'must use https';
  if (url.protocol === 'http:') {
    return LOOPBACK.test(uri) ? undefined : 'is not on the loopback interface, or has a port';
  }
  const scheme = url.protocol.slice(0, -1);
  const reversed = client.host.split('.').reverse().join('.');
  // "The scheme MUST be prefixed with the client URI hostname in reverse-DNS notation."
  if (scheme !== reversed && !scheme.startsWith(`${reversed}.`))
    return 'does not begin with client_uri reversed';
  return /^[^:]+:\/\//.test(uri) ? 'has an authority' : undefined;
}

/** True for one of those that were registered, to the letter: but "accept any port number" on the loopback interface. */
export function isRegistered(uri: string, registered: readonly string[]): boolean {
  if (registered.includes(uri)) return true;
  const withoutPort = uri.length <= MAX_URI && URI.test(uri) ? uri.replace(LOOPBACK_WITH_PORT, '$1') : uri;
  return withoutPort !== uri && URL.canParse(uri) && registered.includes(withoutPort);
}

/** The redirect URI with an answer in it. */
export function withAnswer(
  uri: string,
  mode: ResponseMode,
  answer: Readonly<Record<string, string>>,
): string {
  const parameters = new URLSearchParams(answer).toString();
  if (mode === 'fragment') return `${uri}#${parameters}`;
  if (!uri.includes('?')) return `${uri}?${parameters}`;
  return uri.endsWith('?') || uri.endsWith('&') ? `${uri}${parameters}` : `${uri}&${parameters}`;
}

/** The host or the program that a redirect URI leads to, for people to see. */
export function targetOf(uri: string): string {
  const url = new URL(uri);
  return url.host === '' ? url.protocol : url.host;
}

/** What a content security policy calls it. */
export function policySourceOf(uri: string): string {
  const { protocol, hostname, origin } = new URL(uri);
  // A policy cannot name an IPv6 address.
  return protocol === 'https:' || (protocol === 'http:' && !hostname.startsWith('[')) ? origin : protocol;
}

/** Which identity servers are asked for a user, and what of their answers the user's client is told. */

import type { FederationFailure } from '#federation/client.ts';
import {
  identityRefused,
  invalidParam,
  limitExceeded,
  type MatrixError,
  serverNotTrusted,
  unreachable,
} from '#federation/errors.ts';
import type { Address, IdentityAccess } from '#federation/remote/identity.ts';
import { isServerName, type ServerName } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { requiredString } from '../body.ts';
import type { Config } from '../config-options.ts';
import { canonicalEmail } from '../email/address.ts';

type Allowing = { readonly config: Pick<Config, 'identityServers'> };

/** What a header can hold, and no more of it than a token needs. */
const ACCESS_TOKEN = /^[\x21-\x7e]{1,1024}$/;
/** https://spec.matrix.org/v1.19/appendices/#phone-numbers */
const PHONE_NUMBER = /^[1-9]\d{4,14}$/;
const ERRCODE = /^[A-Z][A-Z0-9_.]{0,99}$/;
/** What a client takes for the end of its session here. */
const ABOUT_OUR_TOKEN: ReadonlySet<string> = new Set([
  'M_UNKNOWN_TOKEN',
  'M_MISSING_TOKEN',
  'M_USER_LOCKED',
  'M_USER_SUSPENDED',
  'M_USER_DEACTIVATED',
]);
const LONGEST_REASON = 500;
const DEFAULT_RETRY_MS = 5_000;

/** The identity server that `id_server` and `id_access_token` of a body name; throws where it is not one to be asked. */
export function identityAccess(ctx: Allowing, body: JsonObject): IdentityAccess {
  const idServer = allowedServer(ctx, requiredString(body, 'id_server'));
  const accessToken = requiredString(body, 'id_access_token');
  if (!ACCESS_TOKEN.test(accessToken)) throw invalidParam('id_access_token is no access token');
  if (idServer === undefined) throw serverNotTrusted('This server does not ask that identity server');
  return { idServer, accessToken };
}

/** The identity server of this name, if the operator allows it. */
export function allowedServer({ config }: Allowing, name: string): ServerName | undefined {
  if (!isServerName(name)) throw invalidParam('id_server is not the name of a server');
  return config.identityServers.find((known) => known.toLowerCase() === name.toLowerCase());
}

/** The `medium` and `address` of a body, in canonical form. */
export function addressIn(body: JsonObject): Address {
  const medium = requiredString(body, 'medium');
  const given = requiredString(body, 'address');
  if (medium !== 'email' && medium !== 'msisdn') throw invalidParam('medium is neither "email" nor "msisdn"');
  const address = canonicalAddress(medium, given);
  if (address === undefined) {
    const kind = medium === 'email' ? 'an e-mail address' : 'a phone number';
    throw invalidParam(`address is not ${kind}`);
  }
  return { medium, address };
}

/** As identity servers have it; undefined for what is none. */
export function canonicalAddress(medium: string, address: string): string | undefined {
  if (medium === 'email') return canonicalEmail(address);
  return medium === 'msisdn' && PHONE_NUMBER.test(address) ? address : undefined;
}

/**
 * What a client is told of an identity server's refusal: its words, such as `M_TERMS_NOT_SIGNED`. Never with a status
 * or a code by which the client would take its own session for ended: the token that was refused is the other one.
 */
export function identityFailure(failure: FederationFailure): MatrixError {
  const { reason, status = 0, errcode, message, retryAfterMs } = failure;
  if (reason !== 'refused') return unreachable('The identity server does not answer as it should');
  if (status === 429) return limitExceeded(retryAfterMs ?? DEFAULT_RETRY_MS);
  if (status >= 500 || errcode === undefined || !ERRCODE.test(errcode)) {
    return unreachable(`The identity server answered with status ${status}`);
  }
  const shown = ABOUT_OUR_TOKEN.has(errcode) ? 'M_UNAUTHORIZED' : errcode;
  const text = `The identity server refused this: ${message.slice(0, LONGEST_REASON)}`;
  return identityRefused(status === 400 || status === 404 ? status : 403, shown, text);
}

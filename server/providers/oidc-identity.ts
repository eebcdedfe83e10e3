/** Who somebody is, as an identity provider says it, and why it does not. */

import type { JsonObject } from '#keys/json.ts';
import { isObject, isStringArray, own, stringAt } from '#keys/json.ts';
import { subjectOf } from './claims.ts';
import type { OidcOption } from './oidc-option.ts';
import { ProviderFault } from './provider-fault.ts';

/** Somebody at whoever vouches for them. */
export interface Identity {
  /** The name here of who vouches. */
  readonly provider: string;
  readonly issuer: string;
  /** The permanent id of the person there. */
  readonly subject: string;
  readonly sub: string;
  readonly sid: string | undefined;
  readonly claims: JsonObject;
  readonly refreshToken: string | undefined;
  readonly hasSecondFactor: boolean;
  /** In seconds since 1970, where it is said. */
  readonly authTime: number | undefined;
}

const LONGEST_SID = 1_000;

/** @throws ProviderFault where the claims do not say who it is */
export function identityOf(
  { id, issuer, subjectClaims }: Pick<OidcOption, 'id' | 'issuer' | 'subjectClaims'>,
  parts: { readonly said: object; readonly more: object; readonly refreshToken: string | undefined },
): Identity {
  // What is signed goes before what is only fetched.
  const claims: unknown = JSON.parse(JSON.stringify({ ...parts.more, ...parts.said }));
  if (!isObject(claims)) throw new ProviderFault('invalid', 'the ID token has no claims');
  const subject = subjectOf(claims, subjectClaims);
  const sub = stringAt(claims, 'sub');
  if (subject === undefined || sub === undefined) {
    throw new ProviderFault('invalid', `the ID token has no ${subjectClaims.join(' and ')}`);
  }
  const sid = stringAt(claims, 'sid');
  const amr = own(claims, 'amr');
  const authTime = own(claims, 'auth_time');
  return {
    provider: id,
    issuer,
    subject,
    sub,
    sid: sid === '' || (sid?.length ?? 0) > LONGEST_SID ? undefined : sid,
    claims,
    refreshToken: parts.refreshToken,
    // "mfa: Multiple-factor authentication" (RFC 8176)
    hasSecondFactor: isStringArray(amr) && amr.includes('mfa'),
    authTime: typeof authTime === 'number' ? authTime : undefined,
  };
}

/** What an error of openid-client or jose means for the person who signs in. Never has tokens or secrets in it. */
export function faultOf(error: unknown): ProviderFault {
  if (error instanceof ProviderFault) return error;
  if (!(error instanceof Error)) return new ProviderFault('unreachable', 'the provider failed', error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const said = 'error' in error && typeof error.error === 'string' ? `: ${error.error.slice(0, 100)}` : '';
  if (code === 'OAUTH_AUTHORIZATION_RESPONSE_ERROR') {
    const isTransient = / ?(temporarily_unavailable|server_error)$/.test(said);
    return new ProviderFault(isTransient ? 'unreachable' : 'refused', `the provider answers${said}`, error);
  }
  if (code === 'OAUTH_RESPONSE_BODY_ERROR') {
    const isTransient = 'status' in error && Number(error.status) >= 500;
    return new ProviderFault(isTransient ? 'unreachable' : 'invalid', `the provider answers${said}`, error);
  }
  if (
    /^(OAUTH_RESPONSE_IS_NOT|OAUTH_RESPONSE_IS_NOT_CONFORM|OAUTH_RESPONSE_IS_NOT_JSON|OAUTH_TIMEOUT|OAUTH_ABORT)/.test(
      code,
    )
  ) {
    return new ProviderFault('unreachable', `${error.message} (${code})`, error);
  }
  if (/^(OAUTH_|ERR_J)/.test(code)) return new ProviderFault('invalid', `${error.message} (${code})`, error);
  return new ProviderFault('unreachable', reasonOf(error), error);
}

/** The innermost reason: "fetch failed" says nothing. */
function reasonOf(error: Error): string {
  let reason: Error = error;
  for (let depth = 0; depth < 5 && reason.cause instanceof Error; depth += 1) reason = reason.cause;
  const code = 'code' in reason && typeof reason.code === 'string' ? ` (${reason.code})` : '';
  return `${reason.message}${code}`;
}

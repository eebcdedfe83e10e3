/** Errors of OAuth 2.0, as JSON. Where a client may go on is told by redirects: see `redirect-uri.ts`. */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import type { JsonObject } from '#keys/json.ts';

export type OAuthErrorCode =
  // RFC 6749, 4.1.2.1 and 5.2
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'temporarily_unavailable'
  // RFC 8628, 3.5
  | 'authorization_pending'
  | 'slow_down'
  | 'access_denied'
  | 'expired_token'
  // RFC 7591, 3.2.2
  | 'invalid_redirect_uri'
  | 'invalid_client_metadata';

/** `{error, error_description}` with 400, or with the status that the error has. */
export class OAuthError extends MatrixError {
  readonly code: OAuthErrorCode;

  constructor(code: OAuthErrorCode, description: string, headers: Readonly<Record<string, string>> = {}) {
    super(statusOf(code), 'M_UNKNOWN', description, { headers });
    this.code = code;
  }

  override get body(): JsonObject {
    return { error: this.code, error_description: this.message };
  }
}

/** Another refusal, by the same members: such as 429, 413 or what is no JSON. */
class OtherRefusal extends MatrixError {
  readonly #code: OAuthErrorCode;

  constructor(refusal: MatrixError, code: OAuthErrorCode) {
    const { status, errcode, message, extras, headers } = refusal;
    super(status, errcode, message, { extras, headers, cause: refusal });
    this.#code = code;
  }

  override get body(): JsonObject {
    const { error, ...rest } = super.body;
    return { error: this.#code, error_description: error ?? this.message, ...rest };
  }
}

/** Makes what routes refuse an error of OAuth; `invalid` is the one for what is wrong of itself. */
export function answerAsOAuth(app: FastifyInstance, invalid: OAuthErrorCode): void {
  const { errorHandler } = app;
  app.setErrorHandler((error, request, reply) => {
    const isOther = error instanceof MatrixError && !(error instanceof OAuthError) && error.status !== 404;
    reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' });
    if (!isOther) return errorHandler(error, request, reply);
    const code = error.status === 429 ? 'temporarily_unavailable' : invalid;
    return errorHandler(new OtherRefusal(error, code), request, reply);
  });
}

/** "If the client attempted to authenticate via the "Authorization" request header field" it is told by which scheme. */
export function refuseSecret(request: FastifyRequest): void {
  if (request.headers.authorization === undefined) return;
  const headers = { 'www-authenticate': 'Basic realm="oauth2"' };
  throw new OAuthError('invalid_client', 'Clients of this server have no secrets', headers);
}

function statusOf(code: OAuthErrorCode): number {
  // "The authorization server MAY return an HTTP 401 (Unauthorized) status code".
  if (code === 'invalid_client') return 401;
  return code === 'temporarily_unavailable' ? 503 : 400;
}

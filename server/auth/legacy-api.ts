/** The switch of the legacy API: https://spec.matrix.org/v1.19/client-server-api/#authentication-api-discovery */

import type { FastifyInstance } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import { isObject, own } from '#keys/json.ts';
import type { Config } from '../config-options.ts';

/** By what people get in. Who is in already refreshes and signs out as before. */
const PATHS: ReadonlySet<string> = new Set([
  '/_matrix/client/v3/login',
  '/_matrix/client/v3/login/sso/redirect',
  '/_matrix/client/v3/login/sso/redirect/:idpId',
  '/_matrix/client/v1/login/get_token',
  '/_matrix/client/v3/register',
  '/_matrix/client/v3/register/available',
  '/_matrix/client/v1/register/m.login.registration_token/validity',
  '/_matrix/static/client/login/',
]);

/**
 * "the server SHOULD respond with 404 and an M_UNRECOGNIZED error code if the corresponding API is not supported".
 * Application services have no browser, and no other way.
 */
export function refuseLegacyLogin(app: FastifyInstance, config: Pick<Config, 'legacyLogin'>): void {
  if (config.legacyLogin) return;
  app.addHook('preHandler', (request, _, done) => {
    const { routeOptions, method, body } = request;
    const type = isObject(body) ? own(body, 'type') : undefined;
    const isService = method === 'POST' && type === 'm.login.application_service';
    if (isService || !PATHS.has(routeOptions.url ?? '')) return done();
    done(new MatrixError(404, 'M_UNRECOGNIZED', 'OAuth 2.0 authentication is in use on this homeserver'));
  });
}

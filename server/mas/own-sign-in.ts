/** What this server does not do where an authentication service signs people in. */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { unrecognized } from '#federation/errors.ts';

const V3 = '/_matrix/client/v3';

/** All that begins with one of these: ways to sign in and out, to register, and to change how one signs in. */
const DELEGATED = [
  `${V3}/login`,
  '/_matrix/client/v1/login/',
  `${V3}/logout`,
  `${V3}/refresh`,
  `${V3}/register`,
  '/_matrix/client/v1/register/',
  `${V3}/account/password`,
  `${V3}/account/deactivate`,
  `${V3}/account/3pid/`,
  `${V3}/delete_devices`,
  '/_matrix/static/client/login',
  '/_kurir/register',
  '/_synapse/admin/v1/register',
  '/oauth2/',
  '/sign-in',
  '/account',
];
const DELEGATED_METHODS: ReadonlySet<string> = new Set([
  `DELETE ${V3}/devices/:deviceId`,
  `POST ${V3}/account/3pid`,
]);

/**
 * Answers these routes as unknown ones: a proxy leads them to the service, which serves them for old clients. But for
 * those who make their users here themselves, application services.
 */
export function refuseOwnSignIn(app: FastifyInstance, isExempt: (request: FastifyRequest) => boolean): void {
  app.addHook('onRequest', async (request) => {
    const { url = '' } = request.routeOptions;
    const isDelegated = DELEGATED.some((path) => url === path || url.startsWith(asFolder(path)));
    const isRefused = isDelegated || DELEGATED_METHODS.has(`${request.method} ${url}`);
    if (isRefused && !isExempt(request)) throw unrecognized();
  });
}

function asFolder(path: string): string {
  return path.endsWith('/') ? path : `${path}/`;
}

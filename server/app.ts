/** The two applications: what clients reach and what other servers reach. Every route of Kurir is named here. */

import type { FastifyInstance } from 'fastify';
import { keysQueryRoutes } from '#federation/routes/keys-query.ts';
import { keysServerRoutes } from '#federation/routes/keys-server.ts';
import { versionRoutes } from '#federation/routes/version.ts';
import { wellknownRoutes } from '#federation/routes/wellknown.ts';
import type { ServerContext } from './context.ts';
import { healthRoutes } from './health.ts';
import { type AppOptions, createApp } from './http.ts';
import { capabilitiesRoutes } from './routes/capabilities.ts';
import { loginRoutes } from './routes/login.ts';
import { logoutRoutes } from './routes/logout.ts';
import { registrationRoutes } from './routes/registration.ts';
import { sharedSecretRegistrationRoutes } from './routes/shared-secret-registration.ts';
import { versionsRoutes } from './routes/versions.ts';
import { wellknownClientRoutes } from './routes/wellknown.ts';
import { whoamiRoutes } from './routes/whoami.ts';
import type { Certificate } from './tls-certificate.ts';

const KIB = 1_024;
const MIB = 1_024 * KIB;
const CLIENT_BODY = 256 * KIB;
/** 50 events of 64 KiB and 100 EDUs, with room for how they are written. */
const FEDERATION_BODY = 13 * MIB;

/** What clients reach, by plain HTTP. */
export function buildClientApp(ctx: ServerContext): FastifyInstance {
  const app = createApp({ ...commonOptions(ctx), cors: true, bodyLimit: CLIENT_BODY });
  healthRoutes(app, ctx);
  versionsRoutes(app);
  capabilitiesRoutes(app, ctx);
  wellknownClientRoutes(app, ctx);
  wellknownRoutes(app, ctx);
  loginRoutes(app, ctx);
  logoutRoutes(app, ctx);
  registrationRoutes(app, ctx);
  sharedSecretRegistrationRoutes(app, ctx);
  whoamiRoutes(app, ctx);
  return app;
}

/** What other servers reach, by HTTPS. */
export function buildFederationApp(ctx: ServerContext, tls: Certificate): FastifyInstance {
  const options = { ...commonOptions(ctx), cors: false, bodyLimit: FEDERATION_BODY, relaysEvents: true, tls };
  const app = createApp(options);
  app.decorateRequest('origin', '');
  healthRoutes(app, ctx);
  wellknownRoutes(app, ctx);
  versionRoutes(app, ctx);
  keysServerRoutes(app, ctx);
  keysQueryRoutes(app, ctx);
  return app;
}

function commonOptions({
  log,
  config,
}: ServerContext): Pick<AppOptions, 'log' | 'trustedProxies' | 'logRequests'> {
  return { log, trustedProxies: config.trustedProxies, logRequests: config.logLevel === 'debug' };
}

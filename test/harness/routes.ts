/** Every route of a server, as its applications themselves list them: a new one is among them by itself. */

import type { FastifyInstance } from 'fastify';
import { buildClientApp, buildFederationApp } from '#server/app.ts';
import { loadOrCreateCertificate } from '#server/tls/certificate.ts';
import type { TestServer } from './server.ts';

export interface Route {
  readonly method: string;
  readonly url: string;
}

/** Those that clients reach, each once. */
export function clientRoutes({ ctx }: TestServer): Promise<Route[]> {
  return routesOf(buildClientApp(ctx));
}

/** Those that other servers reach, each once. */
export async function federationRoutes({ ctx }: TestServer): Promise<Route[]> {
  return routesOf(buildFederationApp(ctx, await loadOrCreateCertificate(ctx.config)));
}

async function routesOf(app: FastifyInstance): Promise<Route[]> {
  await app.ready();
  const unique = new Map(app.routeTable.map((route) => [`${route.method} ${route.url}`, route]));
  await app.close();
  return [...unique.values()];
}

/** Its address, with a value for each parameter: the one that `values` has by its name, or the name. */
export function pathOf({ url }: Route, values: Readonly<Record<string, string>>): string {
  return url.replaceAll(/:(\w+)|\*/g, (_, name = 'rest') => encodeURIComponent(values[name] ?? name));
}

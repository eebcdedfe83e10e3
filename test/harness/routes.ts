/** Every route that clients reach, as the application itself lists them: a new one is among them by itself. */

import { buildClientApp } from '#server/app.ts';
import type { TestServer } from './server.ts';

export interface Route {
  readonly method: string;
  readonly url: string;
}

/** Each once. */
export async function clientRoutes(server: TestServer): Promise<Route[]> {
  const app = buildClientApp(server.ctx);
  await app.ready();
  const unique = new Map(app.routeTable.map((route) => [`${route.method} ${route.url}`, route]));
  await app.close();
  return [...unique.values()];
}

/** Its address, with a value for each parameter: the one that `values` has by its name, or the name. */
export function pathOf({ url }: Route, values: Readonly<Record<string, string>>): string {
  return url.replaceAll(/:(\w+)|\*/g, (_, name = 'rest') => encodeURIComponent(values[name] ?? name));
}

import type { FastifyInstance } from 'fastify';
import type { ServerContext } from '../context.ts';
import { unstableFeatures } from '../unstable-features.ts';

const LATEST_MINOR = 19;
const VERSIONS = Array.from({ length: LATEST_MINOR }, (_, index) => `v1.${index + 1}`);

/** `GET /_matrix/client/versions`: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions */
export function versionsRoutes(app: FastifyInstance, { config }: Pick<ServerContext, 'config'>): void {
  const answer = { versions: VERSIONS, unstable_features: unstableFeatures(config) };
  app.get('/_matrix/client/versions', async () => answer);
}

import type { FastifyInstance } from 'fastify';

const LATEST_MINOR = 19;
const VERSIONS = Array.from({ length: LATEST_MINOR }, (_, index) => `v1.${index + 1}`);

/** `GET /_matrix/client/versions`: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions */
export function versionsRoutes(app: FastifyInstance): void {
  app.get('/_matrix/client/versions', async () => ({ versions: VERSIONS, unstable_features: {} }));
}

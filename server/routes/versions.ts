import type { FastifyInstance } from 'fastify';
import type { ServerContext } from '../context.ts';
import { unstableFeatures } from '../unstable-features.ts';

const LATEST_MINOR = 19;
const VERSIONS = Array.from({ length: LATEST_MINOR }, (_, index) => `v1.${index + 1}`);

/** What clients look for under the names of proposals, be it in the specification by now or not yet. */
const UNSTABLE_FEATURES = {
  'org.matrix.msc3391': true,
  'org.matrix.msc3827.stable': true,
  'org.matrix.msc4140': true,
  'org.matrix.msc4143': true,
  'uk.half-shot.msc2666.query_mutual_rooms': true,
  'uk.half-shot.msc2666.query_mutual_rooms.stable': true,
};

/** `GET /_matrix/client/versions`: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions */
export function versionsRoutes(app: FastifyInstance, { config }: Pick<ServerContext, 'config'>): void {
  const answer = { versions: VERSIONS, unstable_features: unstableFeatures(config) };
  app.get('/_matrix/client/versions', async () => answer);
  app.get('/_matrix/client/versions', async () => ({
    versions: VERSIONS,
    unstable_features: UNSTABLE_FEATURES,
  }));
}

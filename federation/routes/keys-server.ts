import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { FederationContext } from '../context.ts';
import { ownKeyDocument } from '../own-keys.ts';

/** `GET /_matrix/key/v2/server`: https://spec.matrix.org/v1.19/server-server-api/#publishing-keys */
export function keysServerRoutes(
  app: FastifyInstance,
  ctx: Pick<FederationContext, 'serverName' | 'signingKey' | 'clock' | 'callers'>,
): void {
  const ownDocument = ownKeyDocument(ctx);
  const answer = async ({ ip }: FastifyRequest) => {
    ctx.callers.fetchedKey(ip);
    return ownDocument();
  };
  app.get('/_matrix/key/v2/server', answer);
  // Servers that follow versions of the specification before v1.1 may end the path so, or name a key.
  app.get('/_matrix/key/v2/server/', answer);
  app.get('/_matrix/key/v2/server/:keyId', answer);
}

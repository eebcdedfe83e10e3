import type { FastifyInstance } from 'fastify';
import { unrecognized } from '#federation/errors.ts';
import type { ServerContext } from '../context.ts';
import { authMetadata, issuerOf } from '../oauth/metadata.ts';

const UNSTABLE = '/_matrix/client/unstable/org.matrix.msc2965';
const PATHS = [
  '/_matrix/client/v1/auth_metadata',
  `${UNSTABLE}/auth_metadata`,
  // RFC 8414, and OpenID Connect Discovery for clients that ask so: there are no ID tokens.
  '/.well-known/oauth-authorization-server',
  '/.well-known/openid-configuration',
];

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1auth_metadata */
export function oauthMetadataRoutes(app: FastifyInstance, ctx: Pick<ServerContext, 'config' | 'mas'>): void {
  const issuer = issuerOf(ctx.config);
  const metadata = issuer === undefined ? undefined : authMetadata(ctx.config, issuer);
  for (const path of PATHS) {
    app.get(path, async (_, reply) => {
      if (ctx.mas !== undefined) return await ctx.mas.metadata();
      if (metadata === undefined) throw unrecognized();
      // "Cache the metadata appropriately based on HTTP caching headers"
      reply.header('cache-control', 'public, max-age=600');
      return metadata;
    });
  }

  // As it was asked for until MSC2965 had the metadata itself.
  app.get(`${UNSTABLE}/auth_issuer`, async () => {
    if (issuer === undefined) throw unrecognized();
    return { issuer };
  });
}

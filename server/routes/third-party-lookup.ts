/** https://spec.matrix.org/v1.19/client-server-api/#third-party-lookups */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { notFound } from '#federation/errors.ts';
import { ThirdPartyNetworks } from '../appservices/third-party.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { type Query, queryString, requiredQuery } from '../query.ts';

type Lookup = FastifyRequest<{ Params: { protocol: string }; Querystring: Query }>;

const BASE = '/_matrix/client/v3/thirdparty';
/** Ours, and no fields of the network. */
const OWN_PARAMETERS: ReadonlySet<string> = new Set([
  'access_token',
  'user_id',
  'device_id',
  'org.matrix.msc3202.device_id',
]);
const MOST_FIELDS = 50;

/** The networks that application services bridge, and who and what is there. */
export function thirdPartyLookupRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const networks = new ThirdPartyNetworks(ctx.appservices);

  app.get(`${BASE}/protocols`, async (request) => {
    await requireLimited(ctx, request);
    return networks.protocols();
  });

  app.get(`${BASE}/protocol/:protocol`, async (request: Lookup) => {
    await requireLimited(ctx, request);
    const protocol = await networks.protocol(request.params.protocol);
    if (protocol === undefined) throw notFound('No application service bridges this protocol');
    return protocol;
  });

  for (const kind of ['user', 'location'] as const) {
    app.get(`${BASE}/${kind}/:protocol`, async (request: Lookup) => {
      await requireLimited(ctx, request);
      const found = await networks.find(kind, request.params.protocol, fieldsOf(request.query));
      if (found === undefined) throw notFound('No application service bridges this protocol');
      if (found.length === 0) throw notFound(`No ${kind} was found`);
      return found;
    });

    const id = kind === 'user' ? 'userid' : 'alias';
    app.get(`${BASE}/${kind}`, async (request: Lookup) => {
      await requireLimited(ctx, request);
      const found = await networks.reverse(
        kind,
        new URLSearchParams({ [id]: requiredQuery(request.query, id) }),
      );
      if (found.length === 0) throw notFound(`No ${kind} was found`);
      return found;
    });
  }
}

/** Each asks the services, who ask others. */
async function requireLimited(ctx: ServerContext, request: FastifyRequest): Promise<void> {
  const { userId } = await requireRequester(ctx, request);
  ctx.limits.take('directory', userId);
}

/** "One or more custom fields to help identify" what is looked for. */
function fieldsOf(query: Query): URLSearchParams {
  const names = Object.keys(query).filter((name) => !OWN_PARAMETERS.has(name));
  const fields = names.slice(0, MOST_FIELDS).map((name) => [name, queryString(query, name) ?? ''] as const);
  return new URLSearchParams(Object.fromEntries(fields));
}

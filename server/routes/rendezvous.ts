/**
 * Where a device that is signed in and one that signs in by a QR code meet. They encrypt what they leave here.
 *
 * https://github.com/matrix-org/matrix-spec-proposals/pull/4388, and as it was in 2024 in
 * https://github.com/matrix-org/matrix-spec-proposals/pull/4108
 */

import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  forbidden,
  invalidParam,
  MatrixError,
  missingParam,
  notFound,
  tooLarge,
  unrecognized,
} from '#federation/errors.ts';
import { bodyObject, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { readBody } from '../http/read-body.ts';
import { issuerOf } from '../oauth/metadata.ts';
import { MOST_DATA, type Rendezvous, RendezvousSessions } from '../rendezvous/sessions.ts';

const MSC4108 = '/_matrix/client/unstable/org.matrix.msc4108/rendezvous';
const MSC4388 = '/_matrix/client/unstable/io.element.msc4388/rendezvous';

interface One {
  Params: { id: string; txnId?: string };
}

/** Only where users can sign in by OAuth: the QR code ends in a device grant. */
export function rendezvousRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const sessions = new RendezvousSessions(ctx.clock);
  app.register(async (routes) => {
    routes.addHook('onRequest', async (request, reply) => {
      if (issuerOf(ctx.config) === undefined) throw unrecognized();
      ctx.limits.take('rendezvous', request.ip);
      reply.header('cache-control', 'no-store');
    });
    jsonRoutes(routes, ctx, sessions);
  });
  app.register(async (routes) => {
    acceptText(routes);
    routes.addHook('onRequest', async (request, reply) => {
      if (issuerOf(ctx.config) === undefined) throw unrecognized();
      ctx.limits.take('rendezvous', request.ip);
      reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' });
    });
    textRoutes(routes, ctx, sessions);
  });
}

/** MSC4388: JSON, and a token for each writing. */
function jsonRoutes(routes: FastifyInstance, ctx: ServerContext, sessions: RendezvousSessions): void {
  routes.get(MSC4388, async () => ({ create_available: true }));

  routes.post(MSC4388, async (request) => {
    const data = dataOf(request);
    ctx.limits.take('rendezvous_creation', request.ip);
    const created = sessions.create(data);
    return { id: created.id, ...tokenOf(created), ...expiryOf(ctx, created) };
  });

  routes.get<One>(`${MSC4388}/:id`, async (request) => {
    refuseNavigation(request);
    const known = sessionOf(sessions, request);
    return { data: known.data, ...tokenOf(known), ...expiryOf(ctx, known) };
  });

  const replace = async (request: FastifyRequest<One>) => {
    const data = dataOf(request);
    const revision = requiredString(bodyObject(request), 'sequence_token');
    const { txnId } = request.params;
    const written = sessions.replace(sessionOf(sessions, request), { data, revision, txnId });
    if (written === undefined) throw notFound('No such rendezvous session');
    if (written !== 'concurrent_write') return tokenOf(written);
    throw new MatrixError(409, 'IO_ELEMENT_MSC4388_CONCURRENT_WRITE', 'sequence_token does not match');
  };
  routes.put<One>(`${MSC4388}/:id`, replace);
  routes.put<One>(`${MSC4388}/:id/:txnId`, replace);

  routes.delete<One>(`${MSC4388}/:id`, async (request) => {
    if (!sessions.remove(request.params.id)) throw notFound('No such rendezvous session');
    return {};
  });
}

/** MSC4108: plain text, and an ETag for each writing. */
function textRoutes(routes: FastifyInstance, ctx: ServerContext, sessions: RendezvousSessions): void {
  const { publicBaseurl = '' } = ctx.config;

  routes.post(MSC4108, { bodyLimit: MOST_DATA }, async (request, reply) => {
    const data = textOf(request);
    ctx.limits.take('rendezvous_creation', request.ip);
    const created = sessions.create(data);
    return mark(reply, created)
      .code(201)
      .send({ url: `${publicBaseurl}${MSC4108}/${created.id}` });
  });

  routes.get<One>(`${MSC4108}/:id`, async (request, reply) => {
    refuseNavigation(request);
    const known = sessionOf(sessions, request);
    mark(reply, known);
    if (request.headers['if-none-match'] === etagOf(known)) return reply.code(304).send();
    return reply.header('content-type', 'text/plain').send(Buffer.from(known.data));
  });

  routes.put<One>(`${MSC4108}/:id`, { bodyLimit: MOST_DATA }, async (request, reply) => {
    const data = textOf(request);
    const seen = request.headers['if-match'];
    if (seen === undefined) throw missingParam('If-Match');
    const revision = seen.replaceAll('"', '');
    const written = sessions.replace(sessionOf(sessions, request), { data, revision });
    if (written === undefined) throw notFound('No such rendezvous session');
    if (written !== 'concurrent_write') return mark(reply, written).code(202).send({});
    throw new MatrixError(412, 'M_CONCURRENT_WRITE', 'If-Match is not the current ETag', {
      extras: { 'org.matrix.msc4108.errcode': 'M_CONCURRENT_WRITE' },
    });
  });

  routes.delete<One>(`${MSC4108}/:id`, async (request, reply) => {
    if (!sessions.remove(request.params.id)) throw notFound('No such rendezvous session');
    return reply.code(204).send();
  });
}

/** As text, whatever it looks like. */
function acceptText(routes: FastifyInstance): void {
  routes.addContentTypeParser('text/plain', async (_: FastifyRequest, payload: IncomingMessage) =>
    (await readBody(payload, MOST_DATA)).toString('utf8'),
  );
}

function textOf({ body, headers }: FastifyRequest): string {
  if (headers['content-type'] === undefined) throw missingParam('Content-Type');
  if (typeof body !== 'string') throw invalidParam('Content-Type is not text/plain');
  return body;
}

function dataOf(request: FastifyRequest): string {
  const data = requiredString(bodyObject(request), 'data');
  if (data.length > MOST_DATA) throw tooLarge(`data is longer than ${MOST_DATA} characters`);
  return data;
}

function sessionOf(sessions: RendezvousSessions, request: FastifyRequest<One>): Rendezvous {
  const known = sessions.of(request.params.id);
  if (known === undefined) throw notFound('No such rendezvous session');
  return known;
}

/** "use of `Sec-Fetch-*` headers to not return payload content when browser has navigated to the session URL" */
function refuseNavigation({ headers }: FastifyRequest): void {
  const { 'sec-fetch-mode': mode, 'sec-fetch-dest': destination } = headers;
  if (mode === 'navigate' || (destination !== undefined && destination !== 'empty')) {
    throw forbidden('Only for Matrix clients');
  }
}

function tokenOf({ revision }: Rendezvous): { sequence_token: string } {
  return { sequence_token: revision };
}

/** Clients of the first drafts read the time, those of the later ones how long it is until then. */
function expiryOf(
  { clock }: ServerContext,
  { expiresTs }: Rendezvous,
): { expires_in_ms: number; expires_ts: number } {
  return { expires_in_ms: Math.max(0, expiresTs - clock.now()), expires_ts: expiresTs };
}

function etagOf({ revision }: Rendezvous): string {
  return `"${revision}"`;
}

function mark(reply: FastifyReply, session: Rendezvous): FastifyReply {
  return reply.headers({
    etag: etagOf(session),
    expires: new Date(session.expiresTs).toUTCString(),
    'last-modified': new Date(session.changedTs).toUTCString(),
  });
}

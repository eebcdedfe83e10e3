/**
 * HTTP as Matrix needs it: how requests are read and limited, what every answer carries, and the one place
 * where errors become answers.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#api-standards
 * https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients
 */

import type http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { invalidParam, unknown } from '#federation/errors.ts';
import { nodeHttp } from '#federation/network/node-http.ts';
import { RELAYED_MAX_DEPTH } from '#keys/canonical-json.ts';
import type { Log } from '#rooms/context.ts';
import { Connections } from './connections.ts';
import { type DirectAnswer, DirectRoutes } from './direct-routes.ts';
import { answerClientError, answerError, answerUnrouted, REQUEST_IS_LATE } from './error-handler.ts';
import { OF_CLIENTS, parseBody } from './json-body.ts';
import { JsonHead } from './json-head.ts';
import { endUnlessRead, LateRequests } from './late-requests.ts';
import { readBody } from './read-body.ts';
import { RestingConnections } from './resting.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Every route of the application, also of its parts. */
    routeTable: { readonly method: string; readonly url: string }[];
    directRoutes: DirectRoutes;
  }
  interface FastifyRequest {
    /** The body as it was received; empty where there is none. */
    rawBody: Buffer;
  }
  interface FastifyContextConfig {
    /** True for a route that waits on purpose: it is not slow. */
    longPoll?: boolean;
    /** True for a route that reads its body by itself, while it arrives. */
    streamsBody?: boolean;
  }
}

export interface AppOptions {
  readonly log: Log;
  /** For clients: any website may call it. */
  readonly cors: boolean;
  /** In bytes; a route may set its own. */
  readonly bodyLimit: number;
  /** How deep and how large in values a JSON body may be; for clients unless given. */
  readonly relaysEvents?: boolean;
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly trustedProxies?: readonly string[];
  readonly logRequests?: boolean;
  /** After which time a request that waits has its connection rest (`resting.ts`); one second unless given. */
  readonly restAfterMs?: number;
}

const SECOND = 1_000;
const KIB = 1_024;
/** Longer than any id in any encoding: 255 bytes, each as `%xx`. */
const MAX_PARAM_LENGTH = 2_048;
const MAX_TRANSACTION_NODES = 2_000_000;
const MOST_CONNECTIONS = 10_000;
const STALLED_MS = 30_000;
const KEEP_ALIVE_MS = 75 * SECOND;
const SLOW_MS = 5 * SECOND;
const JSON_WITH_CHARSET = 'application/json; charset=utf-8';
const NO_BYTES = Buffer.alloc(0);
/** Bodies are judged by hand: without these the framework loads its own judges, which slows the start. */
const NO_SCHEMAS = { buildValidator: refuseSchema, buildSerializer: refuseSchema };
const CONTENT_TYPE = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+ *(;|$)/;

const CORS_HEADERS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, POST, PUT, DELETE, OPTIONS',
  'access-control-allow-headers': 'X-Requested-With, Content-Type, Authorization',
  'access-control-expose-headers': 'X-Request-Id, Retry-After',
};
/** What clients in browsers need besides where two devices meet (MSC4108), which is by ETags. */
const RENDEZVOUS = /^\/_matrix\/client\/unstable\/org\.matrix\.msc4108\/rendezvous/;
const RENDEZVOUS_HEADERS = {
  'access-control-allow-headers': `${CORS_HEADERS['access-control-allow-headers']}, If-Match, If-None-Match`,
  'access-control-expose-headers': `${CORS_HEADERS['access-control-expose-headers']}, ETag`,
};
/**
 * What was called `r0` until Matrix 1.1 is `v3` now, and what came into the specification was `unstable` before. Clients
 * and bridges still say the former: libQuotient for `/sync`, the older Element for phones ("Classic") for all of these.
 */
const FORMER_PATHS = [
  [/^\/_matrix\/(client|media)\/r0\//, '/_matrix/$1/v3/'],
  [
    /^\/_matrix\/client\/unstable\/(?=room_keys\/|keys\/(?:device_signing|signatures)\/upload)/,
    '/_matrix/client/v3/',
  ],
  [/^\/_matrix\/client\/unstable\/(?=rooms\/[^/?]+\/relations\/)/, '/_matrix/client/v1/'],
] as const;
/** Pages of people who are signed in: "CORS MUST NOT be supported at the authorization endpoint" (RFC 9700, 2.6). */
const FOR_PEOPLE =
  /^\/(oauth2\/(authorize|device)|sign-in|sign-out|account|_kurir\/(register|terms))(?=[/?]|$)/;
/** Headers of which a second one would make two readers of the same request see different things. */
const SINGLE_HEADERS: ReadonlySet<string> = new Set(['host', 'authorization', 'content-type']);

/** An application without routes; health, errors and unknown paths are answered already. */
export function createApp(options: AppOptions): FastifyInstance {
  const requestId = requestIds();
  const directRoutes = directRoutesFor(options, requestId);
  const late = new LateRequests();
  const app = fastify({
    logger: false,
    serverFactory: (handler) => serverFor(options, { late, directRoutes }, handler),
    bodyLimit: options.bodyLimit,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH, ignoreTrailingSlash: options.cors },
    rewriteUrl: ({ url = '' }) => (options.cors ? currentPath(url) : url),
    trustProxy: options.trustedProxies === undefined ? false : [...options.trustedProxies],
    exposeHeadRoutes: false,
    // The framework's answer is none of Matrix.
    return503OnClosing: false,
    requestIdHeader: false,
    genReqId: requestId,
    schemaController: { compilersFactory: NO_SCHEMAS },
    frameworkErrors: (error, request, reply) => {
      decorateAnswer(request, reply, options.cors);
      answerError({ log: options.log, error, request, reply });
    },
    clientErrorHandler: (error, socket) => {
      if (error.code === REQUEST_IS_LATE) late.refuse(socket, () => answerClientError(error, socket));
      else answerClientError(error, socket);
    },
  });
  // Set for each request: what is given here would be shared by all.
  app.decorateRequest('rawBody');
  readJson(app, options.relaysEvents ?? false);
  let isClosing = false;
  app.decorate('directRoutes', directRoutes);
  app.addHook('preClose', (done) => {
    isClosing = true;
    directRoutes.close();
    done();
  });
  app.addHook('onRequest', (request, reply, done) => {
    request.rawBody = NO_BYTES;
    // What is no content type at all would be refused before our parser is asked.
    const contentType = request.headers['content-type'];
    if (contentType !== undefined && !CONTENT_TYPE.test(contentType)) delete request.headers['content-type'];
    decorateAnswer(request, reply, options.cors);
    if (options.cors && request.method === 'OPTIONS') {
      reply.code(204).header('access-control-max-age', '86400').send();
      return;
    }
    done(isClosing ? unknown(503, 'The server is shutting down') : faultOfHeaders(request.raw.rawHeaders));
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    // "Servers must include a Content-Type header of application/json": the framework adds a charset, which JSON lacks.
    if (reply.getHeader('content-type') === JSON_WITH_CHARSET)
      reply.header('content-type', 'application/json');
    done(null, payload);
  });
  app.addHook('onResponse', (request, reply, done) => {
    reportAnswer(options, request, reply);
    done();
  });
  app.setErrorHandler((error, request, reply) => answerError({ log: options.log, error, request, reply }));
  keepRouteTable(app);
  answerUnrouted(app);
  return app;
}

/** What they answer has the same headers, and is reported in the same way. */
function directRoutesFor({ cors, log, logRequests }: AppOptions, requestId: () => string): DirectRoutes {
  const report = ({ ms, ...fields }: DirectAnswer) => log.debug({ ...fields, ms: Math.round(ms) }, 'request');
  return new DirectRoutes({
    head: new JsonHead({ headers: cors ? CORS_HEADERS : {}, keepAliveMs: KEEP_ALIVE_MS }),
    requestId,
    onAnswer: logRequests === true ? report : undefined,
  });
}

function keepRouteTable(app: FastifyInstance): void {
  const table: FastifyInstance['routeTable'] = [];
  app.decorate('routeTable', table);
  app.addHook('onRoute', ({ method, url }) => {
    table.push(...[method].flat().map((one) => ({ method: one, url })));
  });
}

function currentPath(url: string): string {
  return FORMER_PATHS.reduce((path, [former, current]) => path.replace(former, current), url);
}

/** An HTTP(S) server that gives slow and hanging peers an end. */
function serverFor(
  options: AppOptions,
  { late, directRoutes }: { readonly late: LateRequests; readonly directRoutes: DirectRoutes },
  longWay: http.RequestListener,
): http.Server {
  const handler = directRoutes.before(longWay);
  const limits = {
    maxHeaderSize: 16 * KIB,
    // For the headers, then for the whole request; what the answer takes is not counted. The second is for uploads:
    // `readBody` has a limit of its own.
    headersTimeout: 15 * SECOND,
    requestTimeout: 600 * SECOND,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: 5 * SECOND,
    highWaterMark: 64 * KIB,
    noDelay: true,
  };
  const server =
    options.tls === undefined
      ? nodeHttp.createServer(limits, handler)
      : https.createServer({ ...limits, ...options.tls, minVersion: 'TLSv1.2' }, handler);
  server.maxHeadersCount = 100;
  server.maxConnections = MOST_CONNECTIONS;
  late.watch(server);
  const connections = new Connections();
  connections.watch(server, options.tls === undefined ? 'connection' : 'secureConnection');
  endStalled(server, connections);
  // Not those with TLS: how much has come on them is not told in bytes of HTTP.
  if (options.tls === undefined) {
    const { restAfterMs } = options;
    const keepAliveMs = KEEP_ALIVE_MS + SECOND;
    directRoutes.restBy(new RestingConnections({ server, connections, keepAliveMs, restAfterMs }));
  }
  return server;
}

/** Ends connections whose other side takes nothing of an answer for so long: the answer waits in memory. */
function endStalled(server: http.Server, connections: Connections): void {
  server.timeout = STALLED_MS;
  // Also of those that are kept alive for the next request. An answer may take its time, where nothing of it waits.
  server.on('timeout', (socket: Socket) => {
    endUnlessRead(socket, () => {
      if (!connections.isAnswering(socket) || socket.writableLength > 0) socket.destroy();
    });
  });
}

/** Every body is JSON, whatever its content type says: many clients say nothing, or something else. */
function readJson(app: FastifyInstance, relaysEvents: boolean): void {
  // What is wrong with an event of a server it is told for each event by itself.
  const limits = relaysEvents ? { maxDepth: RELAYED_MAX_DEPTH, maxNodes: MAX_TRANSACTION_NODES } : OF_CLIENTS;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', async (request: FastifyRequest, payload: http.IncomingMessage) => {
    // What no route answers is refused whatever its body says.
    if (request.is404 || request.routeOptions.config.streamsBody === true) return undefined;
    const bytes = await readBody(payload, request.routeOptions.bodyLimit);
    request.rawBody = bytes;
    // Many clients name a content type where they send nothing.
    return bytes.length === 0 ? undefined : parseBody(bytes, limits);
  });
}

function refuseSchema(): never {
  throw new Error('routes have no schemas');
}

function decorateAnswer(request: FastifyRequest, reply: FastifyReply, cors: boolean): void {
  if (cors && !FOR_PEOPLE.test(request.url)) reply.headers(CORS_HEADERS);
  if (cors && RENDEZVOUS.test(request.url)) reply.headers(RENDEZVOUS_HEADERS);
  reply.header('x-request-id', request.id);
  // What is no page is not to be run as one, whatever stands in it.
  reply.header('x-content-type-options', 'nosniff');
}

function faultOfHeaders(rawHeaders: readonly string[]): Error | undefined {
  let seen: Set<string> | undefined;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]?.toLowerCase() ?? '';
    if (!SINGLE_HEADERS.has(name)) continue;
    seen ??= new Set();
    if (seen.has(name)) return invalidParam(`More than one ${name} header`);
    seen.add(name);
  }
  return undefined;
}

/** Ids that no two requests of any process share: when it began, and a number. */
function requestIds(): () => string {
  const process = Date.now().toString(36);
  let last = 0;
  return () => {
    last += 1;
    return `${process}-${last.toString(36)}`;
  };
}

function reportAnswer(options: AppOptions, request: FastifyRequest, reply: FastifyReply): void {
  const ms = reply.elapsedTime;
  const isSlow = ms > SLOW_MS && request.routeOptions.config?.longPoll !== true;
  if (!isSlow && reply.statusCode < 500 && options.logRequests !== true) return;
  // The route, not the address: addresses hold ids, and may hold tokens.
  const route = request.routeOptions.url ?? '(none)';
  const fields = { requestId: request.id, method: request.method, route, status: reply.statusCode };
  if (isSlow) options.log.warn({ ...fields, ms: Math.round(ms) }, 'slow request');
  else if (options.logRequests === true) options.log.debug({ ...fields, ms: Math.round(ms) }, 'request');
}

/** Watches what servers in this process answer, and what they ask other servers. */

import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { isRecord, type SpecChecker, specChecker } from './checker.ts';
import { isOurHsToken, isOurs } from './live.ts';

const starting = new AsyncLocalStorage<SpecChecker>();

/** True in what a test asks by itself. */
const byTest = new AsyncLocalStorage<true>();

/** For a request that a test makes in the name of a server of ours, with what no server of ours asks. */
export function askedByTest<T>(ask: () => Promise<T>): Promise<T> {
  return byTest.run(true, ask);
}

/** Every application that `start` makes has its answers checked. */
export async function watched<T>(start: () => Promise<T>): Promise<T> {
  return starting.run(await specChecker(), start);
}

subscribe('fastify.initialization', (message) => {
  const checker = starting.getStore();
  if (checker !== undefined) watchAnswers((message as { fastify: FastifyInstance }).fastify, checker);
});

function watchAnswers(app: FastifyInstance, checker: SpecChecker): void {
  // Of the HTTP server itself: what the framework refuses before any hook is an answer too.
  app.server.prependListener('request', ({ method = '', url = '' }: IncomingMessage, response) => {
    whenAnswered(response, (status, contentType, text) => {
      checker.answer({ method, url, status, contentType, text });
    });
  });
  app.addHook('preHandler', (request, _reply, done) => {
    checker.events.noteRequest(request.raw.method ?? '', request.raw.url ?? '', request.body);
    done();
  });
}

/** Calls `check` with the whole answer before its last bytes are sent. */
function whenAnswered(
  response: ServerResponse,
  check: (status: number, contentType: string | undefined, text: string | undefined) => void,
): void {
  const chunks: Buffer[] = [];
  let written: unknown;
  // Headers are given all at once, or one by one where the body is a stream.
  const contentTypeOf = (): string | undefined => (written ?? response.getHeader('content-type'))?.toString();
  const isJson = (): boolean => contentTypeOf()?.startsWith('application/json') === true;
  const keep = (chunk: unknown): void => {
    if (!isJson()) return;
    if (typeof chunk === 'string') chunks.push(Buffer.from(chunk));
    else if (chunk instanceof Uint8Array) chunks.push(Buffer.from(chunk));
  };
  const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse;
  const write = response.write.bind(response) as (...args: unknown[]) => boolean;
  const end = response.end.bind(response) as (...args: unknown[]) => ServerResponse;
  response.writeHead = (...args: unknown[]): ServerResponse => {
    const headers = args.at(-1);
    if (isRecord(headers)) written = headers['content-type'];
    return writeHead(...args);
  };
  response.write = (...args: unknown[]): boolean => {
    keep(args[0]);
    return write(...args);
  };
  response.end = (...args: unknown[]): ServerResponse => {
    keep(args[0]);
    check(response.statusCode, contentTypeOf(), isJson() ? Buffer.concat(chunks).toString() : undefined);
    return end(...args);
  };
}

interface UndiciRequest {
  readonly origin: unknown;
  readonly method: string;
  readonly path: string;
  readonly headers: readonly string[];
  readonly body: unknown;
}

subscribe('undici:request:create', (message) => {
  const { request } = message as { request: UndiciRequest };
  const { method, path: url, headers, body } = request;
  const authorization = headers.find((_, index) => headers[index - 1]?.toLowerCase() === 'authorization');
  // Nobody else in a test asks these, and there is nothing of ours in the headers of most.
  const isOurKind = /^\/_matrix\/(push|identity|app)\//.test(url);
  // Services of before Matrix 1.0 are asked by paths of any form.
  const isOurCall = isOurHsToken(/^Bearer (.+)$/.exec(authorization ?? '')?.[1]);
  if (isOurKind || isOurCall || isOurSignature(authorization)) checkRequest({ method, url, body });
});

/**
 * Requests to other servers are given a connection that has TLS already, and their whole body as they are ended. What
 * tests ask, or hand on, by themselves is of `node:https`.
 */
subscribe('http.client.request.created', (message) => {
  const { request } = message as { request: ClientRequest };
  const isByClient = request.protocol === 'http:' && /^Kurir/.test(String(request.getHeader('user-agent')));
  if (!isByClient || !isOurSignature(request.getHeader('authorization'))) return;
  const end = request.end.bind(request) as (...args: unknown[]) => ClientRequest;
  request.end = (...args: unknown[]): ClientRequest => {
    checkRequest({ method: request.method, url: request.path, body: args[0] });
    return end(...args);
  };
});

function isOurSignature(authorization: unknown): boolean {
  return isOurs(/origin="?([^",]+)/.exec(typeof authorization === 'string' ? authorization : '')?.[1]);
}

function checkRequest({ method, url, body }: { method: string; url: string; body: unknown }): void {
  if (byTest.getStore() === true) return;
  const text = body instanceof Uint8Array ? Buffer.from(body).toString() : body;
  // The checker is there: a server of ours runs.
  void specChecker().then((checker) =>
    checker.request({ method, url, body: typeof text === 'string' ? text : undefined }),
  );
}

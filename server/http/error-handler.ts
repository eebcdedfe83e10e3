/** From errors to answers. Whatever is not a `MatrixError` is a fault of ours: logged whole, told to nobody. */

import type { Duplex } from 'node:stream';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  insufficientStorage,
  invalidParam,
  limitExceeded,
  MatrixError,
  methodNotAllowed,
  notJson,
  tooLarge,
  unknown,
  unrecognized,
} from '#federation/errors.ts';
import { nodeHttp } from '#federation/network/node-http.ts';
import { PasswordQueueFull } from '#keys/password.ts';
import type { Log } from '#rooms/context.ts';
import { RoomBusy } from '#rooms/send.ts';
import { NoSpace, PlaceUnavailable } from '#storage/blob-place.ts';
import { DatabaseFull, DatabaseUnavailable, WriteQueueFull } from '#storage/database.ts';
import { QueueFull } from '#storage/locks.ts';

const JSON_TYPE = 'application/json';
const OVERLOAD_RETRY_MS = 2_000;
const OVERLOADS = [PasswordQueueFull, QueueFull, RoomBusy, WriteQueueFull];

export interface Failure {
  readonly log: Log;
  readonly error: unknown;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Answers a request that failed, with the error's own answer or with one that says nothing about us. */
export function answerError({ log, error, request, reply }: Failure): void {
  const known = matrixErrorOf(error);
  if (known === undefined) {
    const route = request.routeOptions?.url;
    log.error({ err: error, requestId: request.id, method: request.method, route }, 'request failed');
  }
  const answer = known ?? unknown(500, 'Internal server error');
  // As bytes: the framework adds a charset to all else, and what it refuses by itself passes no hook of ours.
  reply
    .code(answer.status)
    .headers(answer.headers)
    .type(JSON_TYPE)
    .send(Buffer.from(JSON.stringify(answer.body)));
}

/** What an error means for a client; undefined for a fault of ours. */
export function matrixErrorOf(error: unknown): MatrixError | undefined {
  if (error instanceof MatrixError) return error;
  if (OVERLOADS.some((overload) => error instanceof overload)) return limitExceeded(OVERLOAD_RETRY_MS);
  if (error instanceof DatabaseUnavailable) return unknown(503, 'The server is shutting down', error);
  if (error instanceof NoSpace) return insufficientStorage('The server has no space left for files', error);
  if (error instanceof DatabaseFull) return insufficientStorage('The server has no space left', error);
  if (isOutOfFiles(error)) return unknown(503, 'The server has too many files open', error);
  if (error instanceof PlaceUnavailable)
    return unknown(503, 'The files cannot be reached at the moment', error);
  return isFastifyError(error) ? frameworkErrorOf(error) : undefined;
}

/** The process, or the machine, may open no more files for the moment. */
function isOutOfFiles(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EMFILE' || error.code === 'ENFILE');
}

function isFastifyError(error: unknown): error is FastifyError {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('FST_');
}

/** What the framework refuses by itself before a route is reached. */
function frameworkErrorOf(error: FastifyError): MatrixError | undefined {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return tooLarge();
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return notJson();
    case 'FST_ERR_BAD_URL':
      return invalidParam('The path is not a valid one');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return invalidParam('A part of the path is too long');
    default:
      return undefined;
  }
}

/** Answers paths that have no route: 404, or 405 where the path is known with another method. */
export function answerUnrouted(app: FastifyInstance): void {
  app.setNotFoundHandler((request) => {
    throw isKnownPath(app, request.url) ? methodNotAllowed() : unrecognized();
  });
}

/** Whether an address has a route, by whatever method. */
export function isKnownPath(app: FastifyInstance, address: string): boolean {
  const [path = ''] = address.split('?', 1);
  const segments = segmentsOf(path);
  return app.routeTable.some(({ url }) => matches(segmentsOf(url), segments));
}

function segmentsOf(path: string): string[] {
  return path.replace(/\/$/, '').split('/', 20);
}

function matches(pattern: readonly string[], segments: readonly string[]): boolean {
  if (pattern.length !== segments.length) return false;
  return pattern.every((part, index) => part.startsWith(':') || part === segments[index]);
}

/** Node's code of a request that took too long to come. */
export const REQUEST_IS_LATE = 'ERR_HTTP_REQUEST_TIMEOUT';

/** Answers what is not even HTTP, or came too slowly or with too large headers; then ends the connection. */
export function answerClientError(error: Error & { code?: string }, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const answer = clientErrorOf(error.code);
  const body = JSON.stringify(answer.body);
  socket.end(
    `HTTP/1.1 ${answer.status} ${nodeHttp.STATUS_CODES[answer.status]}\r\n` +
      'Content-Type: application/json\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function clientErrorOf(code: string | undefined): MatrixError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new MatrixError(431, 'M_TOO_LARGE', 'The headers are too large');
    case REQUEST_IS_LATE:
      return unknown(408, 'The request took too long');
    default:
      return unknown(400, 'This is not HTTP as we know it');
  }
}

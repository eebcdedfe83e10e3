/** Errors of SCIM as answers. What is refused before a route is reached is told in its form, too. */

import type { FastifyInstance } from 'fastify';
import { type Failure, isKnownPath, matrixErrorOf } from '../http/error-handler.ts';
import { ScimError, type ScimType } from './errors.ts';

const JSON_TYPE = 'application/scim+json';

/** Answers a request that failed; whatever is a fault of ours is logged whole, and told to nobody. */
export function answerRefusal({ log, error, request, reply }: Failure): void {
  const known = scimErrorOf(error);
  if (known === undefined) {
    const route = request.routeOptions?.url;
    log.error({ err: error, requestId: request.id, method: request.method, route }, 'request failed');
  }
  const answer = known ?? new ScimError(500, 'Internal server error');
  reply
    .code(answer.status)
    .headers(answer.headers)
    .type(JSON_TYPE)
    .send(Buffer.from(JSON.stringify(answer.body)));
}

/** Answers paths that have no route: 404, or 405 where the path is known with another method. */
export function answerUnrouted(scope: FastifyInstance): void {
  scope.setNotFoundHandler((request) => {
    const isKnown = isKnownPath(scope, request.url);
    throw isKnown
      ? new ScimError(405, 'Method not allowed')
      : new ScimError(404, 'There is no such resource');
  });
}

function scimErrorOf(error: unknown): ScimError | undefined {
  if (error instanceof ScimError) return error;
  const known = matrixErrorOf(error);
  if (known === undefined) return undefined;
  const { status, headers, message } = known;
  const scimType: ScimType | undefined = status === 400 ? 'invalidSyntax' : undefined;
  return new ScimError(status, message, { headers, ...(scimType !== undefined && { scimType }) });
}

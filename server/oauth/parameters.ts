/** Parameters of OAuth 2.0, of a query or a form. */

import type { FastifyRequest } from 'fastify';
import { OAuthError } from './errors.ts';

/**
 * "Parameters sent without a value MUST be treated as if they were omitted from the request. [...] Request and response
 * parameters MUST NOT be included more than once." https://www.rfc-editor.org/rfc/rfc6749#section-3.1
 */
export class Parameters {
  readonly #values: ReadonlyMap<string, string>;
  /** Those that are given more than once. */
  readonly repeated: ReadonlySet<string>;

  constructor(search: URLSearchParams) {
    const names = [...search.keys()];
    this.repeated = new Set(names.filter((name, at) => names.indexOf(name) !== at));
    this.#values = new Map([...search].filter(([, value]) => value !== ''));
  }

  /** The value of one that is given once. */
  get(name: string): string | undefined {
    return this.repeated.has(name) ? undefined : this.#values.get(name);
  }

  /** The value of one that must be given. */
  require(name: string): string {
    const value = this.get(name);
    if (value === undefined) throw new OAuthError('invalid_request', `${name} is missing`);
    return value;
  }
}

/** The parameters of a request to an endpoint that takes a form. */
export function formParameters(request: FastifyRequest): Parameters {
  const { body } = request;
  if (!(body instanceof URLSearchParams)) {
    throw new OAuthError('invalid_request', 'The body must be application/x-www-form-urlencoded');
  }
  const parameters = new Parameters(body);
  const [repeated] = parameters.repeated;
  if (repeated !== undefined) throw new OAuthError('invalid_request', 'A parameter is given more than once');
  return parameters;
}

/** The query of a request as it was sent. */
export function queryOf(request: FastifyRequest): URLSearchParams {
  const start = request.url.indexOf('?');
  return new URLSearchParams(start < 0 ? '' : request.url.slice(start + 1));
}

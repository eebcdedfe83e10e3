/** Answers and requests against the operations that they belong to. */

import type { Contents, Operation } from './bundle.ts';
import { EventChecks } from './events.ts';
import { withoutExcepted } from './exceptions.ts';
import { nameOf, Operations } from './operations.ts';
import { isErrorPage, isOutsideStatus, isPage, isScannerRefusal, outsideOf } from './outside.ts';
import { PduChecks } from './pdus.ts';
import { queryMisfits } from './query.ts';
import { type Misfit, type SpecSchemas, specSchemas } from './schemas.ts';
import { noteSeen } from './seen.ts';
import { fault, violation } from './violations.ts';

export interface SeenAnswer {
  readonly method: string;
  readonly url: string;
  readonly status: number;
  readonly contentType: string | undefined;
  /** The body as text; undefined for what is not JSON. */
  readonly text: string | undefined;
}

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly body: string | undefined;
}

const ERROR: Misfit['schemaPath'] = 'api/client-server/definitions/errors/error.yaml';
/** A part of the bytes, as HTTP has it for whoever asks so: https://www.rfc-editor.org/rfc/rfc9110#status.206 */
const PART = 206;
const FEDERATED = new Set<Operation['api']>(['server-server']);
/** Of these only what we ask counts: others answer. */
const ASKED = new Set<Operation['api']>(['application-service', 'push-gateway']);

let ready: Promise<SpecChecker> | undefined;

/** One for the process. */
export function specChecker(): Promise<SpecChecker> {
  ready ??= specSchemas().then((schemas) => new SpecChecker(schemas));
  return ready;
}

export class SpecChecker {
  readonly events: EventChecks;
  readonly #schemas: SpecSchemas;
  readonly #operations: Operations;
  readonly #pdus: PduChecks;

  constructor(schemas: SpecSchemas) {
    this.#schemas = schemas;
    this.#operations = new Operations(schemas.bundle);
    this.#pdus = new PduChecks(schemas);
    this.events = new EventChecks(schemas);
  }

  /** An answer of a server of ours. */
  answer(seen: SeenAnswer): void {
    const { method, url, status, contentType, text } = seen;
    const [path = ''] = url.split('?', 1);
    if (!path.startsWith('/_matrix/') && !path.startsWith('/.well-known/matrix/')) return;
    if (method === 'OPTIONS' || method === 'HEAD' || status === 304) return;
    if (isPage(path) || isErrorPage(path, status) || isOutsideStatus(path, status)) return;
    const operation = this.#operations.find(method, path);
    const name = operation === undefined ? `${method} ${path}` : nameOf(operation);
    const what = `the answer ${status} of ${name} (${url})`;
    if (status < 400 && operation !== undefined && isOfBytes(operation)) {
      noteSeen(name);
      this.#status(what, operation, status);
      return;
    }
    const body = text === undefined ? undefined : this.#parsed(what, text);
    if (text !== undefined && body === undefined) return;
    if (status >= 400) {
      if (isScannerRefusal(path, body)) return;
      this.#refusal(what, { name, operation, contentType, status, body });
      return;
    }
    if (operation === undefined) {
      if (outsideOf(path) === undefined) fault(what, 'an operation of the specification', path);
      return;
    }
    noteSeen(name);
    const contents = this.#status(what, operation, status);
    if (contents === undefined) return;
    this.#content(what, { name, contents, contentType, body });
    if (body === undefined) return;
    if (FEDERATED.has(operation.api)) this.#pdus.check(what, body);
    else this.events.check(what, { url, body });
  }

  /** A request of a server of ours. */
  request({ method, url, body: text }: SeenRequest): void {
    const [path = '', query = ''] = url.split('?', 2);
    const operation = this.#operations.find(method, path);
    const what = `the request ${method} ${url}`;
    if (operation === undefined) {
      if (outsideOf(path) === undefined) fault(what, 'an operation of the specification', path);
      return;
    }
    const name = nameOf(operation);
    if (ASKED.has(operation.api)) noteSeen(name);
    this.#report(what, name, queryMisfits(this.#schemas, operation, query));
    const body = text === undefined ? undefined : this.#parsed(what, text);
    const schema = operation.requestBody?.['application/json'];
    if (body === undefined) {
      if (operation.isBodyRequired) fault(what, 'a body');
    } else if (schema === undefined) {
      fault(what, 'no body', body);
    } else {
      if (schema !== true) this.#report(what, name, this.#schemas.misfits(schema, body));
      if (operation.api === 'application-service') this.events.check(what, { url: '', body });
      this.#pdus.check(what, body);
      this.#pdus.checkTransaction(what, body);
    }
  }

  #refusal(
    what: string,
    answer: {
      readonly name: string;
      readonly operation: Operation | undefined;
      readonly contentType: string | undefined;
      readonly status: number;
      readonly body: unknown;
    },
  ): void {
    const { name, operation, contentType, status, body } = answer;
    if (contentType !== 'application/json') {
      fault(what, 'content type application/json', contentType);
      return;
    }
    const declared = operation?.responses[String(status)]?.['application/json'] ?? true;
    // "The homeserver returns an HTTP 401 response, with a JSON body": the flows; where a stage has failed, "with the
    // addition of the standard `errcode` and `error` fields". A missing access token is refused with 401 too.
    const asksForStage = isRecord(body) && body.flows !== undefined;
    const isDeclared = declared !== true && (status !== 401 || asksForStage);
    const misfits = isDeclared ? this.#schemas.misfits(declared, body) : [];
    if (!asksForStage || body.errcode !== undefined) misfits.push(...this.#errorMisfits(body));
    this.#report(what, name, misfits);
  }

  #status(what: string, { responses }: Operation, status: number): Contents | undefined {
    const contents = responses[String(status === PART ? 200 : status)];
    if (contents === undefined) fault(what, `a status of ${Object.keys(responses)}`, status);
    return contents;
  }

  #errorMisfits(body: unknown): Misfit[] {
    const misfits = this.#schemas.misfits(ERROR, body);
    if (!isRecord(body)) return misfits;
    if (typeof body.errcode !== 'string' || !/^[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*$/.test(body.errcode)) {
      misfits.push({ ...PROSE, pointer: '/errcode', expected: 'an error code', value: body.errcode });
    }
    if (typeof body.error !== 'string' || body.error === '') {
      misfits.push({
        ...PROSE,
        pointer: '/error',
        expected: 'what went wrong, for people',
        value: body.error,
      });
    }
    return misfits;
  }

  #content(
    what: string,
    answer: {
      readonly name: string;
      readonly contents: Contents;
      readonly contentType: string | undefined;
      readonly body: unknown;
    },
  ): void {
    const { name, contents, contentType, body } = answer;
    const schema = contents['application/json'];
    if (schema === undefined) return;
    if (contentType !== 'application/json') {
      fault(what, 'content type application/json', contentType);
      return;
    }
    if (schema !== true) this.#report(what, name, this.#schemas.misfits(schema, body));
  }

  #report(what: string, name: string, misfits: readonly Misfit[]): void {
    violation(what, withoutExcepted({ operation: name, asked: what }, misfits));
  }

  #parsed(what: string, text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      fault(what, 'JSON', text);
      return undefined;
    }
  }
}

/** True where a success is bytes that somebody has uploaded, of any content type. */
function isOfBytes({ responses }: Operation): boolean {
  const types = Object.keys(responses['200'] ?? {});
  return types.length > 0 && !types.includes('application/json');
}

const PROSE = { schemaPath: 'prose: standard error response' };

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Requests that come again and again, such as those that wait for news, are answered without the framework where all
 * that this takes is in memory. Whatever is unusual goes the long way, which answers the same: also after a while, when
 * it turns out to be unusual only then.
 */

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { JsonHead } from './json-head.ts';
import type { RestingConnections } from './resting.ts';

export interface DirectRoutesOptions {
  readonly head: JsonHead;
  /** The id of the next request. */
  readonly requestId: () => string;
  /** Told of each answer. */
  readonly onAnswer: ((answer: DirectAnswer) => void) | undefined;
}

export interface DirectAnswer {
  readonly requestId: string;
  readonly method: Method;
  readonly route: string;
  readonly status: number;
  readonly ms: number;
}

type Method = 'GET' | 'POST';

/** Begins to answer a request, whose query is given as it was received. False: it is not answered so. */
export type DirectRoute = (request: DirectRequest, query: string) => boolean;

/** A request that waits: what is to be answered, or given to the long way. */
export interface Answerable {
  /** Answers with JSON. */
  answer(text: string): void;
  /** From now on it is for the framework, as if it had just come. `isOver`: it is to wait no longer. */
  handOver(how: { readonly isOver: boolean }): void;
}

/** Who waits for the answer to a request. */
export interface Waiting {
  /** It is not to be answered any more: its connection has ended, or the long way has it. */
  gone(): void;
  /** From now on it is answered so. */
  rest(by: Answerable): void;
}

/** Those that say that there is a body, or what is in it, by the length of their names. */
const CONTENT_TYPE = 12;
const TRANSFER_ENCODING = 17;
const BODY_HEADERS: ReadonlyMap<number, RegExp> = new Map([
  [CONTENT_TYPE, /^content-type$/i],
  [14, /^content-length$/i],
  [TRANSFER_ENCODING, /^transfer-encoding$/i],
]);

const waitedBefore = new WeakMap<IncomingMessage, number>();

/** How long a request has waited before it went the long way, in milliseconds. */
export function waitedMs(request: IncomingMessage): number {
  return waitedBefore.get(request) ?? 0;
}

export class DirectRoutes {
  readonly options: DirectRoutesOptions;
  /** A few. */
  readonly #places: Place[] = [];
  #longWay: RequestListener = refuse;
  #resting: RestingConnections | undefined;
  #isClosed = false;
  /** As many as are woken in a turn, at most. */
  readonly #written: WholeAnswer[] = [];

  constructor(options: DirectRoutesOptions) {
    this.options = options;
  }

  /** Requests that come to this path, with a query. For a route that is for POST, reading the body is its own affair. */
  add(path: string, route: DirectRoute, method: Method = 'GET'): void {
    this.#places.push({ routes: this, method, path, route });
  }

  /** Connections of requests that wait may rest. */
  restBy(resting: RestingConnections): void {
    this.#resting = resting;
  }

  /** All goes the long way from now on. */
  close(): void {
    this.#isClosed = true;
    this.#resting?.close();
  }

  /** Ends the connections that Node does not know of. */
  cut(): void {
    this.#resting?.cut();
  }

  /** What listens to requests, where `longWay` answers all that is not answered directly. */
  before(longWay: RequestListener): RequestListener {
    this.#longWay = longWay;
    return (request, response) => {
      const waited = this.#resting?.takeWaited(request.socket);
      if (waited !== undefined) this.handOver(request, response, waited);
      else if (!this.#take(request, response)) longWay(request, response);
    };
  }

  /** A request begins to wait, or does so no longer. */
  enter(direct: DirectRequest, waiting: Waiting): void {
    this.#resting?.enter(direct, waiting);
  }

  leave(direct: DirectRequest): void {
    this.#resting?.leave(direct);
  }

  /** Answers with JSON: writes it to the connection, if it is given, else as Node does. */
  answer(
    by: Answered,
    { text, socket }: { readonly text: string; readonly socket: Socket | undefined },
  ): void {
    const { head, requestId, onAnswer } = this.options;
    const { method, path } = by.place;
    const id = requestId();
    const length = Buffer.byteLength(text);
    if (socket === undefined) {
      by.response?.writeHead(200, head.headers(id, length));
      by.response?.end(text);
    } else {
      // Where each byte is a character, nothing has to be encoded.
      const encoding = length === text.length ? 'latin1' : 'utf8';
      this.#write({ by, socket, text: head.text(id, length) + text, encoding });
    }
    onAnswer?.({ requestId: id, method, route: path, status: 200, ms: performance.now() - by.began });
  }

  /**
   * Writes an answer when all that are made in this turn are there: the system has much more to do for each write to
   * somebody who sleeps, as those do who have read the last one while the next was being made.
   */
  #write(whole: WholeAnswer): void {
    if (this.#written.push(whole) === 1) queueMicrotask(() => this.#writeAll());
  }

  #writeAll(): void {
    for (const { by, socket, text, encoding } of this.#written) {
      socket.write(text, encoding);
      by.written();
    }
    this.#written.length = 0;
  }

  handOver(request: IncomingMessage, response: ServerResponse, waited: number): void {
    waitedBefore.set(request, waited);
    this.#longWay(request, response);
  }

  #take(request: IncomingMessage, response: ServerResponse): boolean {
    const { url = '', method } = request;
    if (this.#isClosed || (method !== 'GET' && method !== 'POST')) return false;
    const place = this.#places.find(({ path }) => url[path.length] === '?' && url.startsWith(path));
    if (place?.method !== method || !isPlain(method, request.rawHeaders)) return false;
    return place.route(new DirectRequest(place, request, response), url.slice(place.path.length + 1));
  }
}

/** A request that is answered now. */
interface Answered {
  readonly place: Place;
  /** By `performance.now()`. */
  readonly began: number;
  readonly response?: ServerResponse;
  /** The answer was written to the connection. */
  written(): void;
}

/** Head and body. */
interface WholeAnswer {
  readonly by: Answered;
  readonly socket: Socket;
  readonly text: string;
  readonly encoding: 'latin1' | 'utf8';
}

interface Place {
  readonly routes: DirectRoutes;
  readonly method: Method;
  readonly path: string;
  readonly route: DirectRoute;
}

/** One request, until it is answered or goes the long way. */
export class DirectRequest implements Answerable {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly place: Place;
  readonly began = performance.now();

  constructor(place: Place, request: IncomingMessage, response: ServerResponse) {
    this.place = place;
    this.request = request;
    this.response = response;
  }

  /** It begins to wait; from when `rest` is called on it is answered by what is given there. */
  wait(waiting: Waiting): void {
    // Not taken off again: it closes soon after it was answered.
    this.response.on('close', () => {
      this.place.routes.leave(this);
      waiting.gone();
    });
    this.place.routes.enter(this, waiting);
  }

  answer(text: string): void {
    this.place.routes.leave(this);
    this.place.routes.answer(this, { text, socket: this.plainSocket() });
  }

  /** What Node itself waits for, to let go of the request and to take the next. */
  written(): void {
    this.response.emit('finish');
  }

  /**
   * The connection, where the whole answer may be written to it at once: to have Node put the head together again for
   * each costs more than all else that is done for an answer from memory. Undefined where the connection is not kept
   * alive, an earlier request is answered still, or nothing can be written any more.
   */
  plainSocket(): Socket | undefined {
    const { socket, shouldKeepAlive } = this.response;
    const isPlain = shouldKeepAlive && this.request.httpVersion === '1.1' && socket?.writable === true;
    return isPlain ? socket : undefined;
  }

  handOver({ isOver }: { readonly isOver: boolean }): void {
    const waited = isOver ? Number.POSITIVE_INFINITY : performance.now() - this.began;
    this.place.routes.leave(this);
    this.place.routes.handOver(this.request, this.response, waited);
  }
}

/** True where no header is there twice that must not be, and none says that there is a body where there is none. */
function isPlain(method: Method, rawHeaders: readonly string[]): boolean {
  let [hosts, authorizations, types] = [0, 0, 0];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    // By their lengths first: of each request there are a dozen.
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1;
    else if (name.length === 13 && name.toLowerCase() === 'authorization') authorizations += 1;
    else if (BODY_HEADERS.get(name.length)?.test(name) === true) {
      // A body in pieces of which nobody knows how many there are is for the framework, too.
      if (method === 'GET' || name.length === TRANSFER_ENCODING) return false;
      if (name.length === CONTENT_TYPE) types += 1;
    }
  }
  return hosts <= 1 && authorizations <= 1 && types <= 1;
}

function refuse(): never {
  throw new Error('there is no server yet');
}

/** The connections to one server: HTTP/1.1 by Node, each asked one thing at a time and kept for the next. */

import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Lanes } from '#keys/lanes.ts';
import { nodeHttp } from './node-http.ts';

export interface Question {
  readonly method: 'GET' | 'PUT' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  /** Ends the wait, the request and its answer. */
  readonly signal: AbortSignal;
  /** The longest pause before and within the answer, in milliseconds. */
  readonly idleMs: number | undefined;
}

const MOST_CONNECTIONS = 8;
const IDLE_CONNECTION_MS = 30_000;
const MAX_HEADER_BYTES = 16 * 1024;
/** What a connection fails with that the peer closed while it was idle. */
const CUT_OFF: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE']);

export class Connections {
  readonly #agent: Agent;
  /** Those that are being opened are not counted by the agent, so that its own limit would not hold. */
  readonly #lanes = new Lanes(MOST_CONNECTIONS, Number.POSITIVE_INFINITY);
  #asked = 0;
  #isRetired = false;

  /** `dial` opens a connection, unless its signal ends the attempt; whom it leads to is its affair, and so is TLS. */
  constructor(dial: (signal: AbortSignal | undefined) => Promise<Socket>) {
    this.#agent = new nodeHttp.Agent({
      keepAlive: true,
      // Of probes, which begin after this time: an idle connection is closed before.
      keepAliveMsecs: IDLE_CONNECTION_MS,
      timeout: IDLE_CONNECTION_MS,
    });
    this.#agent.createConnection = ({ signal }, callback) => {
      if (callback === undefined) return undefined;
      dial(signal).then(
        (socket) => callback(null, socket),
        // By its type it would need a connection even where there is none.
        (error: unknown) => Reflect.apply(callback, undefined, [errorOf(error)]),
      );
      return undefined;
    };
  }

  /**
   * Asks, and hands the answer to `take`, which reads it to its end or destroys it. Rejects where there is no answer,
   * and with what `take` throws.
   */
  async ask<T>(question: Question, take: (answer: IncomingMessage) => Promise<T>): Promise<T> {
    this.#asked += 1;
    try {
      return await this.#lanes.run(async () => take(await this.#answerTo(question)), question.signal);
    } finally {
      this.#asked -= 1;
      if (this.#isRetired && this.#asked === 0) this.#agent.destroy();
    }
  }

  /** The requests that run may end; what they leave is closed. */
  retire(): void {
    this.#isRetired = true;
    if (this.#asked === 0) this.#agent.destroy();
  }

  /** Cuts all connections, those of requests under way too. */
  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  /** Every federation request may be repeated: one that met a connection which the peer had closed is. */
  async #answerTo(question: Question): Promise<IncomingMessage> {
    try {
      return await this.#send(question);
    } catch (error) {
      const isCutOff = error instanceof Error && 'code' in error && CUT_OFF.has(error.code);
      if (!isCutOff || question.signal.aborted) throw error;
      return this.#send(question);
    }
  }

  #send({ body, idleMs, ...rest }: Question): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = nodeHttp.request({ ...rest, agent: this.#agent, maxHeaderSize: MAX_HEADER_BYTES });
      if (idleMs !== undefined) endWhenSilent(request, idleMs);
      request.once('response', resolve).on('error', reject).end(body);
    });
  }
}

/** Ends a request whose answer does not go on. Where what has come is not taken yet, that is not the peer's doing. */
function endWhenSilent(request: ClientRequest, idleMs: number): void {
  let answer: IncomingMessage | undefined;
  request.once('response', (response) => {
    answer = response;
  });
  request.on('timeout', () => {
    if (answer === undefined || answer.readableLength === 0)
      request.destroy(new Error('nothing came for too long'));
    else request.setTimeout(idleMs);
  });
  request.setTimeout(idleMs);
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/**
 * Connections whose request waits for long. For each one Node keeps a parser, which has 8 KiB inside for heads that come
 * in pieces, two streams, an answer and some thirty functions: two thirds of what such a request costs, for hours, and of
 * thousands. Nothing of it is needed before there is something to answer.
 *
 * 1. A request has waited for a while. All that came on its connection is this request, whose head is kept as text.
 * 2. Node lets go of the connection, as it does for `Upgrade`, where it has a way to: `letGo`. Otherwise all stays as it is.
 * 3. The answer is written to the connection.
 * 4. With the first byte of the next request the connection is Node's again, as a new one.
 *
 * Whatever else happens before there is an answer, such as more bytes, gives the head back to Node, and the request goes
 * the long way.
 */

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Connections } from './connections.ts';
import type { Answerable, DirectRequest, Waiting } from './direct-routes.ts';
import { endUnlessRead } from './late-requests.ts';

/** For those who are answered sooner more would have to be done than there is to be gained. */
const REST_AFTER_MS = 1_000;
const LOOK_EVERY_MS = 250;
/** In a turn of the loop: it takes some 20 microseconds each. */
const MOST_IN_A_TURN = 50;
const NO_BYTES = Buffer.alloc(0);

export interface RestingOptions {
  readonly server: Server;
  readonly connections: Connections;
  /** How long a connection is kept alive without a request. */
  readonly keepAliveMs: number;
  /** After which time of waiting they rest. */
  readonly restAfterMs?: number | undefined;
}

export class RestingConnections {
  readonly #options: RestingOptions;
  /** Those that may rest when they have waited for a while, in the order in which they came. */
  readonly #waiting = new Map<DirectRequest, Waiting>();
  readonly #resting = new Map<Socket, RestingRequest>();
  /** How long the next request of a connection has waited before, where it was given back to Node. */
  readonly #waited = new WeakMap<Socket, number>();
  readonly #listeners = listenersOf(this.#resting);
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: RestingOptions) {
    this.#options = options;
  }

  /** A request begins to wait. One with a body does not rest. */
  enter(direct: DirectRequest, waiting: Waiting): void {
    if (direct.request.method !== 'GET') return;
    this.#waiting.set(direct, waiting);
    this.#lookSoon(LOOK_EVERY_MS);
  }

  /** It waits no longer. */
  leave(direct: DirectRequest): void {
    this.#waiting.delete(direct);
  }

  /** Those that wait for a request are ended, the others as soon as they are answered. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#waiting.clear();
    for (const resting of this.#resting.values()) if (resting.isAnswered) resting.socket.destroy();
  }

  /** Ends all of them. */
  cut(): void {
    for (const { socket } of this.#resting.values()) socket.destroy();
  }

  /** How long a request has waited that was given back to Node, in milliseconds; undefined for others. */
  takeWaited(socket: Socket): number | undefined {
    const waited = this.#waited.get(socket);
    if (waited !== undefined) this.#waited.delete(socket);
    return waited;
  }

  /** Its request is answered: it waits for the next. */
  answered(socket: Socket): void {
    const { connections, keepAliveMs } = this.#options;
    connections.settle(socket);
    if (this.#isClosed) socket.end();
    else socket.setTimeout(keepAliveMs);
  }

  /** `bytes` are what Node has not read yet. */
  giveBack(socket: Socket, bytes: Buffer, waited?: number): void {
    this.forget(socket);
    if (waited !== undefined) {
      this.#waited.set(socket, waited);
      this.#options.connections.settle(socket);
    }
    for (const [event, listener] of Object.entries(this.#listeners)) socket.off(event, listener);
    this.#options.server.emit('connection', socket);
    socket.unshift(bytes);
  }

  /** It is Node's again, or has ended. */
  forget(socket: Socket): void {
    this.#resting.delete(socket);
  }

  #lookSoon(ms: number): void {
    if (this.#isClosed) return;
    this.#timer ??= setTimeout(() => this.#look(), ms).unref();
  }

  #look(): void {
    this.#timer = undefined;
    const { restAfterMs = REST_AFTER_MS } = this.#options;
    const now = performance.now();
    let turn = 0;
    for (const [direct, waiting] of this.#waiting) {
      if (now - direct.began < restAfterMs) break;
      if (turn === MOST_IN_A_TURN) {
        this.#lookSoon(0);
        return;
      }
      turn += 1;
      this.#waiting.delete(direct);
      const resting = this.#rest(direct, waiting);
      if (resting !== undefined) waiting.rest(resting);
    }
    if (this.#waiting.size > 0) this.#lookSoon(LOOK_EVERY_MS);
  }

  /** Undefined where all stays as it is. */
  #rest(direct: DirectRequest, waiting: Waiting): RestingRequest | undefined {
    const { server, connections } = this.#options;
    const { request, response } = direct;
    const socket = direct.plainSocket();
    const head = headOf(request);
    const mayRest =
      request.headers.expect === undefined &&
      socket?.writableLength === 0 &&
      !socket.isPaused() &&
      connections.hasSentOnly(socket, head.length);
    if (!mayRest || !letGo(server, request, response)) return undefined;
    const resting = new RestingRequest(this, { direct, waiting, socket, head });
    this.#resting.set(socket, resting);
    for (const [event, listener] of Object.entries(this.#listeners)) socket.on(event, listener);
    return resting;
  }
}

interface Rested {
  readonly direct: DirectRequest;
  readonly waiting: Waiting;
  readonly socket: Socket;
  readonly head: string;
}

/** One request whose connection rests, and then the connection until the next request comes. */
export class RestingRequest implements Answerable {
  readonly socket: Socket;
  readonly place: DirectRequest['place'];
  readonly began: number;
  readonly #lane: RestingConnections;
  /** Undefined when it is answered. */
  #waiting: Waiting | undefined;
  #head: string;

  constructor(lane: RestingConnections, { direct, waiting, socket, head }: Rested) {
    this.#lane = lane;
    this.#waiting = waiting;
    this.#head = head;
    this.socket = socket;
    this.place = direct.place;
    this.began = direct.began;
  }

  get isAnswered(): boolean {
    return this.#waiting === undefined;
  }

  answer(text: string): void {
    this.#waiting = undefined;
    this.#head = '';
    // Its client has said that it takes no more.
    if (!this.socket.writable) return;
    this.place.routes.answer(this, { text, socket: this.socket });
  }

  written(): void {
    this.#lane.answered(this.socket);
  }

  handOver({ isOver }: { readonly isOver: boolean }): void {
    this.#giveBack(NO_BYTES, isOver ? Number.POSITIVE_INFINITY : performance.now() - this.began);
  }

  /** More bytes have come. */
  received(bytes: Buffer): void {
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#lane.giveBack(this.socket, bytes);
      return;
    }
    this.#giveBack(bytes, performance.now() - this.began);
    waiting.gone();
  }

  /** The connection has ended. */
  ended(): void {
    this.#lane.forget(this.socket);
    this.#waiting?.gone();
  }

  #giveBack(more: Buffer, waited: number): void {
    this.#waiting = undefined;
    this.#lane.giveBack(this.socket, Buffer.concat([Buffer.from(this.#head, 'latin1'), more]), waited);
  }
}

/**
 * Has Node let go of a connection whose request it has read to its end. Where a request asks for another protocol Node does
 * so by itself, when it has read what has come; it is told that this one does, and given no bytes to read. False where that
 * had no effect: a later version may do it in another way, and where another request has come it is that one that counts.
 */
function letGo(server: Server, request: IncomingMessage, response: ServerResponse): boolean {
  let isFree = false;
  const onUpgrade = () => {
    isFree = true;
  };
  const { socket } = request;
  // For so long only: who does ask for another protocol is answered in this one.
  server.once('upgrade', onUpgrade);
  Object.assign(request, { upgrade: true });
  socket.emit('data', NO_BYTES);
  Object.assign(request, { upgrade: false });
  server.off('upgrade', onUpgrade);
  if (isFree) response.detachSocket(socket);
  return isFree;
}

/** Shared by all connections that rest: `this` is the one that it happens to. */
function listenersOf(resting: ReadonlyMap<Socket, RestingRequest>) {
  return {
    data(this: Socket, bytes: Buffer) {
      resting.get(this)?.received(bytes);
    },
    // Who says no more takes no more: as Node has it.
    end(this: Socket) {
      this.end();
    },
    close(this: Socket) {
      resting.get(this)?.ended();
    },
    // It closes then.
    error() {},
    timeout(this: Socket) {
      endUnlessRead(this, () => {
        if (resting.get(this)?.isAnswered === true || this.writableLength > 0) this.destroy();
      });
    },
  };
}

/** As it was sent, if it was written as everybody does. */
function headOf({ method, url, rawHeaders }: IncomingMessage): string {
  const lines = rawHeaders.map((text, index) => (index % 2 === 0 ? `${text}: ` : `${text}\r\n`));
  return [`${method} ${url} HTTP/1.1\r\n`, ...lines, '\r\n'].join('');
}

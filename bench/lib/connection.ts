/**
 * One keep-alive HTTP/1.1 connection, one request at a time, and as little work per request as can be: a load
 * generator shares the machine with the server that it measures.
 */

import net from 'node:net';

export interface Answer {
  readonly status: number;
  readonly body: string;
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

const HEAD_END = Buffer.from('\r\n\r\n');

export class Connection {
  readonly #host: string;
  readonly #socket: net.Socket;
  /** Of the answer that is coming. */
  #received: Buffer[] = [];
  #bytes = 0;
  /** It is not whole before so many bytes are there. */
  #awaited = 0;
  #waiting: Waiting | undefined;

  private constructor(host: string, socket: net.Socket) {
    this.#host = host;
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#onData(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  /** Connects to an `http://host:port` URL. */
  static open(url: string): Promise<Connection> {
    const { hostname, port, host } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = net.connect(Number(port), hostname);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new Connection(host, socket));
      });
    });
  }

  /** Sends a request and answers what came back, whatever its status. `path` is encoded already. */
  request(method: string, path: string, options: { token?: string; body?: object } = {}): Promise<Answer> {
    const body = options.body === undefined ? '' : JSON.stringify(options.body);
    return this.send(`${this.head(method, path, options.token)}${lengthOf(body)}`, body);
  }

  /** The first lines of a request, to be kept and used for many. */
  head(method: string, path: string, token: string | undefined): string {
    const authorization = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`;
    return `${method} ${path} HTTP/1.1\r\nHost: ${this.#host}\r\n${authorization}`;
  }

  /** Sends a request whose head, up to and with the empty line, is written already. */
  send(head: string, body: string): Promise<Answer> {
    if (this.#waiting !== undefined) throw new Error('one request at a time');
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(head + body);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #onData(chunk: Buffer): void {
    this.#received.push(chunk);
    this.#bytes += chunk.length;
    // Put together once all is there: of an answer of 30 MB that would else be done hundreds of times.
    if (this.#bytes < this.#awaited) return;
    const bytes = this.#received.length === 1 ? chunk : Buffer.concat(this.#received);
    const answer = parseAnswer(bytes);
    if (typeof answer === 'number') {
      this.#received = [bytes];
      this.#awaited = answer;
      return;
    }
    this.#received = [];
    this.#bytes = 0;
    this.#awaited = 0;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve(answer);
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}

/** The lines that end the head of a request with a JSON body. */
export function lengthOf(body: string): string {
  return `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
}

/** One whole answer; while some of it is still to come, how many bytes there are at least. */
function parseAnswer(bytes: Buffer): Answer | number {
  const headEnd = bytes.indexOf(HEAD_END);
  if (headEnd === -1) return bytes.length + 1;
  const head = bytes.toString('latin1', 0, headEnd);
  const status = Number(head.slice(9, 12));
  const bodyStart = headEnd + HEAD_END.length;
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length !== undefined) {
    const bodyEnd = bodyStart + Number(length);
    return bytes.length < bodyEnd ? bodyEnd : { status, body: bytes.toString('utf8', bodyStart, bodyEnd) };
  }
  if (!/\r\ntransfer-encoding: *chunked/i.test(head))
    throw new Error(`an answer of unknown length:\n${head}`);
  const body = parseChunks(bytes, bodyStart);
  return typeof body === 'number' ? body : { status, body };
}

function parseChunks(bytes: Buffer, start: number): string | number {
  const chunks: Buffer[] = [];
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd === -1) return bytes.length + 1;
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    const next = lineEnd + 2 + size + 2;
    if (bytes.length < next) return next;
    if (size === 0) return Buffer.concat(chunks).toString();
    chunks.push(bytes.subarray(lineEnd + 2, next - 2));
    at = next;
  }
}

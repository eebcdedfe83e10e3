/** The head of a 200 answer with JSON: as headers, or as the lines that Node makes of them. */

export interface JsonHeadOptions {
  /** Of every answer. */
  readonly headers: Readonly<Record<string, string>>;
  /** How long a connection is kept alive without a request. */
  readonly keepAliveMs: number;
}

const SECOND = 1_000;
const OF_JSON = { 'x-content-type-options': 'nosniff', 'content-type': 'application/json' };
const JSON_LINES = linesOf(OF_JSON);

export class JsonHead {
  readonly #headers: Readonly<Record<string, string>>;
  /** What is the same in all, before the id of the request, and after the date. */
  readonly #start: string;
  readonly #end: string;
  #date = '';
  /** That of the date, since 1970. */
  #second = 0;

  constructor({ headers, keepAliveMs }: JsonHeadOptions) {
    this.#headers = headers;
    this.#start = `HTTP/1.1 200 OK\r\n${linesOf(headers)}x-request-id: `;
    this.#end = `\r\nConnection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / SECOND)}\r\n\r\n`;
  }

  /** For an answer with so many bytes. */
  headers(requestId: string, length: number): Record<string, string> {
    return { ...this.#headers, 'x-request-id': requestId, ...OF_JSON, 'content-length': `${length}` };
  }

  /** The same as it is sent on a connection that is kept alive, up to and with the empty line. */
  text(requestId: string, length: number): string {
    const now = Date.now();
    const second = Math.floor(now / SECOND);
    if (second !== this.#second) {
      this.#date = new Date(now).toUTCString();
      this.#second = second;
    }
    return `${this.#start}${requestId}\r\n${JSON_LINES}content-length: ${length}\r\nDate: ${this.#date}${this.#end}`;
  }
}

function linesOf(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
}

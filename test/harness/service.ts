/** An application service of the test's own: a real HTTP server on loopback, which takes what it is told. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { stringify } from 'yaml';
import { type Answer, type Body, request, type Target } from './client.ts';
import { freePort } from './free-port.ts';
import { until } from './until.ts';

export interface ServiceRequest {
  readonly method: string;
  /** As received. */
  readonly url: string;
  readonly authorization: string | undefined;
  readonly body: Body;
}

/** Answers with JSON and a status, or by hand. */
export type ServiceAnswer =
  | { readonly status?: number; readonly json?: unknown; readonly text?: string }
  | ((response: ServerResponse) => void);

export interface TestServiceOptions {
  readonly id?: string;
  /** Members of the registration file, besides the usual ones. */
  readonly registration?: object;
  readonly namespaces?: object;
  /** What it answers where it does not simply take what it is told. */
  readonly answer?: (
    request: ServiceRequest,
  ) => ServiceAnswer | undefined | Promise<ServiceAnswer | undefined>;
}

const USERS = [{ regex: '@_bridge_.*', exclusive: true }];

export class TestService {
  readonly id: string;
  readonly asToken: string;
  readonly hsToken: string;
  readonly requests: ServiceRequest[] = [];
  /** Those that it has taken, by their ids as often as they came. */
  readonly transactions: { readonly txnId: string; readonly body: Body }[] = [];
  readonly #options: TestServiceOptions;
  readonly #server = createServer((incoming, response) => void this.#answer(incoming, response));
  answer: TestServiceOptions['answer'];
  /** Known once it was started. */
  #port: number | undefined;
  #transaction = 0;

  constructor(options: TestServiceOptions) {
    this.#options = options;
    this.id = options.id ?? 'bridge';
    this.asToken = `as_token_of_${this.id}`;
    this.hsToken = `hs_token_of_${this.id}`;
    this.answer = options.answer;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The registration file. */
  get yaml(): string {
    return stringify({
      id: this.id,
      url: this.url,
      as_token: this.asToken,
      hs_token: this.hsToken,
      sender_localpart: `_${this.id}_bot`,
      rate_limited: false,
      namespaces: this.#options.namespaces ?? { users: USERS, aliases: [], rooms: [] },
      ...this.#options.registration,
    });
  }

  /** Every event that it was told, in the order in which it came; once for each transaction. */
  get events(): Body[] {
    return this.#once().flatMap(({ body }) => body.events);
  }

  get ephemeral(): Body[] {
    return this.#once().flatMap(({ body }) => body.ephemeral ?? []);
  }

  async start(): Promise<void> {
    this.#port ??= await freePort();
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** As one of its users, or its own. `path` from `/_matrix/` on, or from after `v3`. */
  try(
    server: Target,
    method: string,
    path: string,
    { as, body }: { as?: string; body?: unknown } = {},
  ): Promise<Answer> {
    const full = path.startsWith('/_') ? path : `/_matrix/client/v3${path}`;
    const user = as === undefined ? '' : `${full.includes('?') ? '&' : '?'}user_id=${encodeURIComponent(as)}`;
    return request(server, method, `${full}${user}`, { body, token: this.asToken });
  }

  /** As `try`, and expects success. */
  async do(
    server: Target,
    method: string,
    path: string,
    given: { as?: string; body?: unknown } = {},
  ): Promise<Body> {
    const answer = await this.try(server, method, path, given);
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** Makes a user of its own; answers the id. */
  async register(server: Target, username: string): Promise<string> {
    const body = { type: 'm.login.application_service', username, inhibit_login: true };
    return (await this.do(server, 'POST', '/register', { body })).user_id;
  }

  async send(server: Target, roomId: string, text: string, as?: string): Promise<string> {
    this.#transaction += 1;
    const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${this.id}${this.#transaction}`;
    const body = { msgtype: 'm.text', body: text };
    return (await this.do(server, 'PUT', path, { body, ...(as !== undefined && { as }) })).event_id;
  }

  /** Waits until it was told an event of this id. */
  async untilTold(eventId: string): Promise<Body> {
    const find = () => this.events.find((event) => event.event_id === eventId);
    await until(() => find() !== undefined, `${this.id} was told of ${eventId}`);
    return find();
  }

  #once(): { readonly txnId: string; readonly body: Body }[] {
    return [...new Map(this.transactions.map((transaction) => [transaction.txnId, transaction])).values()];
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const { method = '', url = '', headers } = incoming;
    const body: Body = text === '' ? undefined : JSON.parse(text);
    const asked = { method, url, authorization: headers.authorization, body };
    this.requests.push(asked);
    const answer = (await this.answer?.(asked)) ?? usual(asked);
    if (typeof answer === 'function') {
      answer(response);
      return;
    }
    const { status = 200, json = {} } = answer;
    const txnId = /\/transactions\/([^/?]+)/.exec(url)?.[1];
    if (txnId !== undefined && status === 200) this.transactions.push({ txnId, body });
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(answer.text ?? JSON.stringify(json));
  }
}

export async function startService(options: TestServiceOptions = {}): Promise<TestService> {
  const service = new TestService(options);
  await service.start();
  return service;
}

/** Takes transactions, and knows nothing else: as the bridge of Mattermost does. */
function usual({ url }: ServiceRequest): ServiceAnswer {
  return url.includes('/transactions/') ? {} : { status: 404, text: '404 page not found\n' };
}

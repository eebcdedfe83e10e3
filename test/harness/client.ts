/** A thin client of the client-server API, for tests. */

import assert from 'node:assert/strict';
import { specChecker } from './spec/checker.ts';
import { throwViolations } from './spec/violations.ts';
import { LONGEST_MS } from './until.ts';

/** What a server answers; `body` is parsed JSON. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of many shapes
export type Body = any;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
}

/** Where to send requests; the base address is read at each, since a restarted server may have another. */
export interface Target {
  readonly clientUrl: string;
  /**
   * `checked` where the server runs in this process, which checks its answers by itself; `foreign` for a server
   * that is not ours. Else the client checks them against the specification.
   */
  readonly answersAre?: 'checked' | 'foreign';
}

let accounts = 0;

/** Makes an account by open registration and signs it in. Without a name it gets one of its own. */
export async function register(server: Target, name?: string): Promise<TestClient> {
  accounts += 1;
  const username = name ?? `user${accounts}`;
  const password = `password of ${username}`;
  const answer = await request(server, 'POST', '/_matrix/client/v3/register', {
    body: { username, password, auth: { type: 'm.login.dummy' } },
  });
  assert.equal(answer.status, 200, `cannot register ${username}: ${JSON.stringify(answer.body)}`);
  return new TestClient(server, { ...answer.body, password });
}

/** Signs an account in on a new device. */
export async function login(server: Target, user: string, password: string): Promise<TestClient> {
  const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password };
  const answer = await request(server, 'POST', '/_matrix/client/v3/login', { body });
  assert.equal(answer.status, 200, `cannot sign in ${user}: ${JSON.stringify(answer.body)}`);
  return new TestClient(server, { ...answer.body, password });
}

export interface RequestOptions {
  readonly body?: unknown;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One request; a string or bytes as the body are sent as they are. */
export async function request(
  server: Target,
  method: string,
  path: string,
  { body, token, headers = {} }: RequestOptions = {},
): Promise<Answer> {
  const isRaw = typeof body === 'string' || body instanceof Uint8Array;
  const response = await fetch(`${server.clientUrl}${path}`, {
    method,
    headers: {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(body !== undefined && { body: isRaw ? (body as string) : JSON.stringify(body) }),
  });
  const text = await response.text();
  const contentType = response.headers.get('content-type') ?? undefined;
  const isJson = contentType?.startsWith('application/json') === true;
  const { status } = response;
  if (server.answersAre === undefined) {
    const checker = await specChecker();
    checker.events.noteRequest(method, path, body);
    checker.answer({ method, url: path, status, contentType, text: isJson ? text : undefined });
  }
  if (server.answersAre !== 'foreign') await throwViolations();
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}

export interface SyncOptions {
  readonly since?: string;
  /** In milliseconds. */
  readonly timeout?: number;
  /** An id, or a filter. */
  readonly filter?: string | object;
  readonly fullState?: boolean;
}

/** Somebody who is signed in. Methods without "try" expect success. */
export class TestClient {
  readonly server: Target;
  readonly userId: string;
  readonly deviceId: string;
  readonly accessToken: string;
  readonly password: string;
  #transactions = 0;

  constructor(
    server: Target,
    session: { user_id: string; device_id: string; access_token: string; password: string },
  ) {
    this.server = server;
    this.userId = session.user_id;
    this.deviceId = session.device_id;
    this.accessToken = session.access_token;
    this.password = session.password;
  }

  /** A request of which the status is not known beforehand. `path` from `/_matrix/` on, or from after `v3`. */
  try(method: string, path: string, body?: unknown): Promise<Answer> {
    const full = path.startsWith('/_') ? path : `/_matrix/client/v3${path}`;
    return request(this.server, method, full, { body, token: this.accessToken });
  }

  get(path: string): Promise<Body> {
    return this.#succeed('GET', path);
  }

  post(path: string, body: unknown = {}): Promise<Body> {
    return this.#succeed('POST', path, body);
  }

  put(path: string, body: unknown = {}): Promise<Body> {
    return this.#succeed('PUT', path, body);
  }

  delete(path: string): Promise<Body> {
    return this.#succeed('DELETE', path);
  }

  /** Makes a room and answers its id; a public one unless told otherwise. */
  async createRoom(options: object = {}): Promise<string> {
    const { room_id: roomId } = await this.post('/createRoom', { preset: 'public_chat', ...options });
    return roomId;
  }

  /** Joins a room by its id or alias. */
  join(room: string, via: readonly string[] = []): Promise<Body> {
    const query = via.map((server) => `via=${encodeURIComponent(server)}`).join('&');
    return this.post(`/join/${encodeURIComponent(room)}?${query}`);
  }

  /** Sends a text message and answers its event id. */
  async send(roomId: string, text: string): Promise<string> {
    return this.sendEvent(roomId, 'm.room.message', { msgtype: 'm.text', body: text });
  }

  /** Sends an event and answers its id. */
  async sendEvent(roomId: string, type: string, content: object): Promise<string> {
    this.#transactions += 1;
    const path = `/rooms/${encodeURIComponent(roomId)}/send/${encodeURIComponent(type)}/t${this.#transactions}`;
    const { event_id: eventId } = await this.put(path, content);
    return eventId;
  }

  sync({ since, timeout = 0, filter, fullState }: SyncOptions = {}): Promise<Body> {
    const query = new URLSearchParams({ timeout: String(timeout) });
    if (since !== undefined) query.set('since', since);
    if (filter !== undefined)
      query.set('filter', typeof filter === 'string' ? filter : JSON.stringify(filter));
    if (fullState !== undefined) query.set('full_state', String(fullState));
    return this.get(`/sync?${query}`);
  }

  /** Syncs until an answer fulfils `condition`, which it answers; fails after `timeout` milliseconds. */
  async syncUntil(
    condition: (answer: Body) => boolean,
    { since, timeout = LONGEST_MS }: SyncOptions = {},
  ): Promise<Body> {
    const end = Date.now() + timeout;
    let token = since;
    for (;;) {
      const left = end - Date.now();
      assert.ok(left > 0, `${this.userId} waited ${timeout} ms in vain`);
      // One after the other: each continues where the last one ended.
      const answer = await this.sync({ ...(token !== undefined && { since: token }), timeout: left });
      if (condition(answer)) return answer;
      token = answer.next_batch;
    }
  }

  async #succeed(method: string, path: string, body?: unknown): Promise<Body> {
    const answer = await this.try(method, path, body);
    assert.equal(answer.status, 200, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }
}

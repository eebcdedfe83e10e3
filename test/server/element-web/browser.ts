/** A client in a web browser: before each call the browser asks whether the page may make it. */

import assert from 'node:assert/strict';
import { type Answer, type Body, request, type Target } from '#test/harness/client.ts';
import { type Downloaded, getBytes } from '#test/harness/media.ts';
import { LONGEST_MS } from '#test/harness/until.ts';

const ORIGIN = 'https://app.element.io';
const V3 = '/_matrix/client/v3';

export interface Session {
  readonly userId: string;
  readonly deviceId: string;
  readonly token: string;
}

/** Signs in as Element Web does where there is no OAuth: by the password. */
export async function signInOnWeb(server: Target, user: string, password: string): Promise<Browser> {
  const body = await new Browser(server).call('POST', '/login', {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user },
    password,
    initial_device_display_name: 'app.element.io: Firefox on Linux',
  });
  return new Browser(server, { userId: body.user_id, deviceId: body.device_id, token: body.access_token });
}

export class Browser {
  readonly #server: Target;
  readonly #session: Session | undefined;
  #transactions = 0;

  constructor(server: Target, session?: Session) {
    this.#server = server;
    this.#session = session;
  }

  get userId(): string {
    return this.#session?.userId ?? '';
  }

  get deviceId(): string {
    return this.#session?.deviceId ?? '';
  }

  /** `path` from after `v3`, or whole. */
  async try(method: string, path: string, body?: unknown, type = 'application/json'): Promise<Answer> {
    const full = path.startsWith('/_') || path.startsWith('/.well-known') ? path : `${V3}${path}`;
    await this.#preflight(method, full);
    const token = this.#session?.token;
    const answer = await request(this.#server, method, full, {
      ...(body !== undefined && { body }),
      ...(token !== undefined && { token }),
      headers: { origin: ORIGIN, ...(body !== undefined && { 'content-type': type }) },
    });
    assert.equal(answer.headers.get('access-control-allow-origin'), '*', full);
    return answer;
  }

  /** A call that succeeds. */
  async call(method: string, path: string, body?: unknown, type?: string): Promise<Body> {
    const answer = await this.try(method, path, body, type);
    assert.equal(answer.status, 200, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** A call that is refused so. */
  async refused(method: string, path: string, expected: readonly [number, string]): Promise<void> {
    const { status, body } = await this.try(method, path, method === 'GET' ? undefined : {});
    assert.deepEqual([status, body.errcode], expected, `${method} ${path}`);
  }

  /** A message to devices, in a transaction of its own. */
  async sendToDevice(type: string, messages: Readonly<Record<string, object>>): Promise<void> {
    this.#transactions += 1;
    const path = `/sendToDevice/${encodeURIComponent(type)}/m${Date.now()}.${this.#transactions}`;
    assert.deepEqual(await this.call('PUT', path, { messages }), {});
  }

  /** What its service worker fetches for the page: media, with the token. */
  async media(path: string): Promise<Downloaded> {
    const full = `/_matrix/client/v1/media/${path}`;
    await this.#preflight('GET', full);
    const answer = await getBytes(this.#server, full, {
      ...(this.#session !== undefined && { token: this.#session.token }),
      headers: { origin: ORIGIN },
    });
    assert.equal(answer.headers.get('access-control-allow-origin'), '*');
    assert.equal(answer.headers.get('cross-origin-resource-policy'), 'cross-origin');
    return answer;
  }

  async sync(query: Readonly<Record<string, string>> = {}): Promise<Body> {
    const text = new URLSearchParams({
      timeout: '0',
      'org.matrix.msc4222.use_state_after': 'true',
      ...query,
    });
    return this.call('GET', `/sync?${text}`);
  }

  /** Long polls until an answer is what is waited for. */
  async syncUntil(since: string, isIt: (answer: Body) => boolean): Promise<Body> {
    const end = Date.now() + LONGEST_MS;
    let token = since;
    for (;;) {
      assert.ok(Date.now() < end, `${this.userId} waited in vain`);
      // One after the other: each goes on where the last one ended.
      const answer = await this.sync({ since: token, timeout: '2000', set_presence: 'online' });
      if (isIt(answer)) return answer;
      token = answer.next_batch;
    }
  }

  async #preflight(method: string, path: string): Promise<void> {
    const { status, headers } = await request(this.#server, 'OPTIONS', path, {
      headers: {
        origin: ORIGIN,
        'access-control-request-method': method,
        'access-control-request-headers': 'authorization,content-type',
      },
    });
    assert.ok(status === 200 || status === 204, `OPTIONS ${path}: ${status}`);
    assert.equal(headers.get('access-control-allow-origin'), '*');
    assert.ok(listed(headers, 'access-control-allow-methods').includes(method.toLowerCase()), method);
    const allowed = listed(headers, 'access-control-allow-headers');
    assert.ok(allowed.includes('authorization') && allowed.includes('content-type'), String(allowed));
  }
}

function listed(headers: Headers, name: string): string[] {
  return (headers.get(name) ?? '').split(',').map((word) => word.trim().toLowerCase());
}

/**
 * A push service of the test's own, as those of browsers: real HTTPS on loopback. What an app gets from it is decrypted
 * by somebody else's implementation of RFC 8188 and 8291.
 */

import { createECDH, type ECDH, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Config } from '#server/config-options.ts';
import { createAuthority } from './certificates.ts';
import type { Answer, Body, TestClient } from './client.ts';
import { type TestFolder, temporaryFolder } from './databases.ts';
import { type Peer, type PeerAnswer, type PeerRequest, startPeer } from './peer.ts';
import { until } from './until.ts';

const ece = createRequire(import.meta.url)('http_ece') as {
  decrypt(body: Buffer, options: { version: string; privateKey: ECDH; authSecret: string }): Buffer;
};

export class TestPushService {
  /** In the place of that it takes everything. */
  answer: (request: PeerRequest) => PeerAnswer = () => ({ status: 201, json: {} });
  readonly #peer: Peer;
  readonly #folder: TestFolder;

  constructor(peer: Peer, folder: TestFolder) {
    this.#peer = peer;
    this.#folder = folder;
  }

  /** Of a server that may reach it. */
  get options(): Partial<Config> {
    return {
      ...{ webPush: true, privatePushGateways: ['localhost'], pushCa: [join(this.#folder.path, 'ca.pem')] },
      supportContacts: [{ role: 'm.role.admin', matrixId: undefined, emailAddress: 'admin@kurir.test' }],
    };
  }

  get origin(): string {
    return `https://${this.#peer.name}`;
  }

  get requests(): readonly PeerRequest[] {
    return this.#peer.requests;
  }

  app(): TestApp {
    return new TestApp(this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#peer[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** An app that is sent to by the service. */
export class TestApp {
  readonly auth = randomBytes(16).toString('base64url');
  readonly path = `/push/${randomBytes(8).toString('hex')}`;
  readonly #keys = createECDH('prime256v1');
  readonly #service: TestPushService;

  constructor(service: TestPushService) {
    this.#service = service;
    this.#keys.generateKeys();
  }

  get pushkey(): string {
    return this.#keys.getPublicKey('base64url');
  }

  /** The messages that it got, the first first. */
  get messages(): Body[] {
    return this.requests.map(({ bytes }) => JSON.parse(this.decrypt(bytes)));
  }

  get requests(): readonly PeerRequest[] {
    return this.#service.requests.filter(({ url }) => url === this.path);
  }

  decrypt(bytes: Buffer): string {
    const options = { version: 'aes128gcm', privateKey: this.#keys, authSecret: this.auth };
    return ece.decrypt(bytes, options).toString();
  }

  /** Sets its pusher. */
  set(user: TestClient, more: { readonly data?: object } = {}): Promise<Answer> {
    return user.try('POST', '/pushers/set', {
      ...{ kind: 'webpush', app_id: 'org.example.web', pushkey: this.pushkey, lang: 'en' },
      ...{ app_display_name: 'App', device_display_name: 'Browser', append: true, ...more },
      data: { url: `${this.#service.origin}${this.path}`, auth: this.auth, ...more.data },
    });
  }

  /** Sets its pusher, and activates it. */
  async subscribe(user: TestClient, more: { readonly data?: object } = {}): Promise<void> {
    const before = this.requests.length;
    await this.set(user, more);
    await until(() => this.requests.length > before, 'what the pusher is activated by');
    await user.post('/pushers/ack', this.messages[before]);
  }

  async untilTold(eventId: string): Promise<Body> {
    const find = () => this.messages.find((message) => message.event_id === eventId);
    await until(() => find() !== undefined, `the app was told of ${eventId}`);
    return find();
  }
}

export async function startPushService(): Promise<TestPushService> {
  const authority = await createAuthority();
  const folder = await temporaryFolder();
  await writeFile(join(folder.path, 'ca.pem'), authority.cert);
  const peer: Peer = await startPeer({ authority, answer: (request) => service.answer(request) });
  const service = new TestPushService(peer, folder);
  return service;
}

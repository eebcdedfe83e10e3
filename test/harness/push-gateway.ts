/** A push gateway of the test's own: real HTTPS on loopback, which takes what it is told. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '#server/config-options.ts';
import { createAuthority, type TestAuthority } from './certificates.ts';
import type { Body, TestClient } from './client.ts';
import { type TestFolder, temporaryFolder } from './databases.ts';
import { type Peer, type PeerAnswer, startPeer } from './peer.ts';
import { until } from './until.ts';

export class TestGateway {
  /** In the place of that it takes everything. */
  answer: (notification: Body) => PeerAnswer | Promise<PeerAnswer> = () => ({ json: { rejected: [] } });
  readonly #peer: Peer;
  readonly #folder: TestFolder;

  constructor(peer: Peer, folder: TestFolder) {
    this.#peer = peer;
    this.#folder = folder;
  }

  /** Of a server that may reach it. */
  get options(): Partial<Config> {
    return { privatePushGateways: ['localhost'], pushCa: [join(this.#folder.path, 'ca.pem')] };
  }

  get url(): string {
    return `https://${this.#peer.name}/_matrix/push/v1/notify`;
  }

  /** All that it was told, the first first. */
  get told(): Body[] {
    return this.#peer.requests.map(({ body }) => JSON.parse(body).notification);
  }

  get events(): string[] {
    return this.told.flatMap(({ event_id: eventId }) => (eventId === undefined ? [] : [eventId]));
  }

  async pusherOf(user: TestClient, more: { data?: object; pushkey?: string } = {}): Promise<void> {
    await user.post('/pushers/set', {
      kind: 'http',
      app_id: 'org.example.app',
      pushkey: `key of ${user.userId}`,
      app_display_name: 'App',
      device_display_name: 'Phone',
      lang: 'en',
      append: true,
      ...more,
      data: { url: this.url, ...more.data },
    });
  }

  async untilTold(eventId: string): Promise<Body> {
    const find = () => this.told.find((notification) => notification.event_id === eventId);
    await until(() => find() !== undefined, `the gateway was told of ${eventId}`);
    return find();
  }

  stop(): Promise<void> {
    return this.#peer.stop();
  }

  start(): Promise<void> {
    return this.#peer.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#peer[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** `authority`: in place of one of its own. */
export async function startGateway(authority?: TestAuthority): Promise<TestGateway> {
  return gatewayBy(authority ?? (await createAuthority()));
}

async function gatewayBy(authority: TestAuthority): Promise<TestGateway> {
  const folder = await temporaryFolder();
  await writeFile(join(folder.path, 'ca.pem'), authority.cert);
  const peer: Peer = await startPeer({
    authority,
    answer: ({ body }) => gateway.answer(JSON.parse(body).notification),
  });
  const gateway = new TestGateway(peer, folder);
  return gateway;
}

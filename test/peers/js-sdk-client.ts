/** Clients of matrix-js-sdk for tests: signed in, in sync, quiet, and without a trace when the test ends. */

import assert from 'node:assert/strict';
import { createClient, type MatrixClient, type Room, SyncState } from 'matrix-js-sdk';
import type { CryptoCallbacks } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { register, type Target } from '#test/harness/client.ts';
import { until } from '#test/harness/until.ts';

// It says each step on the console.
for (const level of ['trace', 'debug', 'log', 'info', 'warn', 'error'] as const) {
  console[level] = () => undefined;
}
// It leaves timers of more than a minute behind its long polls, for which the process would wait.
const { setTimeout } = globalThis;
globalThis.setTimeout = Object.assign(
  (...args: Parameters<typeof setTimeout>) => setTimeout(...args).unref(),
  setTimeout,
) as typeof setTimeout;

export interface SdkSession {
  readonly server: Target;
  readonly name: string;
  readonly encrypts?: boolean;
  /** How it asks for the recovery key. */
  readonly recovery?: { readonly callbacks: CryptoCallbacks };
}

/** Makes an account and signs it in. */
export async function signUp(session: SdkSession): Promise<SdkUser> {
  await register(session.server, session.name);
  return signIn(session);
}

/** Signs in on a new device, and waits for its first sync. */
export async function signIn({ server, name, encrypts = false, recovery }: SdkSession): Promise<SdkUser> {
  const baseUrl = server.clientUrl;
  const session = await createClient({ baseUrl }).loginRequest({
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: name },
    password: `password of ${name}`,
  });
  const client = createClient({
    baseUrl,
    userId: session.user_id,
    accessToken: session.access_token,
    deviceId: session.device_id,
    ...(recovery !== undefined && { cryptoCallbacks: recovery.callbacks, verificationMethods: ['m.sas.v1'] }),
  });
  if (encrypts) await client.initRustCrypto({ useIndexedDB: false });
  await client.startClient({ initialSyncLimit: 5, pollTimeout: 5_000 });
  await until(() => client.getSyncState() === SyncState.Syncing, `that ${name} is in sync`);
  return new SdkUser(client, name);
}

/** A user at a client, and what the client shows. */
export class SdkUser implements Disposable {
  readonly client: MatrixClient;
  readonly name: string;

  constructor(client: MatrixClient, name: string) {
    this.client = client;
    this.name = name;
  }

  get userId(): string {
    return this.client.getSafeUserId();
  }

  room(roomId: string): Room {
    const room = this.client.getRoom(roomId);
    assert.ok(room, `${this.userId} does not see the room`);
    return room;
  }

  /** One's own membership, or another's. */
  membership(roomId: string, userId = this.userId): string | undefined {
    return this.client.getRoom(roomId)?.getMember(userId)?.membership;
  }

  /** The texts in the timeline of a room, as far as it was read. */
  messages(roomId: string): string[] {
    const events = this.client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
    return events
      .filter((event) => event.getType() === 'm.room.message')
      .map((event) => event.getContent().body);
  }

  say(roomId: string, body: string): Promise<{ event_id: string }> {
    return this.client.sendTextMessage(roomId, body);
  }

  async untilSees(roomId: string, body: string): Promise<void> {
    await until(() => this.messages(roomId).includes(body), `that ${this.userId} sees "${body}"`);
  }

  async untilMembership(roomId: string, membership: string, userId = this.userId): Promise<void> {
    await until(
      () => this.membership(roomId, userId) === membership,
      `that ${this.userId} sees ${userId} as ${membership}`,
    );
  }

  [Symbol.dispose](): void {
    this.client.stopClient();
  }
}

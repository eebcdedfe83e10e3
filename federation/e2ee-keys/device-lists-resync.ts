/**
 * Makes good for updates of device lists that were missed: the servers of the users are asked for the whole lists, one
 * user after the other, until they answer. What is to be asked for is on disk; after a restart it goes on.
 */

import type { ServerName, UserId } from '#keys/ids.ts';
import { Lanes } from '#keys/lanes.ts';
import * as memberships from '#storage/memberships.ts';
import * as remoteDeviceLists from '#storage/remote-device-lists.ts';
import type { FederationFailure } from '../client.ts';
import type { FederationContext } from '../context.ts';
import { isForGood } from '../remote/answer.ts';
import { MISSED, type RemoteListsContext, refresh } from './device-lists-remote.ts';

type ResyncContext = RemoteListsContext & Pick<FederationContext, 'backoff' | 'log'>;

const SERVERS_AT_ONCE = 8;
const SERVERS_PER_PAGE = 500;
const USERS_PER_PAGE = 100;
const SWEEP_EVERY_MS = 24 * 60 * 60_000;
const FIRST_RETRY_MS = 30_000;
const LONGEST_RETRY_MS = 60 * 60_000;

interface Pause {
  readonly failures: number;
  readonly timer: NodeJS.Timeout;
}

export class DeviceListResync {
  readonly #ctx: ResyncContext;
  readonly #lanes = new Lanes(SERVERS_AT_ONCE, Number.POSITIVE_INFINITY);
  readonly #workers = new Map<ServerName, Promise<void>>();
  /** Servers that did not answer: each until it shows a sign of life, or its timer ends. */
  readonly #pauses = new Map<ServerName, Pause>();
  /** Servers of whose users something more was missed since their worker began. */
  readonly #again = new Set<ServerName>();
  readonly #stop = new AbortController();
  #unsubscribe: (() => void)[] = [];
  #looking: Promise<void> | undefined;
  #isAwaited = false;
  #sweep: NodeJS.Timeout | undefined;
  #forgetting: Promise<void> | undefined;

  constructor(ctx: ResyncContext) {
    this.#ctx = ctx;
  }

  /** Takes up what the last process left. */
  start(): void {
    this.#unsubscribe = [
      this.#ctx.streams.subscribe(MISSED, () => this.#lookSoon()),
      this.#ctx.backoff.onRecovery((server) => this.#resume(server)),
    ];
    this.#lookSoon();
    this.#sweep = setInterval(() => this.#forgetSoon(), SWEEP_EVERY_MS).unref();
    this.#forgetSoon();
  }

  /** Ends what is under way; it stays on disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const { timer } of this.#pauses.values()) clearTimeout(timer);
    clearInterval(this.#sweep);
    await this.#forgetting;
    await this.#looking;
    await Promise.all(this.#workers.values());
  }

  #forgetSoon(): void {
    this.#forgetting ??= this.#forget()
      .catch((error: unknown) => this.#ctx.log.error({ err: error }, 'old device lists were not forgotten'))
      .finally(() => {
        this.#forgetting = undefined;
      });
  }

  /** Forgets the lists of users who share no room with ours any more: nobody tells us what changes in them. */
  async #forget(): Promise<void> {
    const { db, serverName } = this.#ctx;
    for (let after: string | undefined = ''; after !== undefined && !this.#stop.signal.aborted; ) {
      // Page by page, each after the last, and each a write of its own.
      const users: UserId[] = await remoteDeviceLists.allOf(db, { after, limit: USERS_PER_PAGE });
      await db.write('deviceLists.forget', async (tx) => {
        const sharing = await memberships.sharingWithServer(tx, serverName, users);
        for (const userId of users) if (!sharing.has(userId)) await remoteDeviceLists.remove(tx, userId);
      });
      after = users.length < USERS_PER_PAGE ? undefined : users.at(-1);
    }
  }

  #lookSoon(): void {
    if (this.#stop.signal.aborted) return;
    this.#isAwaited = true;
    this.#looking ??= this.#look()
      .catch((error: unknown) =>
        this.#ctx.log.error({ err: error }, 'missed device lists were not looked for'),
      )
      .finally(() => {
        this.#looking = undefined;
        if (this.#isAwaited) this.#lookSoon();
      });
  }

  /** Begins with each server of whose users something was missed. */
  async #look(): Promise<void> {
    this.#isAwaited = false;
    for (let after: ServerName | undefined = ''; after !== undefined && !this.#stop.signal.aborted; ) {
      // Page by page, each after the last.
      const servers: ServerName[] = await remoteDeviceLists.staleServers(
        this.#ctx.db,
        after,
        SERVERS_PER_PAGE,
      );
      for (const server of servers) if (!this.#pauses.has(server)) this.#wake(server);
      after = servers.length < SERVERS_PER_PAGE ? undefined : servers.at(-1);
    }
  }

  #resume(server: ServerName): void {
    const pause = this.#pauses.get(server);
    if (pause === undefined) return;
    clearTimeout(pause.timer);
    this.#pauses.delete(server);
    this.#wake(server, pause.failures);
  }

  #wake(server: ServerName, failures = 0): void {
    if (this.#stop.signal.aborted) return;
    if (this.#workers.has(server)) {
      this.#again.add(server);
      return;
    }
    const worker = this.#lanes
      .run(() => this.#work(server, failures))
      .catch((error: unknown) => {
        this.#ctx.log.error({ err: error, server }, 'missed device lists were not fetched');
        this.#pause(server, { failures });
      })
      .finally(() => {
        this.#workers.delete(server);
        if (this.#again.delete(server) && !this.#pauses.has(server)) this.#wake(server);
      });
    this.#workers.set(server, worker);
  }

  async #work(server: ServerName, failures: number): Promise<void> {
    const { db } = this.#ctx;
    for (let after: string | undefined = ''; after !== undefined; ) {
      // Page by page, and user after user: no server is asked much at once.
      const users = await remoteDeviceLists.staleOf(db, server, { after, limit: USERS_PER_PAGE });
      for (const userId of users) {
        if (this.#stop.signal.aborted) return;
        const answer = await refresh(this.#ctx, server, { userId, signal: this.#stop.signal });
        if (answer.kind === 'ok') continue;
        if (!isForGood(answer)) return this.#pause(server, { failures, failure: answer });
        // Its keys cannot be had this way: whoever needs them makes us ask again.
        // Where somebody has got them meanwhile they stay: what changes in them is to be told.
        await db.write('deviceLists.giveUp', (tx) => remoteDeviceLists.removeStale(tx, userId));
      }
      after = users.at(-1);
    }
  }

  /** Leaves a server alone for a while, each time twice as long. */
  #pause(server: ServerName, { failures, failure }: { failures: number; failure?: FederationFailure }): void {
    if (this.#stop.signal.aborted) return;
    const own = FIRST_RETRY_MS * 2 ** Math.min(failures, 10);
    const wait = Math.min(Math.max(own, failure?.retryAfterMs ?? 0), LONGEST_RETRY_MS);
    const timer = setTimeout(() => this.#resume(server), wait).unref();
    this.#pauses.set(server, { failures: failures + 1, timer });
  }
}

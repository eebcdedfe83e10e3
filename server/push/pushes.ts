/**
 * Notifies users by their pushers: https://spec.matrix.org/v1.19/client-server-api/#push-notifications
 *
 * Follows the events of all rooms and writes down who is to be told of which (`recipients.ts`), in one transaction with
 * how far it has read; what is written down is handed on by `delivery.ts`.
 */

import type { UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { Slices } from '#rooms/slices.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import type { Tx } from '#storage/database.ts';
import * as pushers from '#storage/pushers.ts';
import * as waitingPushes from '#storage/waiting-pushes.ts';
import { EventFollower } from '../event-follower.ts';
import { Badges } from './badges.ts';
import { PushDelivery } from './delivery.ts';
import { type GatewayOptions, Gateways } from './gateway.ts';
import { Recipients } from './recipients.ts';
import type { UnreadCounts } from './unread.ts';

const BATCH = 100;
const LINGER_MS = 5;
/** After what the user did the number on their icons is looked at: seldom, since they may be reading on. */
const BADGE_MS = 500;

export class Pushes {
  readonly #ctx: RoomsContext;
  /** Who has pushers, and how the watch over what they do is ended. */
  readonly #users = new Map<UserId, () => void>();
  readonly #badgeTimers = new Map<UserId, NodeJS.Timeout>();
  readonly #stopping = new AbortController();
  readonly #gateways: Gateways;
  readonly #delivery: PushDelivery;
  readonly #recipients: Recipients;
  readonly #follower: EventFollower<readonly waitingPushes.WaitingPush[]>;

  constructor(ctx: RoomsContext, unread: UnreadCounts, options: GatewayOptions) {
    this.#ctx = ctx;
    const { signal } = this.#stopping;
    this.#gateways = new Gateways(options, signal);
    this.#recipients = new Recipients(ctx, unread, (userId) => this.#users.has(userId));
    this.#delivery = new PushDelivery(ctx, {
      ...{ gateways: this.#gateways, badges: new Badges(ctx, unread), signal },
      onGone: (userId) => this.#forget(userId),
    });
    this.#follower = new EventFollower(ctx, {
      ...{ name: 'push', batch: BATCH, lingerMs: LINGER_MS, withOutOfBand: true },
      prepare: (events) => this.#prepare(events),
      apply: (tx, waiting) => this.#write(tx, waiting),
    });
  }

  /** Goes on with what the last process left. */
  async start(): Promise<void> {
    for (const userId of await pushers.users(this.#ctx.db)) this.added(userId);
    this.#follower.start();
    for (const userId of await waitingPushes.users(this.#ctx.db)) this.#delivery.wake(userId);
  }

  /** The user has set a pusher. */
  added(userId: UserId): void {
    if (this.#users.has(userId) || this.#stopping.signal.aborted) return;
    this.#users.set(
      userId,
      this.#ctx.streams.subscribe(`user:${userId}`, () => this.#lookAtBadge(userId)),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#follower[Symbol.asyncDispose]();
    this.#stopping.abort();
    for (const timer of this.#badgeTimers.values()) clearTimeout(timer);
    for (const userId of [...this.#users.keys()]) this.#forget(userId);
    await this.#delivery[Symbol.asyncDispose]();
    await this.#gateways[Symbol.asyncDispose]();
  }

  async #prepare(events: readonly StoredEvent[]): Promise<readonly waitingPushes.WaitingPush[] | undefined> {
    if (this.#users.size === 0) return undefined;
    const waiting: waitingPushes.WaitingPush[] = [];
    const slices = new Slices();
    for (const stored of events) {
      // In order, since the later ones of a room find in memory what the first has read.
      waiting.push(...(await this.#recipients.of(stored)));
      await slices.rest();
    }
    return waiting.length > 0 ? waiting : undefined;
  }

  async #write(tx: Tx, waiting: readonly waitingPushes.WaitingPush[]): Promise<void> {
    await waitingPushes.add(tx, waiting);
    tx.afterCommit(() => {
      for (const { userId } of waiting) this.#delivery.wake(userId);
    });
  }

  #lookAtBadge(userId: UserId): void {
    if (this.#badgeTimers.has(userId)) return;
    const timer = setTimeout(() => {
      this.#badgeTimers.delete(userId);
      this.#delivery.wake(userId);
    }, BADGE_MS).unref();
    this.#badgeTimers.set(userId, timer);
  }

  #forget(userId: UserId): void {
    this.#users.get(userId)?.();
    this.#users.delete(userId);
  }
}

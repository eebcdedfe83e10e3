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
import { type MailContext, MailPushers, type NewMail } from './mail-pushers.ts';
import { Recipients } from './recipients.ts';
import type { UnreadCounts } from './unread.ts';
import type { Vapid } from './vapid.ts';
import { WebPush } from './web-push.ts';

interface Prepared {
  readonly waiting: readonly waitingPushes.WaitingPush[];
  readonly mails: readonly NewMail[];
}

const BATCH = 100;
const FIRST_BATCH = 5;
/** How much is written down at once, about: events of large rooms are followed by fewer at a time. */
const MOST_WRITTEN = 2_000;
const LINGER_MS = 5;
/** After what the user did the number on their icons is looked at: seldom, since they may be reading on. */
const BADGE_MS = 500;

export interface PushesOptions {
  readonly gateways: GatewayOptions;
  /** Where the operator has switched Web Push on. */
  readonly vapid: Vapid | undefined;
  /** Where there is a mail server, and the operator permits letters about unread messages. */
  readonly mail: MailContext | undefined;
}

export class Pushes {
  /** Undefined where the operator has not switched it on. */
  readonly webPush: WebPush | undefined;
  readonly #ctx: RoomsContext;
  /** Who has pushers, and how the watch over what they do is ended. */
  readonly #users = new Map<UserId, () => void>();
  readonly #badgeTimers = new Map<UserId, NodeJS.Timeout>();
  readonly #stopping = new AbortController();
  readonly #gateways: Gateways;
  readonly #delivery: PushDelivery;
  readonly #recipients: Recipients;
  readonly #mail: MailPushers | undefined;
  readonly #follower: EventFollower<Prepared>;
  #batch = FIRST_BATCH;

  constructor(ctx: RoomsContext, unread: UnreadCounts, { gateways, vapid, mail }: PushesOptions) {
    this.#ctx = ctx;
    const { signal } = this.#stopping;
    this.#gateways = new Gateways(gateways, signal);
    this.#mail = mail && new MailPushers(mail);
    this.webPush = vapid && new WebPush(this.#gateways, vapid);
    this.#recipients = new Recipients(ctx, unread, (userId) => this.#users.has(userId));
    this.#delivery = new PushDelivery(ctx, {
      ...{ gateways: this.#gateways, webPush: this.webPush, badges: new Badges(ctx, unread), signal },
      onGone: (userId) => this.#forgetIfGone(userId),
    });
    this.#follower = new EventFollower(ctx, {
      ...{ name: 'push', lingerMs: LINGER_MS, withOutOfBand: true },
      batch: () => this.#batch,
      prepare: (events) => this.#prepare(events),
      apply: (tx, prepared) => this.#write(tx, prepared),
    });
  }

  /** Goes on with what the last process left. */
  async start(): Promise<void> {
    for (const userId of await pushers.users(this.#ctx.db)) this.#watch(userId);
    await this.#mail?.start();
    this.#follower.start();
    for (const userId of await waitingPushes.users(this.#ctx.db)) this.#delivery.wake(userId);
  }

  /** A user has set a pusher. */
  added(pusher: pushers.Pusher): void {
    const { userId, kind } = pusher;
    this.#watch(userId);
    this.#delivery.forgive(pusher);
    if (kind === 'email') this.#mail?.added(userId);
  }

  /** Sends an app that has set a pusher what it activates it by. */
  async askToActivate(pusher: pushers.Pusher, token: string): Promise<void> {
    const answer = await this.webPush?.activate(pusher, token);
    if (answer === undefined || answer.kind === 'taken') return;
    const { userId, appId } = pusher;
    const reason = answer.kind === 'failed' ? answer.reason : 'it is not known there';
    this.#ctx.log.info({ userId, appId, reason }, 'a push service took no request to activate a pusher');
    if (answer.kind === 'rejected')
      await this.#ctx.db.write('pushers.reject', (tx) => pushers.removeRejected(tx, pusher));
  }

  #watch(userId: UserId): void {
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
    await this.#mail?.[Symbol.asyncDispose]();
  }

  async #prepare(events: readonly StoredEvent[]): Promise<Prepared | undefined> {
    if (this.#users.size === 0) return undefined;
    const waiting: waitingPushes.WaitingPush[] = [];
    const slices = new Slices();
    for (const stored of events) {
      // In order, since the later ones of a room find in memory what the first has read.
      for (const push of await this.#recipients.of(stored, slices)) waiting.push(push);
    }
    const ofEach = Math.ceil(waiting.length / Math.max(1, events.length));
    this.#batch = Math.min(BATCH, Math.ceil(MOST_WRITTEN / Math.max(1, ofEach)));
    if (waiting.length === 0) return undefined;
    return { waiting, mails: (await this.#mail?.prepare(waiting)) ?? [] };
  }

  async #write(tx: Tx, { waiting, mails }: Prepared): Promise<void> {
    await waitingPushes.add(tx, waiting);
    await this.#mail?.apply(tx, mails);
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

  /** In line with who sets pushers: or one that is being set would be forgotten with those before it. */
  async #forgetIfGone(userId: UserId): Promise<void> {
    await this.#ctx.db.write('pushers.forgetUser', async (tx) => {
      if ((await pushers.ofUser(tx, userId)).length === 0) this.#forget(userId);
    });
  }

  #forget(userId: UserId): void {
    this.#users.get(userId)?.();
    this.#users.delete(userId);
  }
}

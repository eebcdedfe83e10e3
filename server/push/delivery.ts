/**
 * Hands on what waits to the pushers of one user after the other.
 *
 * 1. What waits for a user is read anew, the newest of it. What was read, redacted or left meanwhile is passed over, and
 *    so is what is too old to be news.
 * 2. Each pusher is told in order what came after the position up to which it was told. One that fails is tried again,
 *    later and later, and then told what is newest by then.
 * 3. What all pushers of the user have been told is forgotten.
 *
 * A process that ends in between tells some again: gateways know them by their event ids.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { Lanes } from '#keys/lanes.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadNids } from '#rooms/load.ts';
import { threadOf } from '#rooms/relations/thread.ts';
import { getRoomByNid } from '#rooms/room.ts';
import { Slices } from '#rooms/slices.ts';
import { visibleTo } from '#rooms/visibility.ts';
import type { Tx } from '#storage/database.ts';
import { Lru } from '#storage/lru.ts';
import * as memberships from '#storage/memberships.ts';
import * as pushers from '#storage/pushers.ts';
import * as waitingPushes from '#storage/waiting-pushes.ts';
import type { Badges } from './badges.ts';
import type { Gateways, Notified } from './gateway.ts';
import { countsItself, countsNotification, eventNotification, type Told } from './notification.ts';
import { isRead, readUptoOf } from './read-upto.ts';
import { Retries } from './retries.ts';
import type { WebPush } from './web-push.ts';

export interface DeliveryParts {
  readonly gateways: Gateways;
  /** Undefined where the operator has not switched it on. */
  readonly webPush: WebPush | undefined;
  readonly badges: Badges;
  readonly signal: AbortSignal;
  /** The user has no pushers any more. */
  readonly onGone: (userId: UserId) => Promise<void>;
}

interface Due extends Told {
  readonly position: number;
}

interface Tellable {
  readonly due: readonly Due[];
  readonly newest: number | undefined;
  readonly unread: number;
}

interface ToTell extends Tellable {
  readonly own: readonly pushers.Pusher[];
  readonly waiting: readonly waitingPushes.WaitingPush[];
}

/** How long one pusher may keep the others of its user waiting. */
const PATIENCE_MS = 500;
const NOTED_WITHIN_MS = 20;
const MOST_FAILURES = 3;
const USERS_AT_ONCE = 500;
/** Of these, those of whom is read what they are told: all members of a room are woken at the same time. */
const READ_AT_ONCE = 4;
const MOST_AT_ONCE = 20;
const MOST_TOLD = 100_000;
const MOST_AGE_MS = 24 * 60 * 60_000;

export class PushDelivery {
  readonly #ctx: RoomsContext;
  readonly #parts: DeliveryParts;
  readonly #due = new Set<UserId>();
  readonly #running = new Map<UserId, Promise<void>>();
  readonly #readers = new Lanes(READ_AT_ONCE, Number.POSITIVE_INFINITY);
  readonly #slices = new Slices();
  readonly #retries: Retries;
  /** By pusher: those that take long. */
  readonly #slow = new Map<string, Promise<void>>();
  /** By pusher: the number of unread messages that it was told last. */
  readonly #told = new Lru<string, number>({ maxEntries: MOST_TOLD });
  readonly #notes: ((tx: Tx) => Promise<void>)[] = [];
  #noting: Promise<void> | undefined;

  constructor(ctx: RoomsContext, parts: DeliveryParts) {
    this.#ctx = ctx;
    this.#parts = parts;
    this.#retries = new Retries((userId) => this.wake(userId));
  }

  /** Something waits for the user, or the number of unread messages may have become another. */
  wake(userId: UserId): void {
    if (this.#parts.signal.aborted) return;
    this.#due.add(userId);
    this.#begin();
  }

  /** A pusher was set anew: what it failed at before does not count any more. */
  forgive(pusher: pushers.PusherKey): void {
    this.#retries.succeeded(keyOf(pusher));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#due.clear();
    this.#retries[Symbol.dispose]();
    await Promise.all(this.#running.values());
    await Promise.all(this.#slow.values());
  }

  #begin(): void {
    for (const userId of this.#due) {
      if (this.#running.size >= USERS_AT_ONCE) return;
      if (this.#running.has(userId)) continue;
      this.#due.delete(userId);
      const running = this.#deliver(userId)
        .catch((error: unknown) => {
          this.#ctx.log.error({ err: error, userId }, 'a user was not notified: it is tried again');
          this.#retries.failed(userId, userId);
        })
        .finally(() => {
          this.#running.delete(userId);
          if (!this.#parts.signal.aborted) this.#begin();
        });
      this.#running.set(userId, running);
    }
  }

  async #deliver(userId: UserId): Promise<void> {
    const what = await this.#readers.run(async () => {
      await this.#slices.rest();
      return this.#read(userId);
    });
    const { own, waiting, newest } = what;
    if (own.length === 0) {
      if (newest !== undefined) await this.#forget(userId, newest);
      return;
    }
    // Each for itself: one that hangs does not hold up the others.
    const reached = await Promise.all(own.map((pusher) => this.#tellSoon(pusher, what)));
    if (newest !== undefined && reached.every((position) => position >= newest)) {
      await this.#forget(userId, newest);
      return;
    }
    if (newest === undefined) return;
    await this.#note(async (tx) => {
      for (const [index, pusher] of own.entries()) {
        const position = reached[index] ?? 0;
        if (position > pusher.delivered) await pushers.setDelivered(tx, pusher, position);
      }
      // The oldest of what is more than is told at once is not told any more.
      const first = waiting[0];
      if (first !== undefined && waiting.length === MOST_AT_ONCE)
        await waitingPushes.removeUpto(tx, userId, first.position - 1);
    });
  }

  /** What the pushers of a user are to be told. */
  async #read(userId: UserId): Promise<ToTell> {
    const { db } = this.#ctx;
    const waiting = await waitingPushes.newest(db, userId, MOST_AT_ONCE);
    const all = await pushers.ofUser(db, userId);
    const own = all.filter((pusher) => this.#isTold(pusher));
    const newest = waiting.at(-1)?.position;
    if (all.length === 0) await this.#parts.onGone(userId);
    if (own.length === 0) return { own, waiting, due: [], newest, unread: 0 };
    const told = Math.min(...own.map(({ delivered }) => delivered));
    const due = await this.#stillDue(
      userId,
      waiting.filter(({ position }) => position > told),
    );
    return { own, waiting, due, newest, unread: await this.#parts.badges.of(userId) };
  }

  /** "Pushers that are not enabled do not produce push notifications of any kind" (MSC3881). */
  #isTold({ kind, enabled, activated }: pushers.Pusher): boolean {
    if (!enabled || !activated) return false;
    return kind === 'http' || (kind === 'webpush' && this.#parts.webPush !== undefined);
  }

  async #forget(userId: UserId, position: number): Promise<void> {
    await this.#note((tx) => waitingPushes.removeUpto(tx, userId, position));
  }

  /** What was told is written down for many users at a time: a commit costs as much as a push. */
  #note(write: (tx: Tx) => Promise<void>): Promise<void> {
    this.#notes.push(write);
    this.#noting ??= sleep(NOTED_WITHIN_MS).then(() => {
      const notes = this.#notes.splice(0);
      this.#noting = undefined;
      return this.#ctx.db.write('pushes.told', async (tx) => {
        for (const note of notes) await note(tx);
      });
    });
    return this.#noting;
  }

  /** Without what became old, was read, or may not be seen any more. */
  async #stillDue(userId: UserId, waiting: readonly waitingPushes.WaitingPush[]): Promise<Due[]> {
    const events = await loadNids(
      this.#ctx,
      waiting.map(({ nid }) => nid),
    );
    const recent: Due[] = [];
    const oldest = this.#ctx.clock.now() - MOST_AGE_MS;
    for (const { nid, position, actions } of waiting) {
      const stored = events.get(nid);
      if (stored === undefined || stored.redactedBy !== undefined || stored.receivedTs < oldest) continue;
      // A few of one user.
      const room = await getRoomByNid(this.#ctx, stored.roomNid);
      if (room !== undefined) recent.push({ userId, position, actions, stored, roomId: room.roomId });
    }
    const news = new Set<Due>();
    for (const [roomNid, ofRoom] of Map.groupBy(recent, ({ stored }) => stored.roomNid)) {
      // Mostly they are all of one room.
      for (const due of await this.#newsIn(roomNid, userId, ofRoom)) news.add(due);
    }
    return recent.filter((due) => news.has(due));
  }

  /** What is news of one room. */
  async #newsIn(roomNid: number, userId: UserId, recent: readonly Due[]): Promise<readonly Due[]> {
    const isOwn = ({ stored: { event } }: Due) => event.type === 'm.room.member' && event.stateKey === userId;
    const member = await memberships.of(this.#ctx.db, roomNid, userId);
    if (member?.membership !== 'join') {
      const invitation = member?.membership === 'invite' ? member.eventNid : undefined;
      return recent.filter((due) => isOwn(due) && due.stored.nid === invitation);
    }
    const unread = await this.#unreadAmong(
      roomNid,
      userId,
      recent.filter((due) => !isOwn(due)),
    );
    if (unread.length === 0) return [];
    const events = unread.map(({ stored }) => stored);
    const isVisible = await visibleTo(this.#ctx, roomNid, { userId }, events);
    return unread.filter((_, index) => isVisible[index] === true);
  }

  async #unreadAmong(roomNid: number, userId: UserId, recent: readonly Due[]): Promise<readonly Due[]> {
    if (recent.length === 0) return [];
    const read = await readUptoOf(this.#ctx, roomNid, userId);
    const unread: Due[] = [];
    for (const due of recent) {
      const { position } = due.stored;
      // The thread of most is in the event itself.
      if (
        position !== undefined &&
        !isRead(read, { position, thread: await threadOf(this.#ctx, due.stored) })
      )
        unread.push(due);
    }
    return unread;
  }

  /** The same as `#tell`; but of one that takes long it is heard later, and the user's others go on meanwhile. */
  async #tellSoon(pusher: pushers.Pusher, what: Tellable): Promise<number> {
    const key = keyOf(pusher);
    if (this.#slow.has(key)) return pusher.delivered;
    let isLate = false;
    const telling = this.#tell(pusher, what).then(async (reached) => {
      if (!isLate) return reached;
      if (reached > pusher.delivered) await this.#note((tx) => pushers.setDelivered(tx, pusher, reached));
      return reached;
    });
    const late = Promise.withResolvers<'late'>();
    const timer = setTimeout(late.resolve, PATIENCE_MS, 'late').unref();
    const first = await Promise.race([telling, late.promise]).finally(() => clearTimeout(timer));
    if (typeof first === 'number') return first;
    isLate = true;
    const ending = telling
      .then(
        () => undefined,
        (error: unknown) => {
          this.#ctx.log.error({ err: error, userId: pusher.userId }, 'a pusher was not told');
          this.#retries.failed(key, pusher.userId);
        },
      )
      .finally(() => {
        this.#slow.delete(key);
        this.wake(pusher.userId);
      });
    this.#slow.set(key, ending);
    return pusher.delivered;
  }

  /** Tells one pusher; answers up to where it was told, or passed over. */
  async #tell(pusher: pushers.Pusher, what: Tellable): Promise<number> {
    const { due, newest = pusher.delivered, unread } = what;
    const { userId } = pusher;
    const url = URL.parse(String(pusher.data.url));
    const key = keyOf(pusher);
    if (url === null) return newest;
    const mayTry = (): boolean => this.#retries.mayTry(key) && this.#retries.mayTry(url.origin);
    if (!mayTry()) {
      this.#retries.waitFor(userId, [key, url.origin]);
      return pusher.delivered;
    }
    const missed = due.filter(({ position }) => position > pusher.delivered);
    // Who was away for long wants the newest, and what a gateway does not take must not keep the rest back.
    const news = this.#retries.failuresOf(key) < MOST_FAILURES ? missed : missed.slice(-1);
    let reached = pusher.delivered;
    for (const told of news) {
      // One after the other, so that the newest is shown last.
      const notification = await eventNotification(this.#ctx, pusher, told, unread);
      const outcome = await this.#notify({ pusher, url, key }, notification, mayTry);
      if (outcome === 'removed') return newest;
      if (outcome !== 'taken') return reached;
      reached = told.position;
    }
    if (news.length === 0 && (countsItself(pusher) || this.#told.get(key) === unread)) return newest;
    // Read elsewhere: "The counts may be sent along with a notification about an event or by themselves."
    if (news.length === 0) {
      const outcome = await this.#notify({ pusher, url, key }, countsNotification(pusher, unread), mayTry);
      if (outcome === 'failed' || outcome === 'replaced') return reached;
    }
    this.#told.set(key, unread);
    return newest;
  }

  async #notify(
    { pusher, url, key }: { readonly pusher: pushers.Pusher; readonly url: URL; readonly key: string },
    notification: JsonObject,
    mayTry: () => boolean,
  ): Promise<'taken' | 'removed' | 'replaced' | 'failed'> {
    const { userId, appId } = pusher;
    const answer = await this.#send(pusher, url, notification, mayTry);
    if (answer.kind !== 'failed') {
      this.#retries.succeeded(key);
      this.#retries.succeeded(url.origin);
      if (answer.kind === 'taken') return 'taken';
      // "Homeservers must cease sending notification requests for these pushkeys and remove the associated pushers."
      const isRemoved = await this.#ctx.db.write('pushers.reject', (tx) =>
        pushers.removeRejected(tx, pusher),
      );
      if (!isRemoved) {
        // Its app has set it anew meanwhile: it is told by that.
        this.wake(userId);
        return 'replaced';
      }
      this.#ctx.log.info({ userId, appId }, 'a push gateway or service rejected a pusher: it is removed');
      return 'removed';
    }
    if (this.#parts.signal.aborted) return 'failed';
    if (mayTry()) {
      const { reason } = answer;
      this.#ctx.log.warn(
        { host: url.host, userId, reason },
        'a push gateway or service took no notification',
      );
      this.#retries.failed(key, userId, answer.waitMs);
      if (answer.isAway) this.#retries.failed(url.origin, userId);
    }
    this.#retries.waitFor(userId, [key, url.origin]);
    return 'failed';
  }

  #send(
    pusher: pushers.Pusher,
    url: URL,
    notification: JsonObject,
    mayTry: () => boolean,
  ): Promise<Notified> {
    const { gateways, webPush } = this.#parts;
    return pusher.kind === 'webpush' && webPush !== undefined
      ? webPush.notify(pusher, notification, mayTry)
      : gateways.notify(url, pusher.pushkey, notification, mayTry);
  }
}

function keyOf({ appId, pushkey, userId }: pushers.PusherKey): string {
  return `${appId}\n${pushkey}\n${userId}`;
}

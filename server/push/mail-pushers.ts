/**
 * Letters about unread messages, for pushers of the kind `email`.
 *
 * 1. The first event that notifies the user sets the time of the letter; what comes until then is told with it.
 * 2. At that time what is still unread is told in one letter; nothing is sent where everything was read meanwhile.
 * 3. After a letter the next one waits longer, unless the user has read what that one told of.
 *
 * A letter that the mail server does not take is tried again, later and later. A process that ends after a letter was
 * handed over and before that was written down sends it again.
 */

import { DueTimer } from '#keys/due-timer.ts';
import type { UserId } from '#keys/ids.ts';
import type { Tx } from '#storage/database.ts';
import * as pushers from '#storage/pushers.ts';
import * as threepids from '#storage/threepids.ts';
import * as userLanguages from '#storage/user-languages.ts';
import * as users from '#storage/users.ts';
import type { WaitingPush } from '#storage/waiting-pushes.ts';
import type { Config } from '../config-options.ts';
import type { Mailer } from '../email/mailer.ts';
import { unreadLetter } from '../email/unread-letter.ts';
import { UNSUBSCRIBE_PATH, unsubscribeToken } from '../email/unsubscribe.ts';
import { languageOf, speechIn } from '../languages/choose.ts';
import type { Seal } from '../seal.ts';
import { type NotificationsContext, notificationPage } from './notifications.ts';
import { isNotForMail, unreadRooms } from './unread-mail.ts';

export type MailContext = NotificationsContext & {
  readonly config: Config;
  readonly mailer: Mailer;
  readonly seal: Seal;
};

/** A pusher that something is to be told by, as it was when that was found; `waitMs` where no letter was due then. */
export interface NewMail {
  readonly pusher: pushers.MailPusher;
  readonly waitMs: number | undefined;
}

const AT_ONCE = 4;
const SLOWER = 6;
const LONGEST_WAIT_MS = 24 * 60 * 60_000;
const RETRY_MS = 60_000;

export class MailPushers {
  readonly #ctx: MailContext;
  readonly #users = new Set<UserId>();
  /** Who was notified of something while a letter to them was due already. */
  readonly #noticed = new Set<UserId>();
  readonly #timer: DueTimer;
  #running: Promise<void> | undefined;
  #isStopping = false;

  constructor(ctx: MailContext) {
    this.#ctx = ctx;
    this.#timer = new DueTimer({ clock: ctx.clock, wake: () => this.#wake() });
  }

  /** Goes on with what the last process left. */
  async start(): Promise<void> {
    for (const userId of await pushers.usersWithMail(this.#ctx.db)) this.#users.add(userId);
    this.#timer.set(this.#ctx.clock.now());
  }

  /** The user has set a pusher of the kind email. */
  added(userId: UserId): void {
    this.#users.add(userId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    this.#timer.stop();
    await this.#running;
  }

  /** What letters there are to be by what users are notified of. */
  async prepare(waiting: readonly WaitingPush[]): Promise<readonly NewMail[]> {
    const userIds = new Set<UserId>();
    for (const { userId, actions } of waiting)
      if (this.#users.has(userId) && !isNotForMail(actions)) userIds.add(userId);
    if (userIds.size === 0) return [];
    const mails: NewMail[] = [];
    for (const pusher of await pushers.mailOf(this.#ctx.db, userIds)) {
      if (!pusher.enabled) continue;
      // One after the other: seldom, since those of whom a letter is due are not looked at.
      const waitMs = pusher.dueTs === undefined ? await this.#nextWaitOf(pusher) : undefined;
      mails.push({ pusher, waitMs });
    }
    return mails;
  }

  /** Writes down when letters are due. In line with what is written after a letter: nobody is missed in between. */
  async apply(tx: Tx, mails: readonly NewMail[]): Promise<void> {
    if (mails.length === 0) return;
    const waits = new Map(mails.map(({ pusher, waitMs }) => [keyOf(pusher), waitMs]));
    const times: number[] = [];
    for (const pusher of await pushers.mailOf(tx, new Set(mails.map(({ pusher: { userId } }) => userId)))) {
      if (!waits.has(keyOf(pusher))) continue;
      if (pusher.dueTs !== undefined) {
        this.#noticed.add(pusher.userId);
        continue;
      }
      const { delivered, waitMs } = pusher;
      const wait = waits.get(keyOf(pusher)) ?? waitMs;
      const dueTs = this.#ctx.clock.now() + this.#waitOf(wait);
      await pushers.setMail(tx, pusher, { dueTs, waitMs: wait, delivered });
      times.push(dueTs);
    }
    tx.afterCommit(() => {
      for (const dueTs of times) this.#timer.set(dueTs);
    });
  }

  async #nextWaitOf(pusher: pushers.MailPusher): Promise<number> {
    return pusher.waitMs > 0 && (await this.#hasReadOn(pusher)) ? 0 : pusher.waitMs;
  }

  #waitOf(waitMs: number): number {
    return Math.max(waitMs, this.#ctx.config.emailNotificationDelay);
  }

  /** Whether the newest of what the last letter told of is read. */
  async #hasReadOn({ userId, delivered }: pushers.MailPusher): Promise<boolean> {
    const range = { from: delivered, limit: 1, onlyHighlights: false };
    const { notifications } = await notificationPage(this.#ctx, userId, range);
    return notifications[0]?.isRead ?? true;
  }

  #wake(): void {
    const { log, clock } = this.#ctx;
    // What becomes due while it runs is seen at its end.
    this.#running ??= this.#runDue()
      .then(() => this.#sleep())
      .catch((error: unknown) => {
        this.#running = undefined;
        log.error({ err: error }, 'letters about unread messages could not be read: it is tried again');
        this.#timer.set(clock.now() + RETRY_MS);
      });
  }

  async #sleep(): Promise<void> {
    const next = await pushers.nextMailDue(this.#ctx.db);
    this.#running = undefined;
    if (next !== undefined) this.#timer.set(next);
  }

  async #runDue(): Promise<void> {
    const { db, clock } = this.#ctx;
    while (!this.#isStopping) {
      const due = await pushers.mailDue(db, clock.now(), AT_ONCE);
      await Promise.all(due.map((pusher) => this.#runOne(pusher)));
      if (due.length < AT_ONCE) return;
    }
  }

  async #runOne(pusher: pushers.MailPusher): Promise<void> {
    const { db, log, clock } = this.#ctx;
    const { userId } = pusher;
    this.#noticed.delete(userId);
    const waitMs = Math.min(LONGEST_WAIT_MS, SLOWER * this.#waitOf(pusher.waitMs));
    let told: { readonly delivered: number; readonly waitMs: number } | undefined;
    try {
      told = await this.#tell(pusher, waitMs);
    } catch (error) {
      log.error({ err: error, userId }, 'a letter about unread messages could not be made');
    }
    if (told === undefined) {
      const later = { dueTs: clock.now() + waitMs, waitMs, delivered: pusher.delivered };
      await db.write('pushers.mailLater', (tx) => pushers.setMail(tx, pusher, later));
      return;
    }
    const { delivered, waitMs: nextMs } = told;
    await db.write('pushers.mailed', async (tx) => {
      const dueTs = this.#noticed.has(userId) ? clock.now() + this.#waitOf(nextMs) : undefined;
      await pushers.setMail(tx, pusher, { delivered, waitMs: nextMs, dueTs });
    });
  }

  /** Sends the letter, where there is something to tell. Undefined where it was not taken. */
  async #tell(
    pusher: pushers.MailPusher,
    waitMs: number,
  ): Promise<{ delivered: number; waitMs: number } | undefined> {
    const { db, streams, mailer } = this.#ctx;
    const { userId, pushkey, enabled, delivered: after } = pusher;
    const upto = streams.upto();
    const nothing = { delivered: upto, waitMs: 0 };
    if ((await threepids.ownerOf(db, 'email', pushkey)) !== userId) {
      await db.write('pushers.removeOfAddress', (tx) => pushers.removeOfAddress(tx, userId, pushkey));
      return nothing;
    }
    if (!enabled || !(await this.#mayBeTold(userId))) return nothing;
    const rooms = await unreadRooms(this.#ctx, userId, { after, upto });
    if (rooms.length === 0) return nothing;
    const isTaken = await mailer.send({ to: pushkey, ...(await this.#letter(pusher, rooms)) });
    return isTaken ? { delivered: upto, waitMs } : undefined;
  }

  async #mayBeTold(userId: UserId): Promise<boolean> {
    const user = await users.of(this.#ctx.db, userId);
    return user !== undefined && user.deactivatedTs === undefined && user.lockedTs === undefined;
  }

  async #letter(pusher: pushers.MailPusher, rooms: Awaited<ReturnType<typeof unreadRooms>>) {
    const { db, seal, serverName, config } = this.#ctx;
    const { userId, lang } = pusher;
    const chosen = await userLanguages.of(db, userId);
    const language = languageOf(chosen ?? lang) ?? languageOf(lang) ?? config.defaultLanguage;
    const query = new URLSearchParams({ token: unsubscribeToken(seal, pusher) });
    return unreadLetter(speechIn(language), {
      ...{
        userId,
        serverName,
        rooms,
        roomLink: config.emailRoomLink,
        withText: config.emailNotificationText,
      },
      unsubscribe: `${config.publicBaseurl ?? ''}${UNSUBSCRIBE_PATH}?${query}`,
    });
  }
}

function keyOf({ appId, pushkey, userId }: pushers.PusherKey): string {
  return `${appId}\n${pushkey}\n${userId}`;
}

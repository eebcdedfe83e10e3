/** Tells other servers how our users are: https://spec.matrix.org/v1.19/server-server-api/#presence */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { belongsTo, type ServerName, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { joinedServers } from '#rooms/room.ts';
import type { Tx } from '#storage/database.ts';
import * as memberships from '#storage/memberships.ts';
import * as presence from '#storage/presence.ts';
import type { Presence } from '#storage/presences.ts';
import type { FederationContext } from '../context.ts';

type OutgoingContext = Omit<FederationContext, 'inbound'>;

/** A user, and the servers that are to be told how they are. */
interface News {
  readonly userId: UserId;
  readonly servers: Iterable<ServerName>;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
/** Servers take a user for gone of whom they have heard nothing for half an hour. */
const REPEAT_MS = 20 * MINUTE;
const REPEAT_CHECK_MS = 5 * MINUTE;
const NEWCOMERS_CHECK_MS = 30 * SECOND;
/** Users told of in one write. */
const USERS_AT_ONCE = 100;
const ROOMS_AT_ONCE = 100;

/** Follows the changes of presence from `start` until it is disposed of, where they are to be told at all. */
export class OutgoingPresence {
  readonly #ctx: OutgoingContext;
  /** Those who are not offline, and when the others were last told, in milliseconds since 1970. */
  readonly #toldTs = new Map<UserId, number>();
  /** By room with one of them, the servers that were in it when it was last looked at; undefined before that. */
  #servers: ReadonlyMap<number, readonly ServerName[]> | undefined;
  #mayHaveNewcomers = true;
  #stops: (() => void)[] = [];
  #timers: NodeJS.Timeout[] = [];
  #running: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(ctx: OutgoingContext) {
    this.#ctx = ctx;
  }

  start(): void {
    if (this.#ctx.presence.mode !== 'federated') return;
    this.#stops = [
      this.#ctx.presence.onChange((users) => this.#run(() => this.#tellOf(users))),
      this.#ctx.streams.subscribe('memberships', () => {
        this.#mayHaveNewcomers = true;
      }),
    ];
    this.#timers = [
      setInterval(() => this.repeat(), REPEAT_CHECK_MS).unref(),
      setInterval(() => this.tellNewcomers(), NEWCOMERS_CHECK_MS).unref(),
    ];
    this.tellNewcomers();
  }

  /** Tells once more of those who have long been as they are. */
  repeat(): void {
    const before = this.#ctx.clock.now() - REPEAT_MS;
    const due = [...this.#toldTs].filter(([, ts]) => ts <= before).map(([userId]) => userId);
    if (due.length > 0) this.#run(() => this.#tellOf(due));
  }

  /** Tells servers that have come to share a room with our users how these are. */
  tellNewcomers(): void {
    if (!this.#mayHaveNewcomers) return;
    this.#mayHaveNewcomers = false;
    this.#run(() => this.#tellNewcomers());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const stop of this.#stops) stop();
    for (const timer of this.#timers) clearInterval(timer);
    await this.#running;
  }

  /** One after the other. */
  #run(work: () => Promise<void>): void {
    this.#running = this.#running
      .then(work)
      .catch((error: unknown) => this.#ctx.log.error({ err: error }, 'presence was not sent'));
  }

  async #tellOf(users: readonly UserId[]): Promise<void> {
    const news: News[] = [];
    for (const userId of users.filter((user) => belongsTo(user, this.#ctx.serverName))) {
      // One after the other: each user has rooms of their own, whose servers mostly are in memory.
      const rooms = await presence.roomsOf(this.#ctx.db, [userId]);
      const servers = await Promise.all(rooms.map(({ roomNid }) => joinedServers(this.#ctx, roomNid)));
      // "Servers should only send presence updates for users that the receiving server would be interested in."
      news.push({ userId, servers: new Set(servers.flat()) });
      const isThere = this.#ctx.presence.of(userId).state !== 'offline';
      if (isThere) this.#toldTs.set(userId, this.#ctx.clock.now());
      else this.#toldTs.delete(userId);
    }
    await this.#enqueue(news);
  }

  async #tellNewcomers(): Promise<void> {
    const { db, serverName, presence: presences } = this.#ctx;
    const before = this.#servers;
    const present = new Set([...presences.present()].filter((userId) => belongsTo(userId, serverName)));
    const now = new Map<number, readonly ServerName[]>();
    const rooms = await presence.roomsOf(db, present);
    for (const [index, { roomNid }] of rooms.entries()) {
      if (this.#closed) return;
      if (index % ROOMS_AT_ONCE === 0) await nextTurn();
      // Room by room: mostly its servers are in memory, and the same as before.
      const servers = await joinedServers(this.#ctx, roomNid);
      now.set(roomNid, servers);
      const known = before?.get(roomNid);
      if (before === undefined || known === servers) continue;
      const added = servers.filter((server) => known?.includes(server) !== true);
      const ours = added.length === 0 ? [] : await memberships.joinedLocalUsers(db, roomNid, serverName);
      const users = ours.filter((userId) => present.has(userId));
      await this.#enqueue(users.map((userId) => ({ userId, servers: added })));
    }
    this.#servers = now;
  }

  async #enqueue(news: readonly News[]): Promise<void> {
    const { db, sender, clock, presence: presences } = this.#ctx;
    for (let start = 0; start < news.length && !this.#closed; start += USERS_AT_ONCE) {
      // One portion after the other, so that nobody waits long for the one writer.
      await db.write('federation.presence', async (tx: Tx) => {
        for (const { userId, servers } of news.slice(start, start + USERS_AT_ONCE)) {
          const edu = presenceEdu(userId, presences.of(userId), clock.now());
          // Only how the user is now is worth telling, however long a server is away.
          await sender.enqueueEdu(tx, servers, { edu, replaceKey: `presence ${userId}` });
        }
      });
    }
  }
}

/** The `m.presence` EDU of one user. */
export function presenceEdu(userId: UserId, presence: Presence, now: number): JsonObject {
  const { state, statusMsg, lastActiveTs, isActive } = presence;
  const update = {
    user_id: userId,
    presence: state,
    last_active_ago: Math.max(0, now - (lastActiveTs ?? now)),
    currently_active: isActive,
    ...(statusMsg !== undefined && { status_msg: statusMsg }),
  };
  return { edu_type: 'm.presence', content: { push: [update] } };
}

/**
 * How users are: https://spec.matrix.org/v1.19/client-server-api/#presence
 *
 * Kept in memory, and written down now and then. Changes are gathered and announced together, at most once a second,
 * at a position of the same stream as everything else, so that /sync wakes for them.
 */

import { belongsTo, type RoomId, type ServerName, type UserId } from '#keys/ids.ts';
import { AnnouncedPresence, type AnnouncedRange } from './announced-presence.ts';
import type { Database, DatabaseLog } from './database.ts';
import type { PresenceState } from './presence.ts';
import * as presence from './presence.ts';
import {
  ABSENT,
  judgePresence,
  newPresenceEntry,
  type Presence,
  type PresenceEntry,
  type PresentDevice,
  SyncingDevice,
} from './presence-entry.ts';
import { PresencePace } from './presence-pace.ts';
import type { Streams } from './streams.ts';

export type { PresenceState } from './presence.ts';
export type { Presence, PresenceEntry } from './presence-entry.ts';

/** `off`: nobody has any; `local`: only users of this server see it; `federated`: told to other servers, and by them. */
export const presenceModes = ['off', 'local', 'federated'] as const;
export type PresenceMode = (typeof presenceModes)[number];

export interface PresencesOptions {
  readonly db: Database;
  readonly streams: Streams;
  readonly clock: { now(): number };
  readonly log: DatabaseLog;
  readonly serverName: ServerName;
  readonly mode: PresenceMode;
}

interface DeviceRef {
  readonly userId: UserId;
  readonly deviceId: string;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
/** Other servers repeat what they said before this time is over, as long as it holds. */
const BELIEVED_MS = 30 * MINUTE;
const ANNOUNCE_EVERY_MS = SECOND;
const EXPIRE_EVERY_MS = 5 * SECOND;
const WRITE_EVERY_MS = 30 * SECOND;
const MOST_USERS = 50_000;
const MOST_DEVICES = 50;
const MOST_ANNOUNCED_AT_ONCE = 1_000;
/** Of the row of a user who was there when the last process ended. */
const BEFORE_START = '';
const NOBODY: Disposable = { [Symbol.dispose]: () => undefined };

export class Presences {
  readonly #options: PresencesOptions;
  readonly #entries = new Map<UserId, PresenceEntry>();
  /** Those who are not offline. */
  readonly #present = new Set<UserId>();
  readonly #changed = new Set<UserId>();
  readonly #unwritten = new Set<UserId>();
  readonly #pace = new PresencePace();
  readonly #announced: AnnouncedPresence;
  readonly #listeners = new Set<(users: readonly UserId[]) => void>();
  #announceTimer: NodeJS.Timeout | undefined;
  #expireTimer: NodeJS.Timeout | undefined;
  #writeTimer: NodeJS.Timeout | undefined;
  #announcedAt = Number.NEGATIVE_INFINITY;
  #running: Promise<void> = Promise.resolve();
  #closed = false;

  /** With what the last process wrote down. */
  static async open(options: PresencesOptions): Promise<Presences> {
    const presences = new Presences(options);
    if (options.mode === 'off') return presences;
    const rows = await presence.newest(options.db, MOST_USERS);
    // What was written down without a position may have changed as late as that.
    const { streams } = options;
    const placed = rows.reverse().map((row) => ({ ...row, position: row.position ?? streams.upto() }));
    for (const row of placed) presences.#recall(row);
    presences.#announced.recall(placed);
    presences.#expireSoon();
    return presences;
  }

  private constructor(options: PresencesOptions) {
    this.#options = options;
    this.#announced = new AnnouncedPresence(options.streams.upto());
  }

  get mode(): PresenceMode {
    return this.#options.mode;
  }

  /** What is known of a user: may be kept by whoever asks again and again, unless it `isGone`. */
  entry(userId: UserId): PresenceEntry | undefined {
    return this.#entries.get(userId);
  }

  /** How a user is; offline for one of whom nothing is known. */
  of(userId: UserId, entry = this.#entries.get(userId)): Presence {
    if (entry === undefined) return ABSENT;
    // What is said of a user is judged when it is said: asked for are hundreds of users in one answer.
    if (this.#now() >= entry.steadyUntilTs) this.#judge(userId, entry);
    const { state, statusMsg, lastActiveTs, isActive } = entry;
    return { state, statusMsg, lastActiveTs, isActive };
  }

  /** Notes that a device asks for news, until what is answered is disposed of. `state`: what it says of its user. */
  syncing(ref: DeviceRef, state: PresenceState): Disposable {
    const device = this.#contact(ref, state);
    return device === undefined ? NOBODY : new SyncingDevice(device, this.#options.clock);
  }

  /** Notes that the user does something by a device. */
  active({ userId, deviceId }: DeviceRef): void {
    const entry = this.#entries.get(userId);
    if (entry === undefined || entry.state === 'offline') return;
    entry.lastActiveTs = this.#now();
    this.#unwritten.add(userId);
    // "Any activity [...] on any of the user's clients will cause the server to automatically set [...] `online`."
    const device = entry.devices.get(deviceId);
    if (device !== undefined && device.state !== 'offline') device.state = 'online';
    this.#judge(userId, entry);
  }

  /** Sets how a user of ours is, by the word of a device; resolves once that is on disk. */
  async set(
    ref: DeviceRef,
    { state, statusMsg }: { readonly state: PresenceState; readonly statusMsg: string | undefined },
  ): Promise<void> {
    if (this.mode === 'off') return;
    const device = this.#contact(ref, state);
    const entry = this.#entries.get(ref.userId);
    if (device === undefined || entry === undefined) return;
    // "When setting the status, the activity time is updated to reflect that activity".
    entry.lastActiveTs = this.#now();
    // "explicitly suppressing": on no device of the user.
    if (state === 'offline') for (const other of entry.devices.values()) other.state = 'offline';
    this.#setStatus(ref.userId, entry, statusMsg);
    this.#judge(ref.userId, entry);
    const row = { ...entry, userId: ref.userId };
    await this.#options.db.write('presence.set', (tx) => presence.set(tx, row));
  }

  /** Notes how a user of another server is, by that server's word. */
  receive(userId: UserId, told: Presence): void {
    if (this.mode !== 'federated') return;
    const entry = this.#entryFor(userId);
    if (entry === undefined) return;
    const { state, isActive, lastActiveTs, statusMsg } = told;
    entry.told = { state, isActive: isActive && state === 'online', untilTs: this.#now() + BELIEVED_MS };
    entry.lastActiveTs = lastActiveTs;
    this.#setStatus(userId, entry, statusMsg);
    this.#judge(userId, entry);
  }

  /** Forgets what is known of a user, who is offline from now on. */
  forget(userId: UserId): void {
    const entry = this.#entries.get(userId);
    if (entry === undefined) return;
    entry.devices.clear();
    entry.lastActiveTs = undefined;
    this.#setStatus(userId, entry, undefined);
    this.#judge(userId, entry);
  }

  /** Those who are not offline. */
  present(): Iterable<UserId> {
    return this.#present;
  }

  /** All of whom something is known. */
  known(): Iterable<UserId> {
    return this.#entries.keys();
  }

  /** Those who have changed after one position, up to another; undefined where they may be more than `most`. */
  changed(range: AnnouncedRange, most: number): ReadonlySet<UserId> | undefined {
    const users = new Set<UserId>();
    for (const userId of this.#announced.lastFirst(range)) {
      if (userId === undefined || users.size === most) return undefined;
      users.add(userId);
    }
    return users;
  }

  /** Calls `listener` with those who were announced to have changed; answers how to stop. */
  onChange(listener: (users: readonly UserId[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Notes who is idle now, or gone. Called every few seconds. */
  expire(): void {
    clearTimeout(this.#expireTimer);
    this.#expireTimer = undefined;
    for (const userId of this.#present) {
      const entry = this.#entries.get(userId);
      if (entry !== undefined) this.#judge(userId, entry);
    }
    this.#expireSoon();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const timer of [this.#announceTimer, this.#expireTimer, this.#writeTimer]) clearTimeout(timer);
    this.#listeners.clear();
    await this.#running;
    await this.#write();
  }

  #now(): number {
    return this.#options.clock.now();
  }

  #recall({ userId, state, statusMsg, lastActiveTs, position }: presence.PresenceRow): void {
    const entry: PresenceEntry = { ...newPresenceEntry(), state, statusMsg, lastActiveTs, position };
    const now = this.#now();
    if (!belongsTo(userId, this.#options.serverName)) {
      entry.told = { state, isActive: false, untilTs: now + BELIEVED_MS };
    } else if (state !== 'offline') {
      entry.devices.set(BEFORE_START, { state, seenTs: now, syncs: 0 });
    }
    // Clients were told so: it changes once that time is over.
    entry.isActive = state === 'online' && judgePresence(entry, now).isActive;
    this.#entries.set(userId, entry);
    if (state !== 'offline') this.#present.add(userId);
  }

  /** Undefined where presence is off, or of so many users already that this one is left out. */
  #contact({ userId, deviceId }: DeviceRef, state: PresenceState): PresentDevice | undefined {
    if (this.mode === 'off') return undefined;
    const entry = this.#entryFor(userId);
    if (entry === undefined) return undefined;
    const now = this.#now();
    // To come, or to come back, is to do something.
    const { devices } = entry;
    const known = devices.get(deviceId);
    if (state === 'online' && known?.state !== 'online') entry.lastActiveTs = now;
    const device = known ?? { state, seenTs: now, syncs: 0 };
    device.state = state;
    device.seenTs = now;
    // In the order in which they were heard of; most users have one.
    if (devices.size > 1 || known === undefined) {
      devices.delete(BEFORE_START);
      devices.delete(deviceId);
      devices.set(deviceId, device);
      const [oldest] = devices.keys();
      if (devices.size > MOST_DEVICES && oldest !== undefined) devices.delete(oldest);
    }
    this.#judge(userId, entry);
    return device;
  }

  #entryFor(userId: UserId): PresenceEntry | undefined {
    const known = this.#entries.get(userId);
    if (known !== undefined) return known;
    if (this.#entries.size >= MOST_USERS && !this.#makeRoom(userId)) return undefined;
    const entry = newPresenceEntry();
    this.#entries.set(userId, entry);
    return entry;
  }

  /** Forgets somebody who is offline; for a user of ours, if need be, one of another server. */
  #makeRoom(forUser: UserId): boolean {
    const { serverName } = this.#options;
    const isOurs = (userId: UserId) => belongsTo(userId, serverName);
    const others = this.#entries.keys();
    const leaves =
      others.find((userId) => !this.#present.has(userId)) ??
      (isOurs(forUser) ? this.#entries.keys().find((userId) => !isOurs(userId)) : undefined);
    if (leaves === undefined) return false;
    const gone = this.#entries.get(leaves);
    if (gone !== undefined) gone.isGone = true;
    this.#entries.delete(leaves);
    this.#present.delete(leaves);
    if (!isOurs(leaves)) this.#unwritten.add(leaves);
    return true;
  }

  #setStatus(userId: UserId, entry: PresenceEntry, statusMsg: string | undefined): void {
    if (entry.statusMsg === statusMsg) return;
    entry.statusMsg = statusMsg;
    this.#hasChanged(userId);
  }

  /** Finds out how the user is now, and has it announced where that is new. */
  #judge(userId: UserId, entry: PresenceEntry): void {
    const { state, isActive, steadyUntilTs } = judgePresence(entry, this.#now());
    entry.steadyUntilTs = steadyUntilTs;
    if (state === entry.state && isActive === entry.isActive) return;
    entry.state = state;
    entry.isActive = isActive;
    if (state === 'offline') this.#present.delete(userId);
    else this.#present.add(userId);
    this.#expireSoon();
    this.#hasChanged(userId);
  }

  #announceSoon(): void {
    const wait = Math.max(0, this.#announcedAt + ANNOUNCE_EVERY_MS - performance.now());
    this.#announceTimer ??= setTimeout(() => {
      this.#run('presence was not announced', () => this.#announce());
    }, wait).unref();
  }

  #hasChanged(userId: UserId): void {
    const entry = this.#entries.get(userId);
    if (entry !== undefined) entry.position = undefined;
    this.#changed.add(userId);
    this.#unwritten.add(userId);
    if (this.#closed) return;
    this.#announceSoon();
    this.#writeTimer ??= setTimeout(() => {
      this.#run('presence was not written', () => this.#write());
    }, WRITE_EVERY_MS).unref();
  }

  #expireSoon(): void {
    if (this.#closed || this.#present.size === 0) return;
    this.#expireTimer ??= setTimeout(() => this.expire(), EXPIRE_EVERY_MS).unref();
  }

  /** One after the other. */
  #run(failure: string, work: () => Promise<void>): void {
    this.#running = this.#running
      .then(work)
      .catch((error: unknown) => this.#options.log.error({ err: error }, failure));
  }

  /** Written down together with its position: who syncs from a later one on after a restart need not be told again. */
  async #announce(): Promise<void> {
    this.#announceTimer = undefined;
    const now = performance.now();
    this.#announcedAt = now;
    const due = this.#changed.values().filter((userId) => this.#pace.takes(userId, now));
    const users = [...due.take(MOST_ANNOUNCED_AT_ONCE)];
    for (const userId of users) this.#changed.delete(userId);
    if (this.#closed) return;
    if (users.length === 0) {
      if (this.#changed.size > 0) this.#announceSoon();
      return;
    }
    const { db, streams } = this.#options;
    const rooms = await presence.roomsOf(db, users);
    if (this.#closed) return;
    await db.write('presence.announce', async (tx) => {
      const position = streams.allocate(
        tx,
        rooms.map(({ roomId }) => presenceKey(roomId)),
      );
      for (const userId of users) {
        const entry = this.#entries.get(userId);
        // One statement each: users change rarely.
        if (entry !== undefined) await presence.set(tx, { ...entry, userId, position });
      }
      tx.afterCommit(() => this.#wereAnnounced(users, position));
    });
    for (const listener of this.#listeners) listener(users);
    if (this.#changed.size > 0) this.#announceSoon();
  }

  #wereAnnounced(users: readonly UserId[], position: number): void {
    for (const userId of users) {
      const entry = this.#entries.get(userId);
      if (entry !== undefined && !this.#changed.has(userId)) entry.position = position;
    }
    this.#announced.add(position, users);
  }

  async #write(): Promise<void> {
    this.#writeTimer = undefined;
    const users = [...this.#unwritten];
    this.#unwritten.clear();
    if (users.length === 0) return;
    const forgotten = users.filter((userId) => !this.#entries.has(userId));
    await this.#options.db.write('presence.write', async (tx) => {
      if (forgotten.length > 0) await presence.remove(tx, forgotten);
      for (const userId of users) {
        const entry = this.#entries.get(userId);
        // One statement each: users change rarely, and every half minute counts once.
        if (entry !== undefined) await presence.set(tx, { ...entry, userId });
      }
    });
  }
}

/** The key of the streams for how the members of a room are. */
export function presenceKey(roomId: RoomId): string {
  return `presence:${roomId}`;
}

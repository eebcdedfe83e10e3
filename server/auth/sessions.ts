import type { UserId } from '#keys/ids.ts';
import { hashToken } from '#keys/tokens.ts';
import type { Clock } from '#rooms/context.ts';
import * as accessTokens from '#storage/access-tokens.ts';
import type { Database } from '#storage/database.ts';
import * as devices from '#storage/devices.ts';
import { Lru } from '#storage/lru.ts';
import type { Appservice } from '../appservices/appservice.ts';
import { spend } from './tokens.ts';

/** Who makes a request. */
export interface Requester {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly isGuest: boolean;
  readonly isAdmin: boolean;
  readonly isSuspended: boolean;
  /** The application service that acts as the user. */
  readonly appservice?: Appservice;
  /** False for a service that acts without a device: `deviceId` is none then. */
  readonly hasDevice?: boolean;
  /** `deviceKey`, put together once for all requests of a session. */
  readonly key?: string;
}

/** By what a device is known in memory. */
export function deviceKey({ userId, deviceId, key }: Pick<Requester, 'userId' | 'deviceId' | 'key'>): string {
  return key ?? `${userId} ${deviceId}`;
}

/** Whose token it is. One that has expired is known still; one that was ended is not. */
export type Found =
  | { readonly kind: 'known'; readonly requester: Requester; readonly isLocked: boolean }
  | { readonly kind: 'unknown' | 'expired' };

/** From where, and by which program, a device is used. */
export interface UsedFrom {
  readonly ip: string;
  readonly userAgent: string | undefined;
}

/** Who knows access tokens in place of this server. */
export interface TokensElsewhere {
  /** Whose token it is, and until when that need not be asked again. */
  find(
    token: string,
  ): Promise<{ readonly owner: accessTokens.TokenOwner; readonly freshUntilTs: number } | undefined>;
}

/** Who is signed in by a token; may be kept by whoever asks for it again and again, as long as it `holds`. */
export interface Session {
  readonly found: Found & { readonly kind: 'known' };
  readonly expiresTs: number | undefined;
  /** Until then it is not asked for again. */
  readonly freshUntilTs: number;
  /** When the device's last use was noted. */
  notedTs: number;
  /** It is not in memory any more: whoever has kept it looks for it again. */
  isGone: boolean;
}

interface Use {
  readonly device: { readonly userId: UserId; readonly deviceId: string };
  readonly ts: number;
  readonly from: UsedFrom;
}

const MOST_SESSIONS = 20_000;
const NOTE_EVERY_MS = 5 * 60_000;
const WRITE_EVERY_MS = 30_000;
const UNKNOWN: Found = { kind: 'unknown' };
const EXPIRED: Found = { kind: 'expired' };

/** Who is signed in by which token: from the database, and kept in memory while in use. */
export class Sessions {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #elsewhere: TokensElsewhere | undefined;
  /** By the token's hash. */
  readonly #known = new Lru<string, Session>({
    maxEntries: MOST_SESSIONS,
    onEvict: (hash, session) => this.#dropped(session, hash),
  });
  /** The hashes that are known, by user. */
  readonly #ofUser = new Map<UserId, Set<string>>();
  /** Uses to write, by user and device. */
  #uses = new Map<string, Use>();
  readonly #timer: NodeJS.Timeout;
  /** Moves on when sessions end, so that nothing read before that is kept after it. */
  #epoch = 0;

  constructor(
    { db, clock, elsewhere }: { db: Database; clock: Clock; elsewhere?: TokensElsewhere | undefined },
    onError: (error: unknown) => void,
  ) {
    this.#db = db;
    this.#clock = clock;
    this.#elsewhere = elsewhere;
    this.#timer = setInterval(() => this.writeUses().catch(onError), WRITE_EVERY_MS).unref();
  }

  /** Who has this token; notes the use of the device every few minutes. */
  async find(token: string, usedFrom: () => UsedFrom): Promise<Found> {
    const hash = hashToken(token);
    const known = this.#known.get(hash);
    const isFresh = known !== undefined && known.freshUntilTs > this.#clock.now();
    const session = isFresh ? known : await this.#load(hash, token, known);
    return session === undefined ? UNKNOWN : this.#use(session, usedFrom);
  }

  /** The same, where it is in memory. */
  findNow(token: string, usedFrom: () => UsedFrom): Found | undefined {
    const known = this.#known.get(hashToken(token));
    if (known === undefined || known.freshUntilTs <= this.#clock.now()) return undefined;
    return this.#use(known, usedFrom);
  }

  /** The session of a token, where it is in memory. */
  ofToken(token: string): Session | undefined {
    return this.#known.peek(hashToken(token));
  }

  /** True where a session that was kept is what `findNow` would answer, and its use need not be noted. */
  holds({ isGone, expiresTs, freshUntilTs, notedTs }: Session): boolean {
    const now = this.#clock.now();
    return !isGone && freshUntilTs > now && now - notedTs <= NOTE_EVERY_MS && (expiresTs ?? now + 1) > now;
  }

  #use(session: Session, usedFrom: () => UsedFrom): Found {
    const now = this.#clock.now();
    if (session.expiresTs !== undefined && session.expiresTs <= now) return EXPIRED;
    if (now - session.notedTs > NOTE_EVERY_MS) {
      session.notedTs = now;
      this.noteUse(session.found.requester, usedFrom);
    }
    return session.found;
  }

  /** Notes that a device is in use; it is written down now and then. */
  noteUse({ userId, deviceId }: Use['device'], usedFrom: () => UsedFrom): void {
    const key = deviceKey({ userId, deviceId });
    if (this.#uses.has(key)) return;
    this.#uses.set(key, { device: { userId, deviceId }, ts: this.#clock.now(), from: usedFrom() });
  }

  /** Forgets what is known of a user: to be called after their tokens, or what they may do, has changed. */
  forget(userId: UserId): void {
    this.#epoch += 1;
    for (const hash of this.#ofUser.get(userId) ?? []) this.#remove(hash);
    this.#ofUser.delete(userId);
  }

  /** Writes when devices were last used, as far as that was noted. */
  async writeUses(): Promise<void> {
    if (this.#uses.size === 0) return;
    const uses = [...this.#uses.values()];
    this.#uses = new Map();
    await this.#db.write('devices.seen', async (tx) => {
      // One statement for each device: few are due at once, since each is noted every few minutes only.
      for (const { device, ts, from } of uses) await devices.seen(tx, device, { ts, ...from });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.writeUses();
  }

  async #load(hash: string, token: string, before?: Session): Promise<Session | undefined> {
    const epoch = this.#epoch;
    const elsewhere = await this.#elsewhere?.find(token);
    const owner =
      this.#elsewhere === undefined
        ? await this.#inUse(hash, await accessTokens.ownerOf(this.#db, hash))
        : elsewhere?.owner;
    if (owner === undefined) {
      this.#remove(hash);
      return undefined;
    }
    const { userId, deviceId, isAdmin, isGuest, isSuspended, isLocked, expiresTs } = owner;
    const key = deviceKey({ userId, deviceId });
    const requester = { userId, deviceId, isAdmin, isGuest, isSuspended, key };
    const session: Session = {
      found: { kind: 'known', requester, isLocked },
      expiresTs,
      freshUntilTs: elsewhere?.freshUntilTs ?? Number.POSITIVE_INFINITY,
      notedTs: before?.notedTs ?? 0,
      isGone: false,
    };
    if (epoch === this.#epoch) this.#keep(hash, session);
    return session;
  }

  /** The owner of a token, after what its use ends has ended: the refresh token before it. */
  async #inUse(
    hash: string,
    owner: accessTokens.TokenOwner | undefined,
  ): Promise<accessTokens.TokenOwner | undefined> {
    if (owner?.replaces === undefined) return owner;
    const now = this.#clock.now();
    if (owner.expiresTs !== undefined && owner.expiresTs <= now) return owner;
    const still = await this.#db.write('sessions.inUse', async (tx) => {
      // It may have been replaced by another one meanwhile.
      const current = await accessTokens.ownerOf(tx, hash);
      const isGood = current?.expiresTs === undefined || current.expiresTs > now;
      if (current?.replaces !== undefined && isGood) await spend(tx, current.replaces, now);
      return current;
    });
    this.forget(owner.userId);
    return still;
  }

  #keep(hash: string, session: Session): void {
    const { userId } = session.found.requester;
    this.#remove(hash);
    const hashes = this.#ofUser.get(userId) ?? new Set();
    this.#ofUser.set(userId, hashes.add(hash));
    this.#known.set(hash, session);
  }

  #remove(hash: string): void {
    const session = this.#known.peek(hash);
    if (session !== undefined) session.isGone = true;
    this.#known.delete(hash);
  }

  #dropped(session: Session, hash: string): void {
    session.isGone = true;
    const { userId } = session.found.requester;
    const hashes = this.#ofUser.get(userId);
    hashes?.delete(hash);
    if (hashes?.size === 0) this.#ofUser.delete(userId);
  }
}

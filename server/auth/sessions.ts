import type { UserId } from '#keys/ids.ts';
import { hashToken } from '#keys/tokens.ts';
import type { Clock } from '#rooms/context.ts';
import * as accessTokens from '#storage/access-tokens.ts';
import type { Database } from '#storage/database.ts';
import * as devices from '#storage/devices.ts';
import { Lru } from '#storage/lru.ts';

/** Who makes a request. */
export interface Requester {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly isGuest: boolean;
  readonly isAdmin: boolean;
}

interface Session {
  readonly requester: Requester;
  /** When the device's last use was noted. */
  notedTs: number;
}

interface Use {
  readonly device: { readonly userId: UserId; readonly deviceId: string };
  readonly ts: number;
  readonly ip: string;
}

const MOST_SESSIONS = 20_000;
const NOTE_EVERY_MS = 5 * 60_000;
const WRITE_EVERY_MS = 30_000;

/** Who is signed in by which token: from the database, and kept in memory while in use. */
export class Sessions {
  readonly #db: Database;
  readonly #clock: Clock;
  /** By the token's hash. */
  readonly #known = new Lru<string, Session>({ maxEntries: MOST_SESSIONS });
  /** Uses to write, by user and device. */
  #uses = new Map<string, Use>();
  readonly #timer: NodeJS.Timeout;
  /** Moves on when sessions end, so that nothing read before that is kept after it. */
  #epoch = 0;

  constructor(db: Database, clock: Clock, onError: (error: unknown) => void) {
    this.#db = db;
    this.#clock = clock;
    this.#timer = setInterval(() => this.#writeUses().catch(onError), WRITE_EVERY_MS).unref();
  }

  /** Who has this token; notes the use of the device from `ip` every few minutes. */
  async find(token: string, ip: () => string): Promise<Requester | undefined> {
    const hash = hashToken(token);
    const session = this.#known.get(hash) ?? (await this.#load(hash));
    if (session === undefined) return undefined;
    const now = this.#clock.now();
    if (now - session.notedTs > NOTE_EVERY_MS) {
      session.notedTs = now;
      const { userId, deviceId } = session.requester;
      this.#uses.set(`${userId} ${deviceId}`, { device: { userId, deviceId }, ts: now, ip: ip() });
    }
    return session.requester;
  }

  /** Forgets what is known: to be called after tokens were removed from the database. */
  forgetAll(): void {
    this.#epoch += 1;
    this.#known.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#writeUses();
  }

  async #load(hash: string): Promise<Session | undefined> {
    const epoch = this.#epoch;
    const owner = await accessTokens.ownerOf(this.#db, hash);
    if (owner === undefined) return undefined;
    const session: Session = { requester: { ...owner, isGuest: false }, notedTs: 0 };
    if (epoch === this.#epoch) this.#known.set(hash, session);
    return session;
  }

  async #writeUses(): Promise<void> {
    if (this.#uses.size === 0) return;
    const uses = [...this.#uses.values()];
    this.#uses = new Map();
    await this.#db.write('devices.seen', async (tx) => {
      // One statement for each device: few are due at once, since each is noted every few minutes only.
      for (const { device, ts, ip } of uses) await devices.seen(tx, device, { ts, ip });
    });
  }
}

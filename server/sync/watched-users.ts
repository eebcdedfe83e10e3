import type { UserId } from '#keys/ids.ts';
import { Lru } from '#storage/lru.ts';
import type { Presence, PresenceEntry, Presences } from '#storage/presences.ts';
import { presenceContent } from '../profiles/presence-content.ts';

/** One user, there once for all who share rooms with them. */
export class WatchedUser {
  readonly userId: UserId;
  readonly #presences: Presences;
  #entry: PresenceEntry | undefined;
  /** The event of `m.presence` as JSON, as it was last told. */
  #text: { readonly presence: Presence; readonly at: number; readonly json: string } | undefined;

  constructor(presences: Presences, userId: UserId) {
    this.#presences = presences;
    this.userId = userId;
  }

  /** What is known of how the user is. */
  get entry(): PresenceEntry | undefined {
    if (this.#entry === undefined || this.#entry.isGone) this.#entry = this.#presences.entry(this.userId);
    return this.#entry;
  }

  text(now: number): string {
    const presence = this.#presences.of(this.userId, this.entry);
    const known = this.#text;
    if (known !== undefined && now - known.at < FRESH_MS && areSame(known.presence, presence))
      return known.json;
    const content = presenceContent(presence, now);
    const json = JSON.stringify({ type: 'm.presence', sender: this.userId, content });
    this.#text = { presence, at: now, json };
    return json;
  }
}

const MOST_USERS = 20_000;
/** For so long `last_active_ago` may be what it was. */
const FRESH_MS = 1_000;

/**
 * Those of whom clients are told how they are. Of each member of each room that is asked for every client: to look a user
 * up by name each time takes ten times as long as all else that is asked.
 */
export class WatchedUsers {
  readonly #presences: Presences;
  readonly #users = new Lru<UserId, WatchedUser>({ maxEntries: MOST_USERS });

  constructor(presences: Presences) {
    this.#presences = presences;
  }

  of(userId: UserId): WatchedUser {
    const known = this.#users.get(userId);
    if (known !== undefined) return known;
    const user = new WatchedUser(this.#presences, userId);
    this.#users.set(userId, user);
    return user;
  }
}

function areSame(a: Presence, b: Presence): boolean {
  const isSameState = a.state === b.state && a.isActive === b.isActive;
  return isSameState && a.statusMsg === b.statusMsg && a.lastActiveTs === b.lastActiveTs;
}

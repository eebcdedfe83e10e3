import { randomBytes } from 'node:crypto';
import type { RoomId, ServerName, UserId } from '#keys/ids.ts';
import type { Clock } from '#rooms/context.ts';
import type { Walk } from '#rooms/directory/hierarchy.ts';
import { Lru } from '#storage/lru.ts';

/** A walk through a space, and whose it is. */
export interface OwnedWalk {
  readonly userId: UserId;
  readonly roomId: RoomId;
  /** Servers that may know of the room. */
  readonly via: readonly ServerName[];
  readonly walk: Walk;
}

const TOKEN_BYTES = 18;
const KEPT_MS = 60 * 60_000;
const MOST_WALKS = 5_000;
const MOST_ROOMS = 500_000;

/** Where pages of spaces go on, by the token of the page. In memory only, for an hour, and bounded. */
export class HierarchyWalks {
  readonly #clock: Clock;
  readonly #walks = new Lru<string, OwnedWalk & { readonly until: number }>({
    maxEntries: MOST_WALKS,
    maxWeight: MOST_ROOMS,
    weigh: ({ walk }) => walk.pending.length + walk.seen.size + 10,
  });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Keeps a walk; answers its token. */
  keep(walk: OwnedWalk): string {
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    this.#walks.set(token, { ...walk, until: this.#clock.now() + KEPT_MS });
    return token;
  }

  /** The walk of a token, as often as it is asked for; undefined where it is unknown, or too old. */
  find(token: string): OwnedWalk | undefined {
    const kept = this.#walks.get(token);
    if (kept === undefined || kept.until > this.#clock.now()) return kept;
    this.#walks.delete(token);
    return undefined;
  }
}

/**
 * What the newest events of rooms count for all whom they do not single out, found out once: after a restart hundreds of
 * users count the same events by the same rules.
 */

import type { RoomsContext } from '#rooms/context.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { Lru } from '#storage/lru.ts';
import type { Placed } from '#storage/timeline.ts';
import { MAIN, type PlainEvent, type UnreadEvent } from './counted-events.ts';
import type { CompiledRules } from './evaluate.ts';
import { namedIn } from './server-rules.ts';
import type { UserRules } from './user-rules.ts';

export interface PlainRoom {
  /** Those of the events that notify; each is there once for all who count it. */
  readonly unread: readonly UnreadEvent[];
  readonly hasRedactions: boolean;
}

interface Known extends PlainRoom {
  /** The positions of the first and the last event that were looked at; all between them were, too. */
  readonly first: number;
  readonly last: number;
  /** By which rules, and when, by `RoomCache.changes` and `purgesOf`. */
  readonly steps: CompiledRules['steps'];
  readonly changes: number;
  readonly purges: number;
  /** Who sent one of the events, or is named by one, in lower case; with the position of the last of these. */
  readonly apart: ReadonlyMap<string, number>;
}

const MOST_ROOMS = 5_000;
/** Of events and users, about 100 bytes each. */
const MOST_WEIGHT = 200_000;
const WEIGHT_OF_ROOM = 10;

export class PlainRooms {
  readonly #ctx: RoomsContext;
  readonly #rooms = new Lru<number, Known>({
    maxEntries: MOST_ROOMS,
    maxWeight: MOST_WEIGHT,
    weigh: ({ unread, apart }) => unread.length + apart.size + WEIGHT_OF_ROOM,
  });

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  /**
   * What some events of a room count for a user, and maybe some before them. Undefined where that is the user's own
   * affair, or follows from more than what is in memory. `offhand`: what an event does by these rules.
   */
  of(
    roomNid: number,
    rules: UserRules,
    came: readonly Placed[],
    offhand: (stored: StoredEvent) => PlainEvent['does'] | undefined,
  ): PlainRoom | undefined {
    const { compiled, ignored, userId } = rules;
    // What depends on the threads that somebody follows is theirs.
    if (!compiled.isShared || compiled.followed !== undefined || ignored.size > 0) return undefined;
    const before = this.#rooms.get(roomNid);
    const isSound = before !== undefined && this.#isSound(before, roomNid, rules, came);
    const known = isSound ? before : this.#look(roomNid, rules, came, offhand);
    const apartAt = known?.apart.get(userId.toLowerCase()) ?? 0;
    return apartAt < (came[0]?.position ?? 0) ? known : undefined;
  }

  #isSound(known: Known, roomNid: number, { compiled }: UserRules, came: readonly Placed[]): boolean {
    const { rooms } = this.#ctx;
    const [first] = came;
    const last = came.at(-1);
    if (first === undefined || last === undefined) return false;
    const isCovered = known.first <= first.position && known.last === last.position;
    const isAsItWas = known.changes === rooms.changes && known.purges === rooms.purgesOf(roomNid);
    return isCovered && isAsItWas && known.steps === compiled.steps;
  }

  /** Undefined, and nothing is kept, where an event is not in memory, or what it does is not the same for others. */
  #look(
    roomNid: number,
    { compiled, userId }: UserRules,
    came: readonly Placed[],
    offhand: (stored: StoredEvent) => PlainEvent['does'] | undefined,
  ): Known | undefined {
    const { rooms } = this.#ctx;
    const unread: UnreadEvent[] = [];
    const apart = new Map<string, number>();
    let hasRedactions = false;
    for (const { nid, position, member } of came) {
      if (member !== undefined) {
        // By the default rules others' memberships notify nobody.
        apart.set(member.toLowerCase(), position);
        continue;
      }
      const stored = rooms.event(nid);
      if (stored === undefined) return undefined;
      for (const named of namedIn(stored.event)) apart.set(named, position);
      apart.set(stored.event.sender.toLowerCase(), position);
      hasRedactions ||= stored.event.type === 'm.room.redaction';
      // For the user themself it is another matter: others find out.
      if (apart.has(userId.toLowerCase())) return undefined;
      const does = offhand(stored);
      if (does === undefined || does === 'reads') return undefined;
      if (does.notify) unread.push({ nid, position, thread: MAIN, highlight: does.highlight });
    }
    const [first] = came;
    const last = came.at(-1);
    if (first === undefined || last === undefined) return undefined;
    const known = {
      ...{ unread, hasRedactions, apart, first: first.position, last: last.position, steps: compiled.steps },
      ...{ changes: rooms.changes, purges: rooms.purgesOf(roomNid) },
    };
    this.#rooms.set(roomNid, known);
    return known;
  }
}

import type { RoomId, UserId } from '#keys/ids.ts';
import type { Streams } from './streams.ts';

export interface TypingChange {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly typing: boolean;
}

interface TypingRoom {
  /** When each user stops typing, in milliseconds of the clock. */
  readonly until: Map<UserId, number>;
  position: number;
}

/** "timeout: The length of time in milliseconds to mark this user as typing": never longer than this. */
const LONGEST_MS = 120_000;
/** Rooms that are remembered after everybody in them has stopped typing. */
const MOST_QUIET_ROOMS = 10_000;

/**
 * Who is typing where. Kept in memory only: typing is worth nothing after a restart. Each change takes a
 * position of the same stream as everything else, so that /sync wakes for it.
 */
export class TypingUsers {
  readonly #streams: Streams;
  readonly #clock: { now(): number };
  readonly #rooms = new Map<RoomId, TypingRoom>();
  readonly #listeners = new Set<(change: TypingChange) => void>();
  #timer: NodeJS.Timeout | undefined;

  constructor(streams: Streams, clock: { now(): number }) {
    this.#streams = streams;
    this.#clock = clock;
  }

  /** Says that a user types, for at most `timeoutMs`, or has stopped. */
  set(change: TypingChange, timeoutMs: number): void {
    const { roomId, userId, typing } = change;
    const room = this.#rooms.get(roomId) ?? { until: new Map<UserId, number>(), position: 0 };
    const wasTyping = room.until.has(userId);
    if (!typing && !wasTyping) return;
    if (typing) room.until.set(userId, this.#clock.now() + Math.min(Math.max(timeoutMs, 1), LONGEST_MS));
    else room.until.delete(userId);
    this.#remember(roomId, room);
    if (typing !== wasTyping) this.#announce(change, room);
    this.#schedule();
  }

  /** The users typing in a room, in the order in which they began. */
  in(roomId: RoomId): readonly UserId[] {
    return [...(this.#rooms.get(roomId)?.until.keys() ?? [])];
  }

  /** The position of the room's last change; 0 where nobody has typed since the start. */
  lastPosition(roomId: RoomId): number {
    return this.#rooms.get(roomId)?.position ?? 0;
  }

  /** Calls `listener` at each change; answers how to stop. */
  onChange(listener: (change: TypingChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#listeners.clear();
  }

  #remember(roomId: RoomId, room: TypingRoom): void {
    this.#rooms.delete(roomId);
    this.#rooms.set(roomId, room);
    if (this.#rooms.size <= MOST_QUIET_ROOMS) return;
    for (const [id, candidate] of this.#rooms) {
      if (candidate.until.size > 0) continue;
      this.#rooms.delete(id);
      return;
    }
  }

  #announce(change: TypingChange, room: TypingRoom): void {
    room.position = this.#streams.announce([`room:${change.roomId}`, 'typing']);
    for (const listener of this.#listeners) listener(change);
  }

  /** One timer for all rooms: it fires when the next user's time is over. */
  #schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    let next = Number.POSITIVE_INFINITY;
    for (const room of this.#rooms.values()) {
      for (const until of room.until.values()) next = Math.min(next, until);
    }
    if (next === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#expire(), Math.max(next - this.#clock.now(), 1)).unref();
  }

  #expire(): void {
    const now = this.#clock.now();
    for (const [roomId, room] of this.#rooms) {
      for (const [userId, until] of room.until) {
        if (until > now) continue;
        room.until.delete(userId);
        this.#announce({ roomId, userId, typing: false }, room);
      }
    }
    this.#schedule();
  }
}

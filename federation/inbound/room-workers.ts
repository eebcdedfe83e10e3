import type { RoomId } from '#keys/ids.ts';
import { Lanes } from '#keys/lanes.ts';

export interface RoomWork {
  /** Rooms that are worked on at the same time. */
  readonly atOnce: number;
  /** Aborted: no work begins any more. */
  readonly signal: AbortSignal;
  /** Does what there is to do in a room, and calls `looked` before each look for it. */
  readonly work: (roomId: RoomId) => Promise<void>;
  readonly onError: (error: unknown, roomId: RoomId) => void;
}

/** One worker for each room in which there is something to do, so that the events of a room keep their order. */
export class RoomWorkers {
  readonly #given: RoomWork;
  readonly #lanes: Lanes;
  readonly #workers = new Map<RoomId, Promise<void>>();
  /** Rooms in which something has come since their worker last looked. */
  readonly #awaited = new Set<RoomId>();

  constructor(given: RoomWork) {
    this.#given = given;
    this.#lanes = new Lanes(given.atOnce, Number.POSITIVE_INFINITY);
  }

  has(roomId: RoomId): boolean {
    return this.#workers.has(roomId);
  }

  /** Has a room worked on: once more, where that is being done. */
  wake(roomId: RoomId): void {
    const { signal, work, onError } = this.#given;
    this.#awaited.add(roomId);
    if (this.#workers.has(roomId) || signal.aborted) return;
    const worker = this.#lanes
      .run(() => work(roomId))
      .catch((error: unknown) => onError(error, roomId))
      .finally(() => {
        this.#workers.delete(roomId);
        if (this.#awaited.has(roomId)) this.wake(roomId);
      });
    this.#workers.set(roomId, worker);
  }

  /** What has come into the room up to now is about to be seen. */
  looked(roomId: RoomId): void {
    this.#awaited.delete(roomId);
  }

  /** Resolves once the workers of now have ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#workers.values());
  }
}

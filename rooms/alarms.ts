import type { EventId, RoomId } from '#keys/ids.ts';
import { Lru } from '#storage/lru.ts';
import type { RoomsContext } from './context.ts';

/** A power level or membership of a room's current state that an older one has replaced. */
export interface StateMovedBack {
  readonly roomId: RoomId;
  readonly type: string;
  readonly stateKey: string;
  readonly from: EventId;
  /** Undefined where there is none at all now. */
  readonly to: EventId | undefined;
  /** The state resolution algorithm that has done it. */
  readonly algorithm: string;
}

const HOUR_MS = 60 * 60_000;
/** Whoever makes this happen on purpose is not to fill the log: one line for a room in an hour, and some for all. */
const LINES_AN_HOUR = 20;
const ROOMS = 1_000;

/** What an operator should hear of, counted since the start. */
export class Alarms {
  readonly #loggedTs = new Lru<RoomId, number>({ maxEntries: ROOMS });
  #hourTs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #unlogged = 0;
  #stateMovedBack = 0;

  /** How many power levels and memberships have moved backwards. */
  get stateMovedBack(): number {
    return this.#stateMovedBack;
  }

  /** Counts it, and logs it unless much of the kind was logged lately. */
  raiseStateMovedBack({ log, clock }: Pick<RoomsContext, 'log' | 'clock'>, moved: StateMovedBack): void {
    this.#stateMovedBack += 1;
    if (!this.#mayLog(moved.roomId, clock.now())) {
      this.#unlogged += 1;
      return;
    }
    log.warn({ ...moved, unlogged: this.#unlogged }, 'the state of a room has moved backwards');
    this.#unlogged = 0;
  }

  #mayLog(roomId: RoomId, now: number): boolean {
    if (now - this.#hourTs >= HOUR_MS) {
      this.#hourTs = now;
      this.#lines = 0;
    }
    const before = this.#loggedTs.get(roomId) ?? Number.NEGATIVE_INFINITY;
    if (this.#lines >= LINES_AN_HOUR || now - before < HOUR_MS) return false;
    this.#lines += 1;
    this.#loggedTs.set(roomId, now);
    return true;
  }
}

/** Requests that wait: each until its time is over, its client is gone, too many newer ones wait, or the server stops. */

import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Follower, Streams, Waiter } from '#storage/streams.ts';

/** Whatever a client asks for. */
export const LONGEST_WAIT_MS = 60_000;
/** Of one device; when one more comes, the oldest is answered. */
const MOST_OF_DEVICE = 4;
/** No device is answered more often, so that in a busy room news comes in handfuls, not one by one. */
const GATHER_MS = 20;
const MOST_DEVICES = 10_000;

/** Up to where something is known, and what to wait for until there is more to tell. */
export interface WaitingPoint {
  readonly upto: number;
  readonly follower: Follower;
}

/**
 * One request while it waits. There are thousands for hours: therefore it holds one promise at a time, and no signal.
 */
export interface Poll extends Disposable {
  /** `over`: it is time to answer. `woken`: something concerned what is waited for. */
  wait(point: WaitingPoint): Promise<'woken' | 'over'>;
}

/** A request that waits, as far as it counts as one of its device. */
interface Held {
  /** It is time to answer. */
  end(how: 'aborted'): void;
}

export class LongPolls {
  readonly #streams: Streams;
  /** By device, oldest first; most devices have one. */
  readonly #waiting = new Map<string, Held | Held[]>();
  /** When news was last told to a device, by `performance.now()`. */
  readonly #told = new Map<string, number>();
  #isStopping = false;

  constructor({ streams, shutdown }: { readonly streams: Streams; readonly shutdown: AbortSignal }) {
    this.#streams = streams;
    this.#isStopping = shutdown.aborted;
    shutdown.addEventListener('abort', () => this.#endAll(), { once: true });
  }

  /** Lets news gather where the device was told some only just now. */
  gather(device: string): Promise<void> | undefined {
    const ms = this.gatherMs(device);
    return ms > 0 ? sleep(ms) : undefined;
  }

  /** How long news is to gather for the device. */
  gatherMs(device: string): number {
    const told = this.#told.get(device);
    if (told === undefined || this.#isStopping) return 0;
    return Math.max(0, told + GATHER_MS - performance.now());
  }

  /** Notes that the device is told news now. */
  tell(device: string): void {
    const now = performance.now();
    if (this.#told.size >= MOST_DEVICES) this.#forgetTold(now);
    this.#told.set(device, now);
  }

  /** A request of the device begins to wait, `timeoutMs` at most. */
  hold(
    device: string,
    { timeoutMs, response }: { readonly timeoutMs: number; readonly response: ServerResponse },
  ): Poll {
    const poll = new WaitingPoll({ streams: this.#streams, polls: this, device, response });
    poll.start(timeoutMs);
    this.enter(device, poll);
    return poll;
  }

  /** Forgets those that need not let news gather any more; all, if these are too few. */
  #forgetTold(now: number): void {
    for (const [device, at] of this.#told) if (now - at >= GATHER_MS) this.#told.delete(device);
    if (2 * this.#told.size > MOST_DEVICES) this.#told.clear();
  }

  /** A request of the device waits, until it leaves; it is ended where too many newer ones do. */
  enter(device: string, poll: Held): void {
    if (this.#isStopping) poll.end('aborted');
    const before = this.#waiting.get(device);
    if (before === undefined) {
      this.#waiting.set(device, poll);
      return;
    }
    const waiting = [before].flat();
    if (waiting.length >= MOST_OF_DEVICE) waiting.shift()?.end('aborted');
    this.#waiting.set(device, [...waiting, poll]);
  }

  /** A request of the device waits no longer. */
  leave(device: string, poll: Held): void {
    const before = this.#waiting.get(device);
    if (before === poll) this.#waiting.delete(device);
    if (before === poll || before === undefined) return;
    const waiting = [before].flat().filter((one) => one !== poll);
    if (waiting.length === 0) this.#waiting.delete(device);
    else this.#waiting.set(device, waiting);
  }

  #endAll(): void {
    this.#isStopping = true;
    for (const poll of [...this.#waiting.values()].flat()) poll.end('aborted');
  }
}

interface WaitingPlace {
  readonly streams: Streams;
  readonly polls: LongPolls;
  readonly device: string;
  readonly response: ServerResponse;
}

class WaitingPoll implements Poll, Waiter {
  readonly #at: WaitingPlace;
  readonly #over = () => this.end('aborted');
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  #follower: Follower | undefined;
  #resolve: ((how: 'woken' | 'over') => void) | undefined;

  constructor(at: WaitingPlace) {
    this.#at = at;
  }

  start(timeoutMs: number): void {
    this.#timer = setTimeout(this.#over, timeoutMs);
    this.#at.response.once('close', this.#over);
  }

  wait({ upto, follower }: WaitingPoint): Promise<'woken' | 'over'> {
    if (this.#isOver) return Promise.resolve('over');
    if (!this.#at.streams.await(upto, follower, this)) return Promise.resolve('woken');
    // The streams are closed.
    if (this.#isOver) return Promise.resolve('over');
    this.#follower = follower;
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** By the streams, or because it is time to answer. */
  end(how: 'woken' | 'aborted'): void {
    if (how === 'aborted') this.#isOver = true;
    if (this.#follower !== undefined) this.#at.streams.leave(this.#follower, this);
    this.#follower = undefined;
    this.#resolve?.(this.#isOver ? 'over' : 'woken');
    this.#resolve = undefined;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#at.response.off('close', this.#over);
    this.end('aborted');
    this.#at.polls.leave(this.#at.device, this);
  }
}

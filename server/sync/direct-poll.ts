/**
 * A request that is answered without the framework, while it waits: one object, of which there are thousands for hours.
 * What it asks for its two kinds say, of `direct-sync.ts` and of `sliding-sync/direct-sliding.ts`.
 */

import type { PresenceState } from '#storage/presences.ts';
import type { Follower, Waiter } from '#storage/streams.ts';
import type { Session } from '../auth/sessions.ts';
import type { ServerContext } from '../context.ts';
import type { Answerable, DirectRequest, Waiting } from '../http/direct-routes.ts';
import type { TimedAnswer } from './answer-in-time.ts';
import type { SyncContext } from './context.ts';
import type { LongPolls, WaitingPoint } from './wait.ts';

/** Where requests wait. */
export interface PollLane {
  readonly sync: SyncContext;
  readonly polls: LongPolls;
}

/** What all that wait have. */
export interface WaitingRequest {
  readonly direct: DirectRequest;
  /** Of who asks. */
  readonly session: Session;
  readonly presence: PresenceState;
  readonly timeoutMs: number;
  /** Who waits, for `LongPolls`. */
  readonly poller: string;
}

/** True where the session is as it was: nobody has to be asked anew whether it may sync. */
export function isAsItWas({ sessions, consents }: ServerContext, session: Session): boolean {
  return sessions.holds(session) && !consents.areAsked;
}

export abstract class DirectPoll<A extends TimedAnswer> implements Waiter, Waiting {
  #direct: Answerable;
  readonly #lane: PollLane;
  readonly #session: Session;
  readonly #poller: string;
  readonly #presence: Disposable;
  #timer: NodeJS.Timeout;
  /** What it waits for now. */
  #follower: Follower | undefined;
  #state: 'open' | 'over' | 'finished' = 'open';

  constructor(lane: PollLane, { direct, session, presence, timeoutMs, poller }: WaitingRequest) {
    this.#direct = direct;
    this.#lane = lane;
    this.#session = session;
    this.#poller = poller;
    this.#presence = lane.sync.server.presence.syncing(session.found.requester, presence);
    this.#timer = setTimeout(endPoll, timeoutMs, this);
    direct.wait(this);
  }

  /** What there is to tell now, where all of it is in memory. */
  protected abstract quickAnswer(): A | undefined;
  /** What there is to tell now, in any case. */
  protected abstract wholeAnswer(): Promise<A>;
  /** The body of the answer, which is sent now. */
  protected abstract textOf(answer: A): string;
  /** The long way takes it from here; `isOver`: it is to wait no longer. */
  protected abstract handOver(direct: Answerable, isOver: boolean): void;

  /** Waits for what comes after this, or after what is still to be read. */
  begin(from: WaitingPoint | Promise<WaitingPoint>): void {
    this.#lane.polls.enter(this.#poller, this);
    if (!(from instanceof Promise)) this.#waitOrAnswer(from);
    else
      from.then(
        (point) => this.#waitOrAnswer(point),
        () => this.#handOver(),
      );
  }

  /** It may be over already: where the server stops. */
  #waitOrAnswer(from: WaitingPoint): void {
    if (this.#state === 'open') this.#wait(from);
    else this.answer();
  }

  /** By the streams; or because it is time to answer. */
  end(how: 'woken' | 'aborted'): void {
    if (this.#state !== 'open') return;
    if (how === 'aborted') this.#state = 'over';
    const isWaiting = this.#follower !== undefined;
    // Whom the streams wake they have let go.
    if (how === 'woken') this.#follower = undefined;
    else this.#stopWaiting();
    // Otherwise what was told is still being gathered, and the answer follows.
    if (isWaiting) this.#goOn();
  }

  #wait({ upto, follower }: WaitingPoint): void {
    this.#follower = follower;
    if (this.#lane.sync.server.streams.await(upto, follower, this)) return;
    this.#follower = undefined;
    this.#goOn();
  }

  #stopWaiting(): void {
    if (this.#follower !== undefined) this.#lane.sync.server.streams.leave(this.#follower, this);
    this.#follower = undefined;
  }

  #goOn(): void {
    const ms = this.#state === 'over' ? 0 : this.#lane.polls.gatherMs(this.#poller);
    if (ms > 0) setTimeout(answerPoll, ms, this);
    else this.answer();
  }

  answer(): void {
    if (this.#state === 'finished') return;
    if (!isAsItWas(this.#lane.sync.server, this.#session)) {
      this.#handOver();
      return;
    }
    try {
      const answer = this.quickAnswer();
      if (answer !== undefined) this.#settle(answer);
      else
        this.wholeAnswer().then(
          (whole) => this.#settle(whole),
          () => this.#handOver(),
        );
    } catch {
      // A fault of ours: the long way meets it too, and tells it. Others who are woken now have nothing to do with it.
      this.#handOver();
    }
  }

  #settle(answer: A): void {
    if (this.#state === 'finished') return;
    if (!answer.hasNews && this.#state === 'open') {
      this.#wait(answer);
      return;
    }
    this.#finish();
    if (answer.hasNews) this.#lane.polls.tell(this.#poller);
    this.#direct.answer(this.textOf(answer));
    this.#lane.sync.answered.direct += 1;
  }

  #handOver(): void {
    if (this.#state === 'finished') return;
    const isOver = this.#state === 'over';
    this.#finish();
    this.handOver(this.#direct, isOver);
  }

  gone(): void {
    this.#finish();
  }

  rest(by: Answerable): void {
    this.#direct = by;
  }

  #finish(): void {
    if (this.#state === 'finished') return;
    this.#state = 'finished';
    clearTimeout(this.#timer);
    this.#stopWaiting();
    this.#lane.polls.leave(this.#poller, this);
    this.#presence[Symbol.dispose]();
  }
}

function endPoll(poll: DirectPoll<TimedAnswer>): void {
  poll.end('aborted');
}

function answerPoll(poll: DirectPoll<TimedAnswer>): void {
  poll.answer();
}

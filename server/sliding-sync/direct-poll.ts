/** One request of `direct-sliding.ts` while it waits. There are thousands for hours. */

import type { Follower, Waiter } from '#storage/streams.ts';
import type { Session } from '../auth/sessions.ts';
import type { DirectRequest } from '../http/direct-routes.ts';
import type { WaitingPoint } from '../sync/wait.ts';
import { type Answer, wholeAnswer } from './answer.ts';
import type { ConnectionPoint } from './connections.ts';
import type { DirectSliding } from './direct-sliding.ts';
import { quickAnswer } from './quick-answer.ts';
import type { SlidingRequest } from './request.ts';
import { pollerOf } from './waiting.ts';

interface Asked {
  readonly direct: DirectRequest;
  readonly wanted: SlidingRequest;
  readonly point: ConnectionPoint;
  readonly session: Session;
}

export class DirectPoll implements Waiter {
  readonly #lane: DirectSliding;
  readonly #asked: Asked;
  readonly #poller: string;
  readonly #presence: Disposable;
  readonly #leave = () => this.#finish();
  #timer: NodeJS.Timeout;
  /** What it waits for now. */
  #follower: Follower | undefined;
  #state: 'open' | 'over' | 'finished' = 'open';

  constructor(lane: DirectSliding, asked: Asked) {
    const { requester, presence, timeoutMs } = asked.wanted;
    this.#lane = lane;
    this.#asked = asked;
    this.#poller = pollerOf(asked.wanted);
    this.#presence = lane.sliding.sync.server.presence.syncing(requester, presence);
    this.#timer = setTimeout(endPoll, timeoutMs, this);
  }

  begin(from: WaitingPoint): void {
    this.#asked.direct.response.once('close', this.#leave);
    this.#lane.polls.enter(this.#poller, this);
    // Over already where the server stops.
    if (this.#state === 'open') this.#wait(from);
    else this.answer();
  }

  /** By the streams; or because it is time to answer. */
  end(how: 'woken' | 'aborted'): void {
    if (this.#state !== 'open') return;
    if (how === 'aborted') this.#state = 'over';
    const isWaiting = this.#follower !== undefined;
    this.#stopWaiting();
    // Otherwise what was told is still being gathered, and the answer follows.
    if (isWaiting) this.#goOn();
  }

  #wait({ upto, follower }: WaitingPoint): void {
    this.#follower = follower;
    if (this.#lane.sliding.sync.server.streams.await(upto, follower, this)) return;
    this.#follower = undefined;
    this.#goOn();
  }

  #stopWaiting(): void {
    if (this.#follower !== undefined) this.#lane.sliding.sync.server.streams.leave(this.#follower, this);
    this.#follower = undefined;
  }

  #goOn(): void {
    const ms = this.#state === 'over' ? 0 : this.#lane.polls.gatherMs(this.#poller);
    if (ms > 0) setTimeout(answerPoll, ms, this);
    else this.answer();
  }

  answer(): void {
    if (this.#state === 'finished') return;
    const { session, wanted, point } = this.#asked;
    const { sliding } = this.#lane;
    if (!this.#lane.isGood({ session })) {
      this.#handOver();
      return;
    }
    try {
      const answer = quickAnswer(sliding, wanted, point);
      if (answer !== undefined) this.#settle(answer);
      else
        wholeAnswer(sliding, wanted, point).then(
          (whole) => this.#settle(whole),
          () => this.#handOver(),
        );
    } catch {
      // A fault of ours: the long way meets it too, and tells it. Others who are woken now have nothing to do with it.
      this.#handOver();
    }
  }

  #settle(answer: Answer): void {
    if (this.#state === 'finished') return;
    if (!answer.hasNews && this.#state === 'open') {
      this.#wait(answer);
      return;
    }
    this.#finish();
    if (answer.hasNews) this.#lane.polls.tell(this.#poller);
    this.#asked.direct.answer(answer.send());
    this.#lane.sliding.sync.answered.direct += 1;
  }

  #handOver(): void {
    if (this.#state === 'finished') return;
    const isOver = this.#state === 'over';
    const { direct, wanted } = this.#asked;
    this.#finish();
    this.#lane.handOver(direct, { isOver, body: Promise.resolve(wanted) });
  }

  #finish(): void {
    if (this.#state === 'finished') return;
    this.#state = 'finished';
    clearTimeout(this.#timer);
    this.#asked.direct.response.off('close', this.#leave);
    this.#stopWaiting();
    this.#lane.polls.leave(this.#poller, this);
    this.#presence[Symbol.dispose]();
  }
}

function endPoll(poll: DirectPoll): void {
  poll.end('aborted');
}

function answerPoll(poll: DirectPoll): void {
  poll.answer();
}

/** One request of `direct-sliding.ts` while it waits. */

import type { Session } from '../auth/sessions.ts';
import type { Answerable, DirectRequest } from '../http/direct-routes.ts';
import { DirectPoll } from '../sync/direct-poll.ts';
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

export class SlidingPoll extends DirectPoll<Answer> {
  readonly #lane: DirectSliding;
  readonly #asked: Asked;

  constructor(lane: DirectSliding, asked: Asked) {
    const { direct, wanted, session } = asked;
    const { presence, timeoutMs } = wanted;
    super(lane, { direct, session, presence, timeoutMs, poller: pollerOf(wanted) });
    this.#lane = lane;
    this.#asked = asked;
  }

  protected override quickAnswer(): Answer | undefined {
    return quickAnswer(this.#lane.sliding, this.#asked.wanted, this.#asked.point);
  }

  protected override wholeAnswer(): Promise<Answer> {
    return wholeAnswer(this.#lane.sliding, this.#asked.wanted, this.#asked.point);
  }

  protected override textOf(answer: Answer): string {
    return answer.send();
  }

  protected override handOver(_: Answerable, isOver: boolean): void {
    // A request with a body does not rest.
    this.#lane.handOver(this.#asked.direct, { isOver, body: Promise.resolve(this.#asked.wanted) });
  }
}

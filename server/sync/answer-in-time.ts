/** The first answer that tells something; the last one there is when it is time to answer. */

import type { FastifyReply, FastifyRequest } from 'fastify';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import type { LongPolls, WaitingPoint } from './wait.ts';

export interface TimedAnswer extends WaitingPoint {
  /** False where the client may as well wait for something to happen. */
  readonly hasNews: boolean;
}

export interface Waiting<T extends TimedAnswer> {
  readonly polls: LongPolls;
  /** Who waits: of each only a few at a time. */
  readonly poller: string;
  /** 0 for an answer at once. */
  readonly timeoutMs: number;
  /** What there is to tell now. */
  answerNow(): Promise<T>;
  /** From where on to wait, where it is known that nothing else is to be told. */
  readonly waitFrom: WaitingPoint | undefined;
}

export async function answerInTime<T extends TimedAnswer>(
  server: ServerContext,
  http: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  { polls, poller, timeoutMs, answerNow, waitFrom }: Waiting<T>,
): Promise<T> {
  let answer = waitFrom === undefined || timeoutMs === 0 ? await answerNow() : undefined;
  if (timeoutMs > 0 && answer?.hasNews !== true) {
    let at: WaitingPoint | undefined = answer ?? waitFrom;
    using poll = polls.hold(poller, { timeoutMs, response: http.reply.raw });
    while (answer?.hasNews !== true && at !== undefined) {
      if ((await poll.wait(at)) === 'over') break;
      const gathering = polls.gather(poller);
      if (gathering !== undefined) await gathering;
      // The device may have been signed out while it waited.
      await requireRequester(server, http.request);
      answer = await answerNow();
      at = answer;
    }
  }
  if (answer === undefined) {
    await requireRequester(server, http.request);
    answer = await answerNow();
  }
  if (answer.hasNews) polls.tell(poller);
  return answer;
}

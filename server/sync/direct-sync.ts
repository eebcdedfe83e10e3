/**
 * A client that has an answer of /sync asks for the next one in the words of the last time, but for the token. That is
 * answered without the framework, and it waits in one object, of which there are thousands for hours.
 *
 * 1. What went the long way is learnt: who asked, and what all but the token in the query means.
 * 2. The same words come again, of a session that nothing has happened to.
 * 3. The request waits as any other, and counts as one of its device.
 * 4. What ends most waits is told from memory (`quick-answer.ts`), all else by asking the database. Who is to be looked up
 *    anew, or meets an error, goes the long way.
 */

import type { FastifyRequest } from 'fastify';
import { Lru } from '#storage/lru.ts';
import type { PresenceState } from '#storage/presences.ts';
import type { Follower, Waiter } from '#storage/streams.ts';
import { accessTokenOf } from '../auth/access-token.ts';
import type { Session } from '../auth/sessions.ts';
import type { DirectRequest } from '../http/direct-routes.ts';
import type { SyncContext, SyncRequest } from './context.ts';
import { quickAnswer } from './quick-answer.ts';
import { formatToken, parseSyncToken } from './token.ts';
import { type Answer, wholeAnswer } from './v3.ts';
import type { LongPolls } from './wait.ts';

/** What a client asks for each time. */
export interface Habit {
  readonly request: SyncRequest;
  readonly presence: PresenceState;
  readonly timeoutMs: number;
}

interface Learnt extends Habit {
  readonly session: Session;
  /** Who waits, for `LongPolls`. */
  readonly poller: string;
  /** The query before the token and after it. */
  readonly before: string;
  readonly after: string;
}

const MOST_HABITS = 20_000;
const LONGEST_QUERY = 2_000;
const SINCE = /^((?:[^#]*&)?since=)(s1_\d{1,15})((?:&[^#]*)?)$/;

export class DirectSync {
  readonly sync: SyncContext;
  readonly polls: LongPolls;
  /** By what the requests are authorised with. */
  readonly #habits = new Lru<string, Learnt>({ maxEntries: MOST_HABITS });

  constructor(sync: SyncContext, polls: LongPolls) {
    this.sync = sync;
    this.polls = polls;
  }

  /** Notes what a request means that went the long way. */
  learn(request: FastifyRequest, habit: Habit): void {
    const { requester, since, fullState, inbox } = habit.request;
    if (since === undefined || since !== inbox || fullState || habit.timeoutMs === 0) return;
    const { url = '', headers } = request.raw;
    const query = url.slice(url.indexOf('?') + 1);
    const [, before, token, after] = query.length <= LONGEST_QUERY ? (SINCE.exec(query) ?? []) : [];
    if (before === undefined || after === undefined || token !== formatToken(since)) return;
    const session = this.sync.server.sessions.ofToken(accessTokenOf(request) ?? '');
    const { authorization } = headers;
    // Guests and those who are suspended have rules of their own; for services it is not the token that says who they are.
    const isPlain = !requester.isGuest && !requester.isSuspended && session?.found.requester === requester;
    if (!isPlain || session === undefined || authorization === undefined) return;
    const { userId, deviceId } = requester;
    const poller = `${userId} ${deviceId}`;
    this.#habits.set(authorization, { ...habit, session, poller, before, after });
  }

  /** Takes a request that is as the one before. */
  take(direct: DirectRequest, query: string): boolean {
    const habit = this.#habits.get(direct.request.headers.authorization ?? '');
    if (habit === undefined || !this.isGood(habit)) return false;
    const { before, after } = habit;
    if (!query.startsWith(before) || !query.endsWith(after)) return false;
    const point = parseSyncToken(query.slice(before.length, query.length - after.length));
    if (point === undefined || point.inbox !== point.position) return false;
    const { server, inboxes, users } = this.sync;
    const { requester } = habit.request;
    if (point.position > server.streams.upto() || !inboxes.isAcknowledged(requester, point.inbox))
      return false;
    const known = users.known(requester.userId);
    if (known === undefined) return false;
    new DirectPoll(this, { direct, habit, since: point.position }).begin(known.user.follower);
    return true;
  }

  /** True where the session is as it was: nobody has to be asked anew whether it may sync. */
  isGood({ session }: Learnt): boolean {
    const { sessions, consents } = this.sync.server;
    return sessions.holds(session) && !consents.areAsked;
  }
}

interface Asked {
  readonly direct: DirectRequest;
  readonly habit: Learnt;
  readonly since: number;
}

/** One request while it waits. */
class DirectPoll implements Waiter {
  readonly #lane: DirectSync;
  readonly #asked: Asked;
  readonly #presence: Disposable;
  readonly #leave = () => this.#finish();
  #timer: NodeJS.Timeout;
  /** What it waits for now. */
  #follower: Follower | undefined;
  #state: 'open' | 'over' | 'finished' = 'open';

  constructor(lane: DirectSync, asked: Asked) {
    const { request, presence, timeoutMs } = asked.habit;
    this.#lane = lane;
    this.#asked = asked;
    this.#presence = lane.sync.server.presence.syncing(request.requester, presence);
    this.#timer = setTimeout(endPoll, timeoutMs, this);
  }

  begin(follower: Follower): void {
    this.#asked.direct.response.once('close', this.#leave);
    this.#lane.polls.enter(this.#asked.habit.poller, this);
    // Over already where the server stops.
    if (this.#state === 'open') this.#wait(this.#asked.since, follower);
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

  #wait(upto: number, follower: Follower): void {
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
    const ms = this.#state === 'over' ? 0 : this.#lane.polls.gatherMs(this.#asked.habit.poller);
    if (ms > 0) setTimeout(answerPoll, ms, this);
    else this.answer();
  }

  answer(): void {
    if (this.#state === 'finished') return;
    const { habit, since } = this.#asked;
    const { sync } = this.#lane;
    if (!this.#lane.isGood(habit)) {
      this.#handOver();
      return;
    }
    const request = { ...habit.request, since, inbox: since };
    try {
      const answer = quickAnswer(sync, request);
      if (answer !== undefined) this.#settle(answer);
      else
        wholeAnswer(sync, request).then(
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
      this.#wait(answer.upto, answer.follower);
      return;
    }
    const { direct, habit } = this.#asked;
    this.#finish();
    if (answer.hasNews) this.#lane.polls.tell(habit.poller);
    direct.answer(answer.text);
    this.#lane.sync.answered.direct += 1;
  }

  #handOver(): void {
    const isOver = this.#state === 'over';
    if (this.#state === 'finished') return;
    this.#finish();
    this.#asked.direct.handOver({ isOver });
  }

  #finish(): void {
    if (this.#state === 'finished') return;
    this.#state = 'finished';
    clearTimeout(this.#timer);
    this.#asked.direct.response.off('close', this.#leave);
    this.#stopWaiting();
    this.#lane.polls.leave(this.#asked.habit.poller, this);
    this.#presence[Symbol.dispose]();
  }
}

function endPoll(poll: DirectPoll): void {
  poll.end('aborted');
}

function answerPoll(poll: DirectPoll): void {
  poll.answer();
}

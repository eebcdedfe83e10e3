/**
 * A client that has an answer of /sync asks for the next one in the words of the last time, but for the token. That is
 * answered without the framework, and it waits in one object, of which there are thousands for hours.
 *
 * 1. Who asks, and what does all but the token in the query mean? Kept for the next time, until something happens to the
 *    session. What is wrong, or unusual, goes the long way.
 * 2. What the device has been given is deleted.
 * 3. The request waits as any other, and counts as one of its device.
 * 4. What ends most waits is told from memory (`quick-answer.ts`), all else by asking the database. Who is to be looked up
 *    anew, or meets an error, goes the long way.
 */

import { parse } from 'node:querystring';
import { MatrixError } from '#federation/errors.ts';
import { Lru } from '#storage/lru.ts';
import type { PresenceState } from '#storage/presences.ts';
import type { Follower } from '#storage/streams.ts';
import { bearerOf } from '../auth/access-token.ts';
import { deviceKey, type Session } from '../auth/sessions.ts';
import type { Answerable, DirectRequest } from '../http/direct-routes.ts';
import type { SyncContext, SyncRequest } from './context.ts';
import { DirectPoll, isAsItWas } from './direct-poll.ts';
import { NO_FILTER } from './filter.ts';
import { flagOf, presenceOf, type Query, stateMemberOf, timeoutOf } from './parameters.ts';
import { quickAnswer } from './quick-answer.ts';
import { parsePlainToken } from './token.ts';
import { type Answer, wholeAnswer } from './v3.ts';
import type { LongPolls, WaitingPoint } from './wait.ts';

/** What a client asks for each time. */
interface Habit {
  readonly session: Session;
  readonly request: SyncRequest;
  readonly presence: PresenceState;
  readonly timeoutMs: number;
  /** Who waits, for `LongPolls`. */
  readonly poller: string;
  /** The query before the token and after it. */
  readonly before: string;
  readonly after: string;
  /** What the last answer said to wait for. */
  follower: Follower | undefined;
}

const MOST_HABITS = 20_000;
const LONGEST_QUERY = 2_000;
const SINCE = /^((?:[^#]*&)?since=)(s1_\d{1,15})((?:&[^#]*)?)$/;

export class DirectSync {
  readonly sync: SyncContext;
  readonly polls: LongPolls;
  /** By what the requests are authorised with. */
  readonly #habits = new Lru<string, Habit>({ maxEntries: MOST_HABITS });

  constructor(sync: SyncContext, polls: LongPolls) {
    this.sync = sync;
    this.polls = polls;
  }

  /** Takes a request that is as the one before, or as many are. */
  take(direct: DirectRequest, query: string): boolean {
    const { authorization } = direct.request.headers;
    if (authorization === undefined) return false;
    let habit = this.#habits.get(authorization);
    if (habit === undefined || !isAsItWas(this.sync.server, habit.session) || !isInWordsOf(habit, query)) {
      habit = this.#understand(authorization, query);
      if (habit === undefined) return false;
      this.#habits.set(authorization, habit);
    }
    const { before, after } = habit;
    const since = parsePlainToken(query.slice(before.length, query.length - after.length));
    if (since === undefined || since < 0 || since > this.sync.server.streams.upto()) return false;
    new SyncPoll(this, { direct, habit, since }).start();
    return true;
  }

  /** What a query means that says nothing unusual, of a user of whom nothing is unusual. */
  #understand(authorization: string, query: string): Habit | undefined {
    const [, before, token, after] = query.length <= LONGEST_QUERY ? (SINCE.exec(query) ?? []) : [];
    if (before === undefined || token === undefined || after === undefined) return undefined;
    const session = this.#sessionOf(authorization);
    const parameters = queryOf(query);
    if (session === undefined || parameters?.since !== token) return undefined;
    const { requester } = session.found;
    const { filter: text = '' } = parameters;
    if (typeof text !== 'string') return undefined;
    const filter = text === '' ? NO_FILTER : this.sync.filters.known(requester.userId, text);
    if (filter === undefined) return undefined;
    const poller = deviceKey(requester);
    try {
      const fullState = flagOf(parameters.full_state, 'full_state');
      const timeoutMs = timeoutOf(parameters);
      if (fullState || timeoutMs === 0) return undefined;
      const stateMember = stateMemberOf(parameters);
      const request = { requester, since: 0, inbox: 0, filter, fullState, stateMember };
      return {
        session,
        request,
        presence: presenceOf(parameters),
        timeoutMs,
        poller,
        before,
        after,
        follower: undefined,
      };
    } catch (error) {
      // The long way says so.
      if (error instanceof MatrixError) return undefined;
      throw error;
    }
  }

  /** Guests and those who are suspended have rules of their own, and services act for whom they name. */
  #sessionOf(authorization: string): Session | undefined {
    const token = bearerOf(authorization);
    const { sessions, appservices } = this.sync.server;
    if (token === undefined || appservices.ofToken(token) !== undefined) return undefined;
    const session = sessions.ofToken(token);
    if (session === undefined || !isAsItWas(this.sync.server, session) || session.found.isLocked)
      return undefined;
    const { isGuest, isSuspended } = session.found.requester;
    return isGuest || isSuspended ? undefined : session;
  }
}

interface Asked {
  readonly direct: DirectRequest;
  readonly habit: Habit;
  readonly since: number;
}

/** One request while it waits. */
class SyncPoll extends DirectPoll<Answer> {
  readonly #lane: DirectSync;
  readonly #habit: Habit;
  readonly #since: number;

  constructor(lane: DirectSync, { direct, habit, since }: Asked) {
    const { session, presence, timeoutMs, poller } = habit;
    super(lane, { direct, session, presence, timeoutMs, poller });
    this.#lane = lane;
    this.#habit = habit;
    this.#since = since;
  }

  start(): void {
    const isAcknowledged = this.#lane.sync.inboxes.isAcknowledged(this.#habit.request.requester, this.#since);
    // Whatever changes where the user is concerns the user: it ends the wait with an earlier one, too.
    const follower = isAcknowledged ? this.#habit.follower : undefined;
    this.begin(follower === undefined ? this.#prepare() : { upto: this.#since, follower });
  }

  /** Deletes what the device has been given, and reads where its user is. */
  async #prepare(): Promise<WaitingPoint> {
    const { inboxes, users, server } = this.#lane.sync;
    const { requester } = this.#habit.request;
    await inboxes.acknowledge(server.db, requester, this.#since);
    return { upto: this.#since, follower: (await users.find(requester.userId)).user.follower };
  }

  protected override quickAnswer(): Answer | undefined {
    const answer = quickAnswer(this.#lane.sync, this.#request());
    if (answer !== undefined) this.#habit.follower = answer.follower;
    return answer;
  }

  protected override async wholeAnswer(): Promise<Answer> {
    const answer = await wholeAnswer(this.#lane.sync, this.#request());
    this.#habit.follower = answer.follower;
    return answer;
  }

  #request(): SyncRequest {
    return { ...this.#habit.request, since: this.#since, inbox: this.#since };
  }

  protected override textOf({ text }: Answer): string {
    return text;
  }

  protected override handOver(direct: Answerable, isOver: boolean): void {
    direct.handOver({ isOver });
  }
}

function isInWordsOf({ before, after }: Habit, query: string): boolean {
  return query.startsWith(before) && query.endsWith(after) && query.length > before.length + after.length;
}

/** Undefined where another reader might read it in another way. */
function queryOf(query: string): Query | undefined {
  try {
    decodeURIComponent(query);
  } catch {
    // The escapes of something else than UTF-8.
    return undefined;
  }
  return parse(query);
}

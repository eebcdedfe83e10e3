/**
 * As `sync/direct-sync.ts`: a client of the experimental face that has an answer asks again in the words of the last time,
 * but for `pos`. That is answered without the framework, and waits in one object.
 *
 * 1. What went the long way is learnt: who asked, and what all but `pos` in the query means.
 * 2. The same words come again, of a session that nothing has happened to; what the body means is mostly known (`bodies.ts`).
 * 3. The request waits as any other, where it may at once: nothing else is to be told than what happens.
 * 4. What ends most waits is told from memory (`quick-answer.ts`), all else by asking the database. Who is to be looked up
 *    anew, or meets an error, goes the long way.
 */

import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { Lru } from '#storage/lru.ts';
import { accessTokenOf } from '../auth/access-token.ts';
import type { Requester } from '../auth/requester.ts';
import type { Session } from '../auth/sessions.ts';
import type { DirectRequest } from '../http/direct-routes.ts';
import { bodyNow, readBody } from '../http/read-body.ts';
import type { SyncContext } from '../sync/context.ts';
import { isAsItWas } from '../sync/direct-poll.ts';
import type { LongPolls } from '../sync/wait.ts';
import type { SlidingContext } from './context.ts';
import { slidingRequest, type UrlParameters } from './parameters.ts';
import { LONGEST_KEPT } from './parse.ts';
import type { SlidingBody } from './request.ts';
import { SlidingPoll } from './sliding-poll.ts';
import { isAcknowledged, lastAnswered, refOf } from './waiting.ts';

interface Habit {
  readonly session: Session;
  readonly url: UrlParameters;
  /** The query before `pos` and after it. */
  readonly before: string;
  readonly after: string;
}

const MOST_HABITS = 20_000;
const LONGEST_QUERY = 2_000;
const POS = /^((?:[^#]*&)?pos=)([0-9a-z_.]{1,100})((?:&[^#]*)?)$/;

export class DirectSliding {
  readonly sliding: SlidingContext;
  readonly polls: LongPolls;
  /** By what the requests are authorised with: a device has several connections, and the same words for each. */
  readonly #habits = new Lru<string, Habit>({ maxEntries: MOST_HABITS });
  /** Of requests that were handed over. */
  readonly #bodies = new WeakMap<IncomingMessage, Promise<SlidingBody>>();

  constructor(sliding: SlidingContext, polls: LongPolls) {
    this.sliding = sliding;
    this.polls = polls;
  }

  get sync(): SyncContext {
    return this.sliding.sync;
  }

  /** Notes what a request means that went the long way. */
  learn(
    request: FastifyRequest,
    { requester, url }: { readonly requester: Requester; readonly url: UrlParameters },
  ): void {
    const { url: address = '', headers } = request.raw;
    const query = address.slice(address.indexOf('?') + 1);
    const [, before, pos, after] = query.length <= LONGEST_QUERY ? (POS.exec(query) ?? []) : [];
    if (before === undefined || after === undefined || !isOnly(request.query, pos)) return;
    const session = this.sliding.sync.server.sessions.ofToken(accessTokenOf(request) ?? '');
    const { authorization } = headers;
    // Guests and those who are suspended have rules of their own; for services it is not the token that says who they are.
    const isPlain = !requester.isGuest && !requester.isSuspended && session?.found.requester === requester;
    if (!isPlain || session === undefined || authorization === undefined) return;
    this.#habits.set(authorization, { session, url, before, after });
  }

  /** Takes a request that is as the one before, but for its body, which is still to come. */
  take(direct: DirectRequest, query: string): boolean {
    const { authorization = '', 'content-length': length } = direct.request.headers;
    const habit = this.#habits.get(authorization);
    if (
      habit === undefined ||
      !isAsItWas(this.sync.server, habit.session) ||
      Number(length ?? 0) > LONGEST_KEPT
    )
      return false;
    const { before, after } = habit;
    if (!query.startsWith(before) || !query.endsWith(after)) return false;
    const pos = query.slice(before.length, query.length - after.length);
    // The body is mostly read in the same turn as the head, right after this.
    queueMicrotask(() => this.#readAndBegin(direct, { habit, pos }));
    return true;
  }

  #readAndBegin(direct: DirectRequest, asked: { readonly habit: Habit; readonly pos: string }): void {
    const bytes = bodyNow(direct.request, LONGEST_KEPT);
    const body = bytes && this.#understoodNow(bytes);
    if (body !== undefined) {
      if (!this.#begin(direct, { ...asked, body })) this.#leave(direct, Promise.resolve(body));
      return;
    }
    const reading = this.#read(direct, bytes);
    reading.then(
      (read) => {
        if (!this.#begin(direct, { ...asked, body: read })) this.#leave(direct, reading);
      },
      () => this.#leave(direct, reading),
    );
  }

  /** Undefined for what is wrong, which the long way tells. */
  #understoodNow(bytes: Buffer): SlidingBody | undefined {
    try {
      return this.sliding.bodies.read('experimental', bytes);
    } catch {
      return undefined;
    }
  }

  async #read({ request }: DirectRequest, bytes: Buffer | undefined): Promise<SlidingBody> {
    return this.sliding.bodies.read('experimental', bytes ?? (await readBody(request, LONGEST_KEPT)));
  }

  #leave(direct: DirectRequest, body: Promise<SlidingBody>): void {
    this.handOver(direct, { isOver: false, body });
  }

  /** The long way takes it from here. */
  handOver(
    direct: DirectRequest,
    { isOver, body }: { readonly isOver: boolean; readonly body: Promise<SlidingBody> },
  ): void {
    this.#bodies.set(direct.request, body);
    direct.handOver({ isOver });
  }

  /** The body of a request that was handed over. */
  bodyOf(request: IncomingMessage): Promise<SlidingBody> | undefined {
    return this.#bodies.get(request);
  }

  /** False where it is for the long way. */
  #begin(
    direct: DirectRequest,
    { habit, pos, body }: { readonly habit: Habit; readonly pos: string; readonly body: SlidingBody },
  ): boolean {
    const { sync, connections } = this.sliding;
    const { requester } = habit.session.found;
    const user = sync.users.known(requester.userId)?.user;
    if (user === undefined || !isAsItWas(this.sync.server, habit.session)) return false;
    try {
      const wanted = slidingRequest(body, { requester, face: 'experimental' }, { ...habit.url, pos });
      if (wanted.timeoutMs === 0 || !isAcknowledged(this.sliding, wanted)) return false;
      const point = connections.knownAt(refOf(wanted), pos);
      const waitFrom = point && lastAnswered(user, wanted, point);
      if (point === undefined || waitFrom === undefined) return false;
      new SlidingPoll(this, { direct, wanted, point, session: habit.session }).begin(waitFrom);
      return true;
    } catch {
      // What is wrong with it the long way tells.
      return false;
    }
  }
}

/** True where a `pos` is given once. */
function isOnly(query: unknown, pos: string | undefined): boolean {
  return typeof query === 'object' && query !== null && 'pos' in query && query.pos === pos;
}

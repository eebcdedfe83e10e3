/**
 * Sliding sync, MSC4186, in two forms: `/v4/sync` as it was merged, and the experimental one that clients of today speak.
 *
 * https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4186-simplified-sliding-sync.md
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import type { ConnectionRef } from '#storage/sliding-connections.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { readBody } from '../http/read-body.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryString } from '../query.ts';
import { type Answer, answerNow } from '../sliding-sync/answer.ts';
import { presenceOf } from '../sliding-sync/bodies.ts';
import type { ConnectionPoint } from '../sliding-sync/connections.ts';
import { createSlidingContext, type SlidingContext } from '../sliding-sync/context.ts';
import type { Face, SlidingBody, SlidingRequest } from '../sliding-sync/request.ts';
import { answerInTime } from '../sync/answer-in-time.ts';
import { syncContextOf } from '../sync/context.ts';
import type { SyncUser } from '../sync/sync-users.ts';
import { LONGEST_WAIT_MS, LongPolls, type WaitingPoint } from '../sync/wait.ts';

type SlidingHttpRequest = FastifyRequest<{ Querystring: Query }>;

const PATHS: Readonly<Record<Face, string>> = {
  experimental: '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync',
  stable: '/_matrix/client/v4/sync',
};
const TIMEOUT = /^\d{1,15}$/;

/** News of the rooms that a client looks at, and of the account. */
export function slidingSyncRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const sliding = createSlidingContext(syncContextOf(ctx));
  const polls = new LongPolls(ctx);
  // The body is read here: mostly it is known by its bytes, and while the request waits nothing of it is kept.
  const config = { longPoll: true, streamsBody: true };
  for (const face of ['experimental', 'stable'] as const) {
    app.post(PATHS[face], { config }, async (request: SlidingHttpRequest, reply) => {
      const wanted = await parseRequest(sliding, face, request);
      const point = knownPoint(sliding, wanted) ?? (await connectionOf(sliding, wanted));
      if (!isAcknowledged(sliding, wanted)) await acknowledge(sliding, wanted);
      using _ = ctx.presence.syncing(wanted.requester, wanted.presence);
      const answer = await waitForAnswer(sliding, { wanted, point }, { polls, request, reply });
      return sendJsonText(reply, answer.send());
    });
  }
}

async function parseRequest(
  { sync, bodies }: SlidingContext,
  face: Face,
  request: SlidingHttpRequest,
): Promise<SlidingRequest> {
  const bytes = await readBody(request.raw, request.routeOptions.bodyLimit);
  const requester = await requireRequester(sync.server, request);
  const body = bodies.read(face, bytes);
  const { pos, timeoutMs, presence } = face === 'stable' ? body : withQuery(body, request.query);
  return {
    ...body,
    ...{ requester, face },
    ...{ pos: pos === '' ? undefined : pos, timeoutMs: Math.min(timeoutMs, LONGEST_WAIT_MS), presence },
  };
}

/**
 * "Move URL parameters to the request body", which is new with the stable face. Some clients of the other one did so
 * before.
 */
function withQuery(body: SlidingBody, query: Query): Pick<SlidingBody, 'pos' | 'timeoutMs' | 'presence'> {
  const timeout = queryString(query, 'timeout');
  if (timeout !== undefined && !TIMEOUT.test(timeout)) throw invalidParam('timeout must be an integer');
  const presence = queryString(query, 'set_presence');
  return {
    pos: queryString(query, 'pos') ?? body.pos,
    timeoutMs: timeout === undefined ? body.timeoutMs : Number(timeout),
    presence: presence === undefined ? body.presence : presenceOf(presence),
  };
}

/** The same as `connectionOf`, where nothing is to be read. */
function knownPoint({ connections }: SlidingContext, wanted: SlidingRequest): ConnectionPoint | undefined {
  return wanted.pos === undefined ? undefined : connections.knownAt(refOf(wanted), wanted.pos);
}

/** Where the connection stands; a new one for a request without `pos`. */
async function connectionOf(
  { connections, sync }: SlidingContext,
  wanted: SlidingRequest,
): Promise<ConnectionPoint> {
  const ref = refOf(wanted);
  if (wanted.pos !== undefined) return connections.at(ref, wanted.pos);
  sync.server.limits.take('initial_sync', `${ref.userId} ${ref.deviceId}`);
  return connections.begin(ref);
}

function refOf({ requester: { userId, deviceId }, face, connId }: SlidingRequest): ConnectionRef {
  return { userId, deviceId, connId: `${face} ${connId}` };
}

function isAcknowledged({ sync }: SlidingContext, { requester, toDevice }: SlidingRequest): boolean {
  if (toDevice === undefined || toDevice.since === 0 || toDevice.since > sync.server.streams.upto())
    return true;
  return sync.inboxes.isAcknowledged(requester, toDevice.since);
}

/** The device has the messages up to the token that it comes back with: only then they are deleted. */
async function acknowledge({ sync }: SlidingContext, { requester, toDevice }: SlidingRequest): Promise<void> {
  if (toDevice !== undefined) await sync.inboxes.acknowledge(sync.server.db, requester, toDevice.since);
}

interface Waiting {
  readonly wanted: SlidingRequest;
  readonly point: ConnectionPoint;
}

interface Http {
  readonly polls: LongPolls;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** No `async` function, of which one more would wait with each poll. */
function waitForAnswer(sliding: SlidingContext, { wanted, point }: Waiting, http: Http): Promise<Answer> {
  const { server, users } = sliding.sync;
  const { userId, deviceId } = wanted.requester;
  const waiting = {
    polls: http.polls,
    poller: `${userId} ${deviceId} ${wanted.face} ${wanted.connId}`,
    // "Ignored when no `pos` is set."
    timeoutMs: point.since === undefined ? 0 : wanted.timeoutMs,
    answerNow: () => answerNow(sliding, wanted, point),
  };
  const found = users.known(userId);
  if (found !== undefined)
    return answerInTime(server, http, { ...waiting, waitFrom: lastAnswered(found.user, wanted, point) });
  return users
    .find(userId)
    .then(({ user }) =>
      answerInTime(server, http, { ...waiting, waitFrom: lastAnswered(user, wanted, point) }),
    );
}

/** Undefined where there may be something to tell already: what is asked for is not what was told. */
function lastAnswered(
  { follower }: SyncUser,
  { rooms, toDevice, threadSubscriptions }: SlidingRequest,
  { since, state }: ConnectionPoint,
): WaitingPoint | undefined {
  if (since === undefined || state.settled?.signature !== rooms.signature) return undefined;
  if (toDevice !== undefined && toDevice.since < since) return undefined;
  const isNew = (isAsked: boolean, isTold: boolean) => isAsked && !isTold;
  if (isNew(threadSubscriptions !== undefined, state.whole.threadSubscriptions)) return undefined;
  if (isNew(rooms.accountData !== undefined, state.whole.accountData)) return undefined;
  return { upto: since, follower };
}

/** https://spec.matrix.org/v1.19/client-server-api/#syncing */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { KeyedQueue } from '#storage/locks.ts';
import { requireRequester } from '../auth/requester.ts';
import { deviceKey } from '../auth/sessions.ts';
import type { ServerContext } from '../context.ts';
import { waitedMs } from '../http/direct-routes.ts';
import { sendJsonText } from '../json-text.ts';
import { answerInTime } from '../sync/answer-in-time.ts';
import { type SyncContext, type SyncRequest, syncContextOf } from '../sync/context.ts';
import { DirectSync } from '../sync/direct-sync.ts';
import { NO_FILTER } from '../sync/filter.ts';
import { flagOf, presenceOf, type Query, stateMemberOf, timeoutOf } from '../sync/parameters.ts';
import { parseSyncToken } from '../sync/token.ts';
import { type Answer, answerNow } from '../sync/v3.ts';
import { LongPolls, type WaitingPoint } from '../sync/wait.ts';

const PATH = '/_matrix/client/v3/sync';

type SyncHttpRequest = FastifyRequest<{ Querystring: Query }>;

/** Answers that tell all of a user's rooms: each may have tens of megabytes, and all are made by the same thread. */
const WHOLE_AT_ONCE = 4;

/** News of all rooms and of the account: at once, or when there is something new. */
export function syncRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const sync = syncContextOf(ctx);
  const polls = new LongPolls(ctx);
  const direct = new DirectSync(sync, polls);
  const lanes = new KeyedQueue();
  let lastLane = 0;
  const config = { longPoll: true };
  app.directRoutes.add(PATH, (request, query) => direct.take(request, query));
  app.get<{ Querystring: Query }>(PATH, { config }, async (request, reply) => {
    const wanted = await parseRequest(sync, request);
    const isWhole = wanted.since === undefined || wanted.fullState;
    if (isWhole) ctx.limits.take('initial_sync', deviceKey(wanted.requester));
    const presence = presenceOf(request.query);
    using _ = ctx.presence.syncing(wanted.requester, presence);
    const timeoutMs = Math.max(0, timeoutOf(request.query) - waitedMs(request.raw));
    const answering = () => waitForAnswer(sync, wanted, { polls, timeoutMs, request, reply });
    lastLane = (lastLane + 1) % WHOLE_AT_ONCE;
    const answer = await (isWhole ? lanes.run(`${lastLane}`, answering) : answering());
    return sendJsonText(reply, answer.text);
  });
}

/** No `async` function, of which one more would wait with each poll. */
function waitForAnswer(
  sync: SyncContext,
  wanted: SyncRequest,
  http: { polls: LongPolls; timeoutMs: number; request: FastifyRequest; reply: FastifyReply },
): Promise<Answer> {
  // "The timeout parameter will be ignored and the query will return immediately": what was asked for is told.
  const mayWait = wanted.since !== undefined && !wanted.fullState;
  // What did not fit into the last answer is there already.
  const isUpToDate = mayWait && wanted.inbox === wanted.since;
  const waiting = {
    polls: http.polls,
    poller: deviceKey(wanted.requester),
    timeoutMs: mayWait ? http.timeoutMs : 0,
    answerNow: () => answerNow(sync, wanted),
  };
  const known = isUpToDate ? knownPoint(sync, wanted) : undefined;
  if (known !== undefined || !isUpToDate)
    return answerInTime(sync.server, http, { ...waiting, waitFrom: known });
  return lastAnswered(sync, wanted).then((waitFrom) =>
    answerInTime(sync.server, http, { ...waiting, waitFrom }),
  );
}

/** The same as `lastAnswered`, where nothing is to be read. */
function knownPoint({ users }: SyncContext, { requester, since = 0 }: SyncRequest): WaitingPoint | undefined {
  const found = users.known(requester.userId);
  return found && { upto: since, follower: found.user.follower };
}

/** From where on to wait: mostly nothing has happened since the last answer, and no other one needs to be made. */
async function lastAnswered(
  { users }: SyncContext,
  { requester, since = 0 }: SyncRequest,
): Promise<WaitingPoint> {
  const { user } = await users.find(requester.userId);
  return { upto: since, follower: user.follower };
}

async function parseRequest(sync: SyncContext, request: SyncHttpRequest): Promise<SyncRequest> {
  const requester = await requireRequester(sync.server, request);
  const { since, filter, full_state: fullState } = request.query;
  const point = typeof since === 'string' && since !== '' ? parseSyncToken(since) : undefined;
  if (since !== undefined && since !== '' && point === undefined) {
    throw invalidParam('since is not a token of this server');
  }
  // From a database that was put back to an earlier time: there is no other way than to begin again.
  const isAhead = point !== undefined && point.position > sync.server.streams.upto();
  if (point !== undefined && !isAhead && !sync.inboxes.isAcknowledged(requester, point.inbox)) {
    await sync.inboxes.acknowledge(sync.server.db, requester, point.inbox);
  }
  return {
    requester,
    since: isAhead ? undefined : point?.position,
    inbox: isAhead ? 0 : (point?.inbox ?? 0),
    filter: knownFilter(sync, requester, filter) ?? (await filterOf(sync, requester.userId, filter)),
    fullState: flagOf(fullState, 'full_state'),
    stateMember: stateMemberOf(request.query),
  };
}

/** The filter, where nothing is to be read or to be refused. */
function knownFilter(
  sync: SyncContext,
  { userId }: SyncRequest['requester'],
  filter: unknown,
): SyncRequest['filter'] | undefined {
  return typeof filter === 'string' && filter !== '' ? sync.filters.known(userId, filter) : undefined;
}

async function filterOf(
  sync: SyncContext,
  userId: SyncRequest['requester']['userId'],
  filter: unknown,
): Promise<SyncRequest['filter']> {
  if (filter === undefined || filter === '') return NO_FILTER;
  if (typeof filter !== 'string') throw invalidParam('There is more than one filter');
  const found = await sync.filters.find(sync.server.db, userId, filter);
  if (typeof found === 'string') throw invalidParam(found);
  return found;
}

/** https://spec.matrix.org/v1.19/client-server-api/#syncing */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { KeyedQueue } from '#storage/locks.ts';
import type { PresenceState } from '#storage/presences.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { waitedMs } from '../http/direct-routes.ts';
import { sendJsonText } from '../json-text.ts';
import { answerInTime } from '../sync/answer-in-time.ts';
import { type SyncContext, type SyncRequest, syncContextOf } from '../sync/context.ts';
import { DirectSync } from '../sync/direct-sync.ts';
import { NO_FILTER } from '../sync/filter.ts';
import { parseSyncToken } from '../sync/token.ts';
import { type Answer, answerNow } from '../sync/v3.ts';
import { LONGEST_WAIT_MS, LongPolls, type WaitingPoint } from '../sync/wait.ts';

const PATH = '/_matrix/client/v3/sync';

type Query = Partial<Record<string, unknown>>;
type SyncHttpRequest = FastifyRequest<{ Querystring: Query }>;

/** What came before `use_state_after`, and is still sent by older clients. */
const MSC4222 = 'org.matrix.msc4222';
/** Answers that tell all of a user's rooms: each may have tens of megabytes, and all are made by the same thread. */
const WHOLE_AT_ONCE = 4;
const TIMEOUT = /^\d{1,15}$/;

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
    const { userId, deviceId } = wanted.requester;
    const isWhole = wanted.since === undefined || wanted.fullState;
    if (isWhole) ctx.limits.take('initial_sync', `${userId} ${deviceId}`);
    const presence = presenceOf(request.query);
    using _ = ctx.presence.syncing(wanted.requester, presence);
    const longest = Math.min(timeoutOf(request.query.timeout), LONGEST_WAIT_MS);
    direct.learn(request, { request: wanted, presence, timeoutMs: longest });
    const timeoutMs = Math.max(0, longest - waitedMs(request.raw));
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
  const { userId, deviceId } = wanted.requester;
  // "The timeout parameter will be ignored and the query will return immediately": what was asked for is told.
  const mayWait = wanted.since !== undefined && !wanted.fullState;
  // What did not fit into the last answer is there already.
  const isUpToDate = mayWait && wanted.inbox === wanted.since;
  const waiting = {
    polls: http.polls,
    poller: `${userId} ${deviceId}`,
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

/** Under which name, and thereby of which moment, the state of rooms is told. */
function stateMemberOf(query: Query): SyncRequest['stateMember'] {
  if (flagOf(query.use_state_after, 'use_state_after')) return 'state_after';
  return query[`${MSC4222}.use_state_after`] === 'true' ? `${MSC4222}.state_after` : 'state';
}

function flagOf(value: unknown, name: string): boolean {
  if (value === undefined || value === '' || value === 'false') return false;
  if (value === 'true') return true;
  throw invalidParam(`${name} is neither true nor false`);
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

/** "If this parameter is omitted then the client is automatically marked as online when it uses this API." */
function presenceOf({ set_presence: value }: Query): PresenceState {
  if (value === undefined || value === '' || value === 'online') return 'online';
  if (value === 'offline' || value === 'unavailable') return value;
  throw invalidParam('set_presence is neither online, unavailable nor offline');
}

function timeoutOf(value: unknown): number {
  if (value === undefined) return 0;
  if (typeof value !== 'string' || !TIMEOUT.test(value)) throw invalidParam('timeout must be an integer');
  return Number(value);
}

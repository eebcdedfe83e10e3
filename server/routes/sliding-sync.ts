/**
 * Sliding sync, MSC4186, in two forms: `/v4/sync` as it was merged, and the experimental one that clients of today speak.
 *
 * https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4186-simplified-sliding-sync.md
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { type JsonObject, own } from '#keys/json.ts';
import type { PresenceState } from '#storage/presences.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalInteger, optionalObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryString } from '../query.ts';
import { type Answer, answerNow } from '../sliding-sync/answer.ts';
import type { ConnectionPoint } from '../sliding-sync/connections.ts';
import { createSlidingContext, type SlidingContext } from '../sliding-sync/context.ts';
import {
  connIdOf,
  extensionOf,
  stickyEventsOf,
  threadSubscriptionsOf,
  toDeviceOf,
} from '../sliding-sync/parse-parts.ts';
import type { Face, SlidingRequest } from '../sliding-sync/request.ts';
import { answerInTime } from '../sync/answer-in-time.ts';
import { syncContextOf } from '../sync/context.ts';
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
  const config = { longPoll: true };
  for (const face of ['experimental', 'stable'] as const) {
    app.post(PATHS[face], { config }, async (request: SlidingHttpRequest, reply) => {
      const wanted = await parseRequest(sliding, face, request);
      const point = await connectionOf(sliding, wanted);
      await acknowledge(sliding, wanted);
      using _ = ctx.presence.syncing(wanted.requester, wanted.presence);
      const answer = await waitForAnswer(sliding, { wanted, point }, { polls, request, reply });
      return sendJsonText(reply, answer.send());
    });
  }
}

async function parseRequest(
  { sync, requests }: SlidingContext,
  face: Face,
  request: SlidingHttpRequest,
): Promise<SlidingRequest> {
  const requester = await requireRequester(sync.server, request);
  const body = bodyObject(request);
  const extensions = optionalObject(body, 'extensions') ?? {};
  const { pos, timeoutMs, presence } = parametersOf(face, body, request.query);
  return {
    ...{ requester, face, connId: connIdOf(body) },
    ...{ pos: pos === '' ? undefined : pos, timeoutMs: Math.min(timeoutMs, LONGEST_WAIT_MS), presence },
    rooms: requests.parse(face, requester.userId, body),
    toDevice: toDeviceOf(extensions),
    e2ee: extensionOf(extensions, 'e2ee') !== undefined,
    stickyEvents: stickyEventsOf(extensions),
    threadSubscriptions: threadSubscriptionsOf(extensions),
  };
}

/**
 * "Move URL parameters to the request body", which is new with the stable face. Some clients of the other one did so
 * before.
 */
function parametersOf(
  face: Face,
  body: JsonObject,
  query: Query,
): { pos: string | undefined; timeoutMs: number; presence: PresenceState } {
  const timeout = optionalInteger(body, 'timeout') ?? 0;
  if (timeout < 0) throw invalidParam('timeout must not be negative');
  const inBody = {
    pos: optionalString(body, 'pos'),
    timeoutMs: timeout,
    presence: presenceOf(own(body, 'set_presence')),
  };
  if (face === 'stable') return inBody;
  const queryTimeout = queryString(query, 'timeout');
  if (queryTimeout !== undefined && !TIMEOUT.test(queryTimeout))
    throw invalidParam('timeout must be an integer');
  const presence = queryString(query, 'set_presence');
  return {
    pos: queryString(query, 'pos') ?? inBody.pos,
    timeoutMs: queryTimeout === undefined ? inBody.timeoutMs : Number(queryTimeout),
    presence: presence === undefined ? inBody.presence : presenceOf(presence),
  };
}

/** "An unknown value will result in a 400 error response with code `M_INVALID_PARAM`." */
function presenceOf(value: unknown): PresenceState {
  if (value === undefined || value === null || value === '' || value === 'online') return 'online';
  if (value === 'offline' || value === 'unavailable') return value;
  throw invalidParam('set_presence is neither online, unavailable nor offline');
}

/** Where the connection stands; a new one for a request without `pos`. */
async function connectionOf(
  { connections, sync }: SlidingContext,
  { requester, face, connId, pos }: SlidingRequest,
): Promise<ConnectionPoint> {
  const { userId, deviceId } = requester;
  const ref = { userId, deviceId, connId: `${face} ${connId}` };
  if (pos !== undefined) return connections.at(ref, pos);
  sync.server.limits.take('initial_sync', `${userId} ${deviceId}`);
  return connections.begin(ref);
}

/** The device has the messages up to the token that it comes back with: only then they are deleted. */
async function acknowledge({ sync }: SlidingContext, { requester, toDevice }: SlidingRequest): Promise<void> {
  if (toDevice === undefined || toDevice.since === 0 || toDevice.since > sync.server.streams.upto()) return;
  await sync.inboxes.acknowledge(sync.server.db, requester, toDevice.since);
}

async function waitForAnswer(
  sliding: SlidingContext,
  { wanted, point }: { readonly wanted: SlidingRequest; readonly point: ConnectionPoint },
  http: { readonly polls: LongPolls; readonly request: FastifyRequest; readonly reply: FastifyReply },
): Promise<Answer> {
  const { userId, deviceId } = wanted.requester;
  return answerInTime(sliding.sync.server, http, {
    polls: http.polls,
    poller: `${userId} ${deviceId} ${wanted.face} ${wanted.connId}`,
    // "Ignored when no `pos` is set."
    timeoutMs: point.since === undefined ? 0 : wanted.timeoutMs,
    answerNow: () => answerNow(sliding, wanted, point),
    waitFrom: await lastAnswered(sliding, wanted, point),
  });
}

/** Undefined where there may be something to tell already: what is asked for is not what was told. */
async function lastAnswered(
  { sync }: SlidingContext,
  { requester, rooms, toDevice, threadSubscriptions }: SlidingRequest,
  { since, state }: ConnectionPoint,
): Promise<WaitingPoint | undefined> {
  if (since === undefined || state.settled?.signature !== rooms.signature) return undefined;
  if (toDevice !== undefined && toDevice.since < since) return undefined;
  const isNew = (isAsked: boolean, isTold: boolean) => isAsked && !isTold;
  if (isNew(threadSubscriptions !== undefined, state.whole.threadSubscriptions)) return undefined;
  if (isNew(rooms.accountData !== undefined, state.whole.accountData)) return undefined;
  const { user } = sync.users.known(requester.userId) ?? (await sync.users.find(requester.userId));
  return { upto: since, follower: user.follower };
}

/**
 * Sliding sync, MSC4186, in two forms: `/v4/sync` as it was merged, and the experimental one that clients of today speak.
 *
 * https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4186-simplified-sliding-sync.md
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { requireRequester } from '../auth/requester.ts';
import { deviceKey } from '../auth/sessions.ts';
import type { ServerContext } from '../context.ts';
import { waitedMs } from '../http/direct-routes.ts';
import { readBody } from '../http/read-body.ts';
import { sendJsonText } from '../json-text.ts';
import type { Query } from '../query.ts';
import { type Answer, answerNow } from '../sliding-sync/answer.ts';
import type { ConnectionPoint } from '../sliding-sync/connections.ts';
import { createSlidingContext, type SlidingContext } from '../sliding-sync/context.ts';
import { DirectSliding } from '../sliding-sync/direct-sliding.ts';
import { NO_PARAMETERS, slidingRequest, urlParameters } from '../sliding-sync/parameters.ts';
import type { Face, SlidingRequest } from '../sliding-sync/request.ts';
import { isAcknowledged, lastAnswered, pollerOf, refOf } from '../sliding-sync/waiting.ts';
import { answerInTime } from '../sync/answer-in-time.ts';
import { syncContextOf } from '../sync/context.ts';
import { LongPolls } from '../sync/wait.ts';

type SlidingHttpRequest = FastifyRequest<{ Querystring: Query }>;

const PATHS: Readonly<Record<Face, string>> = {
  experimental: '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync',
  stable: '/_matrix/client/v4/sync',
};

/** News of the rooms that a client looks at, and of the account. */
export function slidingSyncRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const sliding = createSlidingContext(syncContextOf(ctx));
  const polls = new LongPolls(ctx);
  const direct = new DirectSliding(sliding, polls);
  app.directRoutes.add(PATHS.experimental, (request, query) => direct.take(request, query), 'POST');
  // The body is read here: mostly it is known by its bytes, and while the request waits nothing of it is kept.
  const config = { longPoll: true, streamsBody: true };
  for (const face of ['experimental', 'stable'] as const) {
    app.post(PATHS[face], { config }, async (request: SlidingHttpRequest, reply) => {
      const wanted = await parseRequest(sliding, face, { request, direct });
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
  { request, direct }: { readonly request: SlidingHttpRequest; readonly direct: DirectSliding },
): Promise<SlidingRequest> {
  // That of a request that comes from the direct way is read already.
  const read = direct.bodyOf(request.raw) ?? (await readBody(request.raw, request.routeOptions.bodyLimit));
  const requester = await requireRequester(sync.server, request);
  const body = read instanceof Promise ? await read : bodies.read(face, read);
  const url = face === 'stable' ? NO_PARAMETERS : urlParameters(request.query);
  if (face === 'experimental') direct.learn(request, { requester, url });
  return slidingRequest(body, { requester, face }, url);
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
  sync.server.limits.take('initial_sync', deviceKey(ref));
  return connections.begin(ref);
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
  const { userId } = wanted.requester;
  const waiting = {
    polls: http.polls,
    poller: pollerOf(wanted),
    // "Ignored when no `pos` is set."
    timeoutMs: point.since === undefined ? 0 : Math.max(0, wanted.timeoutMs - waitedMs(http.request.raw)),
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

/** https://spec.matrix.org/v1.19/client-server-api/#reporting-content */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam, limitExceeded, missingParam } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import * as reports from '#storage/reports.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { visibleEvent } from '../reading/visible-event.ts';
import { joinedRoomOrNotFound, roomIdParam, userIdParam } from '../room-params.ts';

const LONGEST_REASON = 2_000;
/** Of one user, that nobody has dealt with. */
const MOST_OPEN = 500;
const FULL_RETRY_MS = 3_600_000;

/**
 * Reports of events, rooms and users to the administrators of this server. "Homeservers that wish to conceal this
 * information MAY return 200 responses regardless of the existence": a room or user is noted as it is named, so that
 * neither the answer nor its time tells whether the server knows it.
 */
export function reportContentRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Params: { roomId: string } }>('/_matrix/client/v3/rooms/:roomId/report', async (request) => {
    const reporter = await reporterOf(ctx, request);
    const reason = requiredReason(request);
    const subject = { kind: 'room', roomId: roomIdParam(request.params.roomId) } as const;
    return keep(ctx, { reporter, subject, reason });
  });

  app.post<{ Params: { roomId: string; eventId: string } }>(
    '/_matrix/client/v3/rooms/:roomId/report/:eventId',
    async (request) => {
      const reporter = await reporterOf(ctx, request);
      const reason = reasonOf(request);
      const { roomId } = await joinedRoomOrNotFound(ctx, reporter, request.params.roomId);
      const { eventId } = (await visibleEvent(ctx, reporter, request.params)).event;
      return keep(ctx, { reporter, subject: { kind: 'event', roomId, eventId }, reason });
    },
  );

  app.post<{ Params: { userId: string } }>('/_matrix/client/v3/users/:userId/report', async (request) => {
    const reporter = await reporterOf(ctx, request);
    const reason = requiredReason(request);
    const subject = { kind: 'user', userId: userIdParam(request.params.userId) } as const;
    return keep(ctx, { reporter, subject, reason });
  });
}

async function reporterOf(ctx: ServerContext, request: FastifyRequest): Promise<UserId> {
  const { userId } = await requireRequester(ctx, request);
  ctx.limits.take('report', userId);
  return userId;
}

function reasonOf(request: FastifyRequest): string | undefined {
  const reason = optionalString(bodyObject(request), 'reason');
  if (reason !== undefined && reason.length > LONGEST_REASON)
    throw invalidParam(`reason is longer than ${LONGEST_REASON} characters`);
  return reason;
}

/** "May be blank", but must be there. */
function requiredReason(request: FastifyRequest): string {
  const reason = reasonOf(request);
  if (reason === undefined) throw missingParam('reason');
  return reason;
}

async function keep(
  ctx: ServerContext,
  report: Omit<reports.NewReport, 'createdTs'>,
): Promise<Record<string, never>> {
  const { reporter, subject } = report;
  const reportId = await ctx.db.write('reports.insert', (tx) =>
    reports.insert(tx, { ...report, createdTs: ctx.clock.now() }, MOST_OPEN),
  );
  if (reportId === undefined) throw limitExceeded(FULL_RETRY_MS);
  ctx.log.info({ reportId, reporter, kind: subject.kind }, 'a user reports something');
  return {};
}

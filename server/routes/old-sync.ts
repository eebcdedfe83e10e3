/**
 * What came before /sync, for those who still ask for it:
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync
 */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam, MatrixError, notFound } from '#federation/errors.ts';
import { loadEvent, loadNid } from '#rooms/load.ts';
import type { MembershipRow } from '#storage/memberships.ts';
import { type Requester, requireRequester } from '../auth/requester.ts';
import { bundledTextsFor } from '../bundles.ts';
import type { ServerContext } from '../context.ts';
import { type Query, queryLimit, queryString } from '../query.ts';
import { readableRoom } from '../readable-room.ts';
import { roomInfoText } from '../room-info.ts';
import { eventIdParam } from '../room-params.ts';
import { accountPart } from '../sync/account.ts';
import { createSyncContext, type SyncContext, type SyncRequest } from '../sync/context.ts';
import { NO_FILTER } from '../sync/filter.ts';
import { stateTexts } from '../sync/format.ts';
import { hidesInvite } from '../sync/other-rooms.ts';
import { presenceEvents } from '../sync/presence.ts';
import type { SyncUser } from '../sync/sync-users.ts';
import { formatToken } from '../sync/token.ts';
import { visibleEvent } from '../visible-event.ts';

const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 100;
const JSON_TYPE = 'application/json';

type InitialSyncRequest = FastifyRequest<{ Querystring: Query }>;

/** All of a user's rooms at once, and an event by its id alone. */
export function oldSyncRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const sync = createSyncContext(ctx);
  app.get('/_matrix/client/v3/initialSync', async (request: InitialSyncRequest, reply) =>
    reply.header('content-type', JSON_TYPE).send(await initialSync(sync, request)),
  );

  app.get<{ Params: { eventId: string } }>('/_matrix/client/v3/events/:eventId', async (request, reply) => {
    const requester = await requireRequester(ctx, request);
    const eventId = eventIdParam(request.params.eventId);
    const known = await loadEvent(ctx, eventId);
    if (known === undefined) throw notFound('Event not found');
    const stored = await visibleEvent(ctx, requester.userId, { roomId: known.event.roomId, eventId });
    const [text] = await bundledTextsFor(ctx, requester, [stored], { withRoomId: true });
    return reply.header('content-type', JSON_TYPE).send(text);
  });
}

async function initialSync(sync: SyncContext, request: InitialSyncRequest): Promise<string> {
  const requester = await requireRequester(sync.server, request);
  const limit = queryLimit(request.query, { fallback: DEFAULT_LIMIT, most: MAX_LIMIT });
  const archived = queryString(request.query, 'archived') ?? 'false';
  if (archived !== 'true' && archived !== 'false') throw invalidParam('archived is neither true nor false');
  const { user, upto } = await sync.users.find(requester.userId);
  const wanted = wholeSync(requester);
  const rooms: string[] = [];
  for (const { roomId } of user.joined) {
    // One after the other: a single answer must not crowd out all others.
    const text = await readableRoomInfo(sync, requester, { roomId, upto, limit });
    if (text !== undefined) rooms.push(text);
  }
  for (const row of user.others) {
    const text = await otherRoomInfo(sync, { requester, user, row }, { upto, limit, archived });
    if (text !== undefined) rooms.push(text);
  }
  const { events } = await accountPart(sync, wanted, upto);
  const presence = await presenceEvents(sync, wanted, { user, upto });
  const parts = [
    `"end":"${formatToken(upto)}"`,
    `"rooms":[${rooms.join(',')}]`,
    `"presence":[${presence.join(',')}]`,
    `"account_data":[${events.join(',')}]`,
  ];
  return `{${parts.join(',')}}`;
}

/** What is asked of the parts of /sync: all that there is. */
function wholeSync(requester: Requester): SyncRequest {
  return {
    ...{ requester, since: undefined, inbox: 0, filter: NO_FILTER, fullState: false, stateMember: 'state' },
  };
}

interface Bounds {
  readonly upto: number;
  readonly limit: number;
}

/** Undefined where the user has lost the room since. */
async function readableRoomInfo(
  { server }: SyncContext,
  requester: Requester,
  { roomId, ...bounds }: Bounds & { readonly roomId: string },
): Promise<string | undefined> {
  const readable = await readableRoom(server, requester.userId, roomId).catch(ifNoMatrixError);
  return readable === undefined ? undefined : roomInfoText(server, requester, readable, bounds);
}

function ifNoMatrixError(error: unknown): undefined {
  if (!(error instanceof MatrixError)) throw error;
}

/** A room that the user is invited to; one that they left, where those are asked for. */
async function otherRoomInfo(
  sync: SyncContext,
  whose: { readonly requester: Requester; readonly user: SyncUser; readonly row: MembershipRow },
  { archived, ...bounds }: Bounds & { readonly archived: 'true' | 'false' },
): Promise<string | undefined> {
  const { requester, user, row } = whose;
  const { roomId, membership } = row;
  if (membership === 'invite') {
    const stored = await loadNid(sync.server, row.eventNid);
    if (stored === undefined || (await hidesInvite(sync.server, user, row))) return undefined;
    const [text = '{}'] = stateTexts([stored], { now: sync.server.clock.now(), withRoomId: true });
    return `{"room_id":${JSON.stringify(roomId)},"membership":"invite","invite":${text}}`;
  }
  const isArchived = (membership === 'leave' || membership === 'ban') && !row.forgotten;
  return isArchived && archived === 'true'
    ? readableRoomInfo(sync, requester, { roomId, ...bounds })
    : undefined;
}

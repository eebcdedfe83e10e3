/**
 * What came before /sync, for those who still ask for it:
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync
 */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam, MatrixError, notFound } from '#federation/errors.ts';
import { invitePermissionOf } from '#federation/invite-permission.ts';
import type { UserId } from '#keys/ids.ts';
import { loadEvent, loadNid } from '#rooms/load.ts';
import * as memberships from '#storage/memberships.ts';
import * as presence from '#storage/presence.ts';
import { type Requester, requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { presenceContent } from '../profiles/presence-content.ts';
import { type Query, queryLimit, queryString } from '../query.ts';
import { bundledTextsFor } from '../reading/bundles.ts';
import { ignoredBy } from '../reading/ignored-users.ts';
import { readableRoom } from '../reading/readable-room.ts';
import { roomInfoText } from '../reading/room-info.ts';
import { visibleEvent } from '../reading/visible-event.ts';
import { eventIdParam } from '../room-params.ts';
import { accountPart } from '../sync/account.ts';
import { type SyncContext, type SyncRequest, syncContextOf } from '../sync/context.ts';
import { NO_FILTER } from '../sync/filter.ts';
import { stateTexts } from '../sync/format.ts';
import { formatToken } from '../sync/token.ts';

const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 100;
const MOST_PRESENT = 2_000;

type InitialSyncRequest = FastifyRequest<{ Querystring: Query }>;

/** All of a user's rooms at once, and an event by its id alone. */
export function oldSyncRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const sync = syncContextOf(ctx);
  app.get('/_matrix/client/v3/initialSync', async (request: InitialSyncRequest, reply) =>
    sendJsonText(reply, await initialSync(sync, request)),
  );

  app.get<{ Params: { eventId: string } }>('/_matrix/client/v3/events/:eventId', async (request, reply) => {
    const requester = await requireRequester(ctx, request);
    const eventId = eventIdParam(request.params.eventId);
    const known = await loadEvent(ctx, eventId);
    if (known === undefined) throw notFound('Event not found');
    const stored = await visibleEvent(ctx, requester.userId, { roomId: known.event.roomId, eventId });
    const texts = await bundledTextsFor(ctx, requester, [stored], { withRoomId: true });
    return sendJsonText(reply, texts.join());
  });
}

async function initialSync(sync: SyncContext, request: InitialSyncRequest): Promise<string> {
  const { server } = sync;
  const requester = await requireRequester(server, request);
  const { userId } = requester;
  // The state of every room at once.
  server.limits.take('directory', userId);
  const limit = queryLimit(request.query, { fallback: DEFAULT_LIMIT, most: MAX_LIMIT });
  const archived = queryString(request.query, 'archived') ?? 'false';
  if (archived !== 'true' && archived !== 'false') throw invalidParam('archived is neither true nor false');
  const upto = server.streams.upto();
  const ignored = await ignoredBy(server.db, userId);
  const rooms: string[] = [];
  for (const row of await memberships.ofUser(server.db, userId)) {
    // One after the other: a single answer must not crowd out all others.
    const isWanted = row.membership === 'join' || (archived === 'true' && hasLeft(row));
    const text = isWanted
      ? await readableRoomInfo(server, requester, { roomId: row.roomId, upto, limit })
      : await invitedRoomInfo(server, row, ignored);
    if (text !== undefined) rooms.push(text);
  }
  const { events } = await accountPart(sync, wholeSync(requester), upto);
  const present = await presentOthers(server, userId, ignored);
  const parts = [
    `"end":"${formatToken(upto)}"`,
    `"rooms":[${rooms.join(',')}]`,
    `"presence":[${present.join(',')}]`,
    `"account_data":[${events.join(',')}]`,
  ];
  return `{${parts.join(',')}}`;
}

function hasLeft({ membership, forgotten }: memberships.MembershipRow): boolean {
  return (membership === 'leave' || membership === 'ban') && !forgotten;
}

/** What is asked of the parts of /sync: all that there is. */
function wholeSync(requester: Requester): SyncRequest {
  return {
    ...{ requester, since: undefined, inbox: 0, filter: NO_FILTER, fullState: false, stateMember: 'state' },
  };
}

/** Undefined where the user has lost the room since. */
async function readableRoomInfo(
  server: ServerContext,
  requester: Requester,
  { roomId, ...bounds }: { readonly roomId: string; readonly upto: number; readonly limit: number },
): Promise<string | undefined> {
  const readable = await readableRoom(server, requester.userId, roomId).catch(ifNoMatrixError);
  return readable === undefined ? undefined : roomInfoText(server, requester, readable, bounds);
}

function ifNoMatrixError(error: unknown): undefined {
  if (!(error instanceof MatrixError)) throw error;
}

/** A room that the user is invited to, unless by somebody ignored, or where the user takes no invitations. */
async function invitedRoomInfo(
  server: ServerContext,
  { roomId, userId, membership, eventNid }: memberships.MembershipRow,
  ignored: ReadonlySet<string>,
): Promise<string | undefined> {
  if (membership !== 'invite') return undefined;
  const stored = await loadNid(server, eventNid);
  if (stored === undefined || ignored.has(stored.event.sender)) return undefined;
  const permission = await invitePermissionOf(server.db, userId);
  if (permission.of(stored.event.sender) !== 'allow') return undefined;
  const [text = '{}'] = stateTexts([stored], { now: server.clock.now(), withRoomId: true });
  return `{"room_id":${JSON.stringify(roomId)},"membership":"invite","invite":${text}}`;
}

/** The presence of those who share a room with the user and are not offline; each as JSON. */
async function presentOthers(
  server: ServerContext,
  userId: UserId,
  ignored: ReadonlySet<string>,
): Promise<string[]> {
  if (server.presence.mode === 'off') return [];
  const candidates = new Set(server.presence.present());
  candidates.delete(userId);
  const now = server.clock.now();
  return (await presence.sharingWith(server.db, userId, candidates))
    .filter((sender) => !ignored.has(sender))
    .slice(0, MOST_PRESENT)
    .map((sender) => {
      const content = presenceContent(server.presence.of(sender), now);
      return JSON.stringify({ type: 'm.presence', sender, content });
    });
}

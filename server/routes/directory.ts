/**
 * https://spec.matrix.org/v1.19/client-server-api/#room-aliases
 * https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
 */

import type { FastifyInstance } from 'fastify';
import { resolveAlias } from '#federation/directory.ts';
import { forbidden, invalidParam, notFound, unknown } from '#federation/errors.ts';
import { belongsTo, isRoomAlias, localpartOf, type RoomAlias, type UserId } from '#keys/ids.ts';
import { powerOf } from '#rooms/power.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { currentStateEvent } from '#rooms/state.ts';
import * as aliases from '#storage/aliases.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomDirectory from '#storage/room-directory.ts';
import { refuseAlias, refusePublishing } from '../appservices/restraint.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { isWorldReadable } from '../reading/readable-room.ts';
import { joinedRoom, roomIdParam } from '../room-params.ts';
import { dropCanonicalAlias } from '../sending/canonical-alias.ts';

type AliasParams = { Params: { roomAlias: string } };
type RoomParams = { Params: { roomId: string } };

const ALIAS_PATH = '/_matrix/client/v3/directory/room/:roomAlias';
const LIST_PATH = '/_matrix/client/v3/directory/list/room/:roomId';

/** Room aliases, and which rooms the published directory shows. */
export function directoryRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<AliasParams>(ALIAS_PATH, async (request) => {
    const alias = aliasParam(request.params.roomAlias);
    // No access token is needed, but a stranger must not make us ask other servers without end.
    if (!belongsTo(alias, ctx.serverName) || ctx.appservices.hasAlias(alias)) {
      ctx.limits.take('directory', request.ip);
    }
    const found = await resolveAlias(ctx, alias);
    if (found === undefined) throw notFound('Room alias not found');
    return { room_id: found.roomId, servers: found.servers };
  });

  app.put<AliasParams>(ALIAS_PATH, async (request) => {
    const requester = await requireRequester(ctx, request);
    const { userId } = requester;
    ctx.limits.take('moderation', userId);
    const alias = aliasParam(request.params.roomAlias);
    refuseAlias(ctx, requester, alias);
    if (!belongsTo(alias, ctx.serverName)) throw invalidParam('The alias belongs to another server');
    if (localpartOf(alias) === '') throw invalidParam('The alias has no name');
    const { roomId } = await joinedRoom(ctx, userId, requiredString(bodyObject(request), 'room_id'));
    const row = { alias, roomId, creator: userId, createdTs: ctx.clock.now() };
    const isNew = await ctx.db.write('aliases.insert', (tx) => aliases.insert(tx, row));
    if (!isNew) throw unknown(409, `Room alias ${alias} already exists`);
    return {};
  });

  app.delete<AliasParams>(ALIAS_PATH, async (request) => {
    const requester = await requireRequester(ctx, request);
    const { userId } = requester;
    ctx.limits.take('moderation', userId);
    const alias = aliasParam(request.params.roomAlias);
    refuseAlias(ctx, requester, alias);
    const row = belongsTo(alias, ctx.serverName) ? await aliases.get(ctx.db, alias) : undefined;
    if (row === undefined) throw notFound('Room alias not found');
    // "the AS should be able to manage any users and room alias in its namespace"
    const isManaged = requester.appservice !== undefined;
    if (row.creator !== userId && !isManaged) await requirePower(ctx, userId, await getRoom(ctx, row.roomId));
    await ctx.db.write('aliases.remove', (tx) => aliases.remove(tx, alias));
    await dropCanonicalAlias(ctx, { userId, roomId: row.roomId, alias });
    return {};
  });

  app.get<RoomParams>('/_matrix/client/v3/rooms/:roomId/aliases', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    const room = await getRoom(ctx, roomIdParam(request.params.roomId));
    // "If the room's `m.room.history_visibility` maps to `world_readable`, any user can call this endpoint."
    const isOpen = room !== undefined && (await isWorldReadable(ctx, room));
    const { roomId } = isOpen ? room : await joinedRoom(ctx, userId, request.params.roomId);
    return { aliases: (await aliases.ofRoom(ctx.db, roomId)).map(({ alias }) => alias) };
  });

  app.get<RoomParams>(LIST_PATH, async (request) => {
    const room = await getRoom(ctx, roomIdParam(request.params.roomId));
    if (room === undefined) throw notFound('Room not found');
    const isPublished = await roomDirectory.isPublished(ctx.db, room.roomNid);
    return { visibility: isPublished ? 'public' : 'private' };
  });

  app.put<RoomParams>(LIST_PATH, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('moderation', userId);
    const visibility = optionalString(bodyObject(request), 'visibility') ?? 'public';
    if (visibility !== 'public' && visibility !== 'private') {
      throw invalidParam('visibility is neither public nor private');
    }
    if (visibility === 'public') refusePublishing(ctx, userId);
    const room = await getRoom(ctx, roomIdParam(request.params.roomId));
    if (room === undefined) throw notFound('Room not found');
    const { roomNid } = await requirePower(ctx, userId, room);
    await ctx.db.write('roomDirectory.set', (tx) =>
      visibility === 'public'
        ? roomDirectory.publish(tx, roomNid, ctx.clock.now())
        : roomDirectory.unpublish(tx, roomNid),
    );
    return {};
  });
}

function aliasParam(value: string): RoomAlias {
  if (!isRoomAlias(value)) throw invalidParam('Not a room alias');
  return value;
}

/** The room in which the user may say under which name it is known; throws `M_FORBIDDEN`. */
async function requirePower(ctx: ServerContext, userId: UserId, room: Room | undefined): Promise<Room> {
  const member = room && (await memberships.of(ctx.db, room.roomNid, userId));
  if (room === undefined || member?.membership !== 'join') throw forbidden('You are not in this room');
  const create = await currentStateEvent(ctx, room.roomNid, 'm.room.create', '');
  const powerLevels = await currentStateEvent(ctx, room.roomNid, 'm.room.power_levels', '');
  const power = powerOf(create?.event, powerLevels?.event);
  if (power.of(userId) < power.required('m.room.canonical_alias', 'state')) {
    throw forbidden('You may not change how the room is found');
  }
  return room;
}

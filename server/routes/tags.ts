/** https://spec.matrix.org/v1.19/client-server-api/#room-tagging */

import type { FastifyInstance } from 'fastify';
import { forbidden, invalidParam } from '#federation/errors.ts';
import type { RoomId, UserId } from '#keys/ids.ts';
import { type JsonObject, objectAt, own } from '#keys/json.ts';
import * as accountData from '#storage/account-data.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { roomIdParam } from '../room-params.ts';

interface TagParams {
  userId: string;
  roomId: string;
  tag: string;
}

const PATH = '/_matrix/client/v3/user/:userId/rooms/:roomId/tags';
/** "The maximum size of a tag is 255 bytes." */
const LONGEST_TAG_BYTES = 255;
const MOST_TAGS = 100;

/** A user's tags of a room: the account data `m.tag`. */
export function tagsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: TagParams }>(PATH, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    return { tags: await tagsOf(ctx, keyOf(userId, request.params)) };
  });

  app.put<{ Params: TagParams }>(`${PATH}/:tag`, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('account_data', userId);
    const { tag } = request.params;
    if (Buffer.byteLength(tag) > LONGEST_TAG_BYTES) throw invalidParam('The tag is longer than 255 bytes');
    const body = bodyObject(request);
    const order = own(body, 'order');
    if (order !== undefined && typeof order !== 'number') throw invalidParam('order must be a number');
    await change(ctx, keyOf(userId, request.params), (tags) => ({ ...tags, [tag]: body }));
    return {};
  });

  app.delete<{ Params: TagParams }>(`${PATH}/:tag`, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('account_data', userId);
    await change(ctx, keyOf(userId, request.params), (tags) => {
      const { [request.params.tag]: _, ...others } = tags;
      return others;
    });
    return {};
  });
}

interface TagKey {
  readonly userId: UserId;
  readonly roomId: RoomId;
  readonly type: 'm.tag';
}

function keyOf(userId: UserId, params: TagParams): TagKey {
  if (params.userId !== userId) throw forbidden('You can only see and set your own tags');
  return { userId, roomId: roomIdParam(params.roomId), type: 'm.tag' };
}

async function tagsOf(ctx: ServerContext, key: TagKey): Promise<JsonObject> {
  const stored = await accountData.get(ctx.db, key);
  return (stored && objectAt(stored, 'tags')) ?? {};
}

/** Reads and writes in one transaction, so that two tags set at once are both kept. */
async function change(
  ctx: ServerContext,
  key: TagKey,
  next: (tags: JsonObject) => JsonObject,
): Promise<void> {
  const refused = await ctx.db.write('tags.set', async (tx) => {
    const stored = await accountData.get(tx, key);
    const tags = next((stored && objectAt(stored, 'tags')) ?? {});
    if (Object.keys(tags).length > MOST_TAGS) return true;
    await accountData.set(tx, ctx.streams, { ...key, content: { tags } });
    return false;
  });
  if (refused) throw invalidParam('Too many tags on one room');
}

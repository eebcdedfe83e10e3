/** https://spec.matrix.org/v1.19/client-server-api/#client-config */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { forbidden, invalidParam, MatrixError, notFound, tooLarge } from '#federation/errors.ts';
import { isRoomId, type RoomId, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import * as accountData from '#storage/account-data.ts';
import * as pushRules from '#storage/push-rules.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { pushRulesContent } from '../push/ruleset.ts';

const MAX_ITEM_BYTES = 64 * 1024;
const MAX_TOTAL_CHARACTERS = 10 * 1024 * 1024;
const MAX_ITEMS = 10_000;
const MAX_TYPE_BYTES = 255;
/** "m.fully_read or m.push_rules ... cannot be set using this API". */
const MANAGED_TYPES: ReadonlySet<string> = new Set(['m.fully_read', 'm.push_rules']);

interface Key {
  readonly userId: UserId;
  readonly roomId: RoomId | '';
  readonly type: string;
}

type DataRequest = FastifyRequest<{ Params: { userId: string; type: string; roomId?: string } }>;

/** A user's private data, global and for each room. */
export function accountDataRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const read = async (request: DataRequest): Promise<JsonObject> => {
    const key = await requireOwnKey(ctx, request);
    if (key.roomId === '' && key.type === 'm.push_rules')
      return pushRulesContent(key.userId, (await pushRules.get(ctx.db, key.userId)).own, ctx.config);
    const content = await accountData.get(ctx.db, key);
    if (content === undefined) throw notFound('No account data of this type');
    return content;
  };
  const write = async (request: DataRequest): Promise<JsonObject> => {
    const key = await requireOwnKey(ctx, request);
    ctx.limits.take('account_data', key.userId);
    if (MANAGED_TYPES.has(key.type)) throw managedByServer(key.type);
    if (request.rawBody.length > MAX_ITEM_BYTES)
      throw tooLarge('Account data of one type is limited to 64 KiB');
    const content = bodyObject(request);
    // An object with nothing in it deletes: so did clients before there was a request for it (MSC3391).
    if (Object.keys(content).length === 0) await removeData(ctx, key);
    else await store(ctx, key, content);
    return {};
  };
  const remove = async (request: DataRequest): Promise<JsonObject> => {
    const key = await requireOwnKey(ctx, request);
    ctx.limits.take('account_data', key.userId);
    if (MANAGED_TYPES.has(key.type)) throw managedByServer(key.type);
    if (!(await removeData(ctx, key))) throw notFound('No account data of this type');
    return {};
  };
  for (const path of ['user/:userId/account_data/:type', 'user/:userId/rooms/:roomId/account_data/:type']) {
    app.get(`/_matrix/client/v3/${path}`, read);
    app.put(`/_matrix/client/v3/${path}`, write);
    // Not in the specification yet: MSC3391.
    app.delete(`/_matrix/client/unstable/org.matrix.msc3391/${path}`, remove);
  }
}

async function store(ctx: ServerContext, key: Key, content: JsonObject): Promise<void> {
  await ctx.db.write('accountData.set', async (tx) => {
    const { size, items } = await accountData.sizeOf(tx, key.userId);
    if (size > MAX_TOTAL_CHARACTERS || items > MAX_ITEMS) throw tooLarge('There is too much account data');
    await accountData.set(tx, ctx.streams, { ...key, content });
  });
}

/** False where there was none. */
async function removeData(ctx: ServerContext, key: Key): Promise<boolean> {
  return await ctx.db.write('accountData.remove', (tx) => accountData.remove(tx, ctx.streams, key));
}

async function requireOwnKey(ctx: ServerContext, request: DataRequest): Promise<Key> {
  const requester = await requireRequester(ctx, request);
  const { userId, roomId, type } = request.params;
  if (userId !== requester.userId) throw forbidden('This is the account data of somebody else');
  if (roomId !== undefined && !isRoomId(roomId)) throw invalidParam('Not a room ID');
  if (type.includes('\0') || Buffer.byteLength(type) > MAX_TYPE_BYTES)
    throw invalidParam('Not an event type');
  return { userId: requester.userId, roomId: roomId ?? '', type };
}

/** "405: This type of account_data is controlled by the server; it cannot be modified by clients." */
function managedByServer(type: string): MatrixError {
  return new MatrixError(405, 'M_BAD_JSON', `${type} cannot be set by this API`);
}
